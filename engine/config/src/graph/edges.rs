//! What each `from` means, written or not.

use karez_api::{DEFAULT_PORT, Path, Port, Problem, Role};

use super::{Edge, Graph, Id};
use crate::engine_keys::Names;
use crate::suggest;

impl Graph<'_> {
    pub(super) fn resolve_inputs(&mut self, id: Id, default: Option<Id>) {
        let (ties, at) = self.ties(id);
        let at = at.field("from");
        let edges = match &ties.from {
            Some(Names::One(name)) => self.edge(id, &at, name).into_iter().collect(),
            Some(Names::Many(names)) => {
                let named = names.iter().enumerate();
                named.filter_map(|(n, name)| self.edge(id, &at.index(n), name)).collect()
            }
            // Who takes what others refuse takes nothing else unless it says so.
            None if self.failures.values().any(|target| *target == id) => Vec::new(),
            None => match default {
                Some(step) => {
                    let (_, node) = self.ties(id);
                    let port = self.port(step, node, self.name(step), None);
                    port.map(|port| Edge { from: step, port }).into_iter().collect()
                }
                None => (0..self.parts.sources.len())
                    .map(|n| Edge { from: Id(Role::Source, n), port: DEFAULT_PORT })
                    .collect(),
            },
        };
        let mut distinct: Vec<Edge> = Vec::new();
        for edge in edges {
            if !distinct.contains(&edge) {
                distinct.push(edge);
            }
        }
        self.inputs.insert(id, distinct);
    }

    /// The edge that `from: name` means; `name` may be `step.output`.
    fn edge(&self, taker: Id, at: &Path, name: &str) -> Option<Edge> {
        let (node, output) = name.split_once('.').map_or((name, None), |(node, output)| (node, Some(output)));
        let Some(from) = self.names.get(node).copied() else {
            self.dangling(at, name, &[Role::Source, Role::Step]);
            return None;
        };
        if from.0 == Role::Sink {
            let problem = Problem::error(
                "bad-from",
                at.clone(),
                format_args!("{node:?} is a sink: nothing comes out of it"),
            );
            self.sheet.report(problem.help("name a source or a step"));
            return None;
        }
        if from == taker {
            self.sheet.report(Problem::error(
                "cycle",
                at.clone(),
                format_args!("{node:?} takes from itself"),
            ));
            return None;
        }
        let port = self.port(from, at, node, output)?;
        Some(Edge { from, port })
    }

    fn port(&self, from: Id, at: &Path, node: &str, output: Option<&str>) -> Option<Port> {
        let built = (from.0 == Role::Step).then(|| self.parts.steps[from.1].built.as_ref());
        let outputs = match built {
            None => Vec::new(),
            // Its outputs are not known; that it is in error is reported already.
            Some(None) => return Some(DEFAULT_PORT),
            Some(Some(step)) => step.outputs(),
        };
        let Some(output) = output else {
            if built.flatten().is_some_and(|step| !step.has_default_output()) {
                self.no_output_named(at, node, &outputs);
                return None;
            }
            return Some(DEFAULT_PORT);
        };
        let found = outputs.iter().position(|known| known == output).and_then(|n| Port::try_from(n + 1).ok());
        if found.is_none() {
            let problem = Problem::error(
                "dangling-from",
                at.clone(),
                format_args!("{node:?} has no output {output:?}"),
            );
            let help = suggest::help(output, outputs.iter().map(String::as_str), "its outputs are")
                .unwrap_or_else(|| format!("it has one output: write `from: {node}`"));
            self.sheet.report(problem.help(help));
        }
        found
    }

    /// A step with named outputs only is taken from without the name of one.
    fn no_output_named(&self, at: &Path, node: &str, outputs: &[String]) {
        let message = format!("{node:?} puts everything out under names");
        let names = outputs.iter().map(|output| format!("{node}.{output}")).collect::<Vec<_>>().join(", ");
        let problem = Problem::error("bad-from", at.clone(), message);
        self.sheet.report(problem.help(format_args!("name an output with `from:`; there are: {names}")));
    }

    pub(super) fn dangling(&self, at: &Path, name: &str, roles: &[Role]) {
        let node = name.split('.').next().unwrap_or(name);
        // Of shared steps that could not be put in place, only the name before the slash is known.
        if self.lost.iter().any(|lost| lost == node || node.split('/').next() == Some(lost)) {
            return;
        }
        let names: Vec<&str> =
            self.names.iter().filter(|(_, id)| roles.contains(&id.0)).map(|(name, _)| *name).collect();
        let problem = Problem::error("dangling-from", at.clone(), format_args!("no node is called {name:?}"));
        self.sheet.report(Problem { help: suggest::help(name, names, "there are"), ..problem });
    }
}
