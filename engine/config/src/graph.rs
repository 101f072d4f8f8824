//! Who takes from whom: names to indices, the order of steps, and what is wrong with the whole.

use std::collections::BTreeMap;

use karez_api::{
    DEFAULT_PORT, Input, OnFailure, Path, Port, Problem, Role, SinkNode, SourceNode, StepNode, Upstream,
};

use crate::build::Ties;
use crate::engine_keys::{FailureKey, Names};
use crate::sheet::Sheet;
use crate::suggest;

/// A node as the graph sees it. `built` is absent where it was in error: then its outputs are not known.
pub(crate) struct Vertex<T> {
    pub(crate) name: String,
    pub(crate) at: Path,
    pub(crate) built: Option<T>,
    pub(crate) ties: Ties,
    /// `on_failure` comes from the top of the file or from defaults.
    pub(crate) inherited_failure: bool,
}

/// All nodes of a pipeline before they are tied together, in file order.
pub(crate) struct Parts {
    pub(crate) sources: Vec<Vertex<SourceNode>>,
    pub(crate) steps: Vec<Vertex<StepNode>>,
    pub(crate) sinks: Vec<Vertex<SinkNode>>,
}

/// The nodes of a plan.
pub(crate) struct Tied {
    pub(crate) sources: Vec<SourceNode>,
    pub(crate) steps: Vec<StepNode>,
    pub(crate) sinks: Vec<SinkNode>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id(Role, usize);

/// A resolved edge into a node.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Edge {
    from: Id,
    port: Port,
}

struct Graph<'a> {
    sheet: &'a Sheet,
    parts: &'a Parts,
    names: BTreeMap<&'a str, Id>,
    inputs: BTreeMap<Id, Vec<Edge>>,
    failures: BTreeMap<Id, Id>,
}

/// Ties the nodes together; nothing where the graph or one of the nodes is wrong.
pub(crate) fn tie(sheet: &Sheet, mut parts: Parts) -> Option<Tied> {
    let graph = Graph::resolve(sheet, &parts);
    graph.check_untaken();
    let order = graph.order();
    let inputs = graph.inputs.clone();
    let failures = graph.failures.clone();
    let order = order.filter(|_| !sheet.has_errors())?;
    let place: BTreeMap<usize, usize> = order.iter().enumerate().map(|(new, old)| (*old, new)).collect();
    let input = |edge: &Edge| match edge.from {
        Id(Role::Step, step) => Input(Upstream::Step(place[&step], edge.port)),
        Id(_, source) => Input(Upstream::Source(source)),
    };
    let from = |id| inputs.get(&id).into_iter().flatten().map(input).collect::<Vec<_>>();
    let on_failure = |id, key: Option<&FailureKey>| match (failures.get(&id), key) {
        (Some(Id(Role::Step, step)), _) => OnFailure::ToStep(place[step]),
        (Some(Id(_, sink)), _) => OnFailure::ToSink(*sink),
        (None, Some(FailureKey::Drop)) => OnFailure::Drop,
        (None, Some(FailureKey::Continue)) => OnFailure::Continue,
        (None, Some(FailureKey::Block)) => OnFailure::Block,
        (None, Some(FailureKey::DeadLetter | FailureKey::To(_)) | None) => OnFailure::DeadLetter,
    };
    let mut steps = Vec::new();
    for old in &order {
        let id = Id(Role::Step, *old);
        let vertex = &mut parts.steps[*old];
        let on_failure = on_failure(id, vertex.ties.on_failure.as_ref());
        steps.push(StepNode { from: from(id), on_failure, ..vertex.built.take()? });
    }
    let mut sinks = Vec::new();
    for (index, vertex) in parts.sinks.into_iter().enumerate() {
        let id = Id(Role::Sink, index);
        let on_failure = on_failure(id, vertex.ties.on_failure.as_ref());
        sinks.push(SinkNode { from: from(id), on_failure, ..vertex.built? });
    }
    let sources = parts.sources.into_iter().map(|vertex| vertex.built).collect::<Option<_>>()?;
    Some(Tied { sources, steps, sinks })
}

impl<'a> Graph<'a> {
    fn resolve(sheet: &'a Sheet, parts: &'a Parts) -> Self {
        let mut names = BTreeMap::new();
        names.extend(parts.sources.iter().enumerate().map(|(n, v)| (v.name.as_str(), Id(Role::Source, n))));
        names.extend(parts.sinks.iter().enumerate().map(|(n, v)| (v.name.as_str(), Id(Role::Sink, n))));
        names.extend(parts.steps.iter().enumerate().map(|(n, v)| (v.name.as_str(), Id(Role::Step, n))));
        let mut graph = Self { sheet, parts, names, inputs: BTreeMap::new(), failures: BTreeMap::new() };
        graph.resolve_failures();
        let last = (0..parts.steps.len()).next_back().map(|n| Id(Role::Step, n));
        for index in 0..parts.steps.len() {
            let before = index.checked_sub(1).map(|n| Id(Role::Step, n));
            graph.resolve_inputs(Id(Role::Step, index), before);
        }
        for index in 0..parts.sinks.len() {
            graph.resolve_inputs(Id(Role::Sink, index), last);
        }
        graph.drop_inherited_rounds();
        graph
    }

    fn ties(&self, id: Id) -> (&'a Ties, &'a Path) {
        match id.0 {
            Role::Step => (&self.parts.steps[id.1].ties, &self.parts.steps[id.1].at),
            Role::Sink => (&self.parts.sinks[id.1].ties, &self.parts.sinks[id.1].at),
            Role::Source => (&self.parts.sources[id.1].ties, &self.parts.sources[id.1].at),
        }
    }

    fn name(&self, id: Id) -> &'a str {
        match id.0 {
            Role::Source => &self.parts.sources[id.1].name,
            Role::Step => &self.parts.steps[id.1].name,
            Role::Sink => &self.parts.sinks[id.1].name,
        }
    }

    fn takers(&self) -> impl Iterator<Item = Id> + use<'a> {
        let steps = (0..self.parts.steps.len()).map(|n| Id(Role::Step, n));
        steps.chain((0..self.parts.sinks.len()).map(|n| Id(Role::Sink, n)))
    }

    fn resolve_failures(&mut self) {
        for id in self.takers() {
            let (ties, at) = self.ties(id);
            let at = at.field("on_failure");
            match (&ties.on_failure, id.0) {
                (Some(FailureKey::Block), Role::Step) => {
                    let problem = Problem::error(
                        "bad-value",
                        at,
                        "a step cannot block: only a sink has keys that wait",
                    );
                    self.sheet.report(problem.help("use dead_letter, drop, continue or {to: NAME}"));
                }
                (Some(FailureKey::Continue), Role::Sink) => {
                    let problem =
                        Problem::error("bad-value", at, "nothing comes after a sink, so it cannot continue");
                    self.sheet.report(problem.help("use dead_letter, drop, block or {to: NAME}"));
                }
                (Some(FailureKey::To(name)), _) => match self.names.get(name.as_str()) {
                    Some(target @ Id(Role::Step | Role::Sink, _)) if *target != id => {
                        self.failures.insert(id, *target);
                    }
                    Some(target) => {
                        let what = if *target == id { "itself" } else { "a source" };
                        let problem =
                            Problem::error("bad-from", at.field("to"), format_args!("{name:?} is {what}"));
                        self.sheet.report(problem.help("name a sink, or the first step of a branch"));
                    }
                    None => self.dangling(&at.field("to"), name, &[Role::Step, Role::Sink]),
                },
                _ => {}
            }
        }
    }

    fn dangling(&self, at: &Path, name: &str, roles: &[Role]) {
        let names: Vec<&str> =
            self.names.iter().filter(|(_, id)| roles.contains(&id.0)).map(|(name, _)| *name).collect();
        let problem = Problem::error("dangling-from", at.clone(), format_args!("no node is called {name:?}"));
        self.sheet.report(Problem { help: suggest::help(name, names, "there are"), ..problem });
    }

    fn resolve_inputs(&mut self, id: Id, default: Option<Id>) {
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
                Some(step) => vec![Edge { from: step, port: DEFAULT_PORT }],
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

    fn inherits_failure(&self, id: Id) -> bool {
        match id.0 {
            Role::Step => self.parts.steps[id.1].inherited_failure,
            Role::Sink => self.parts.sinks[id.1].inherited_failure,
            Role::Source => false,
        }
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
            Some(Some(step)) => step.step.outputs(),
        };
        let Some(output) = output else {
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

    /// A default for all nodes never leads back to a node whose records come from there:
    /// what fails on a failure path goes to the dead letters.
    fn drop_inherited_rounds(&mut self) {
        let rounds: Vec<Id> = self
            .failures
            .iter()
            .filter(|(from, to)| self.inherits_failure(**from) && self.reaches(**to, **from))
            .map(|(from, _)| *from)
            .collect();
        for from in rounds {
            self.failures.remove(&from);
        }
    }

    /// Whether records of `from` can come to `to` by edges of the graph.
    fn reaches(&self, from: Id, to: Id) -> bool {
        let mut waiting = vec![to];
        let mut seen = vec![to];
        while let Some(id) = waiting.pop() {
            if id == from {
                return true;
            }
            for edge in self.inputs.get(&id).into_iter().flatten() {
                if !seen.contains(&edge.from) {
                    seen.push(edge.from);
                    waiting.push(edge.from);
                }
            }
        }
        false
    }

    /// Nodes whose output nobody takes.
    fn check_untaken(&self) {
        if self.parts.sinks.is_empty() {
            return;
        }
        let taken = |id, port| self.inputs.values().flatten().any(|edge| *edge == Edge { from: id, port });
        for (index, vertex) in self.parts.sources.iter().enumerate() {
            if !taken(Id(Role::Source, index), DEFAULT_PORT) {
                let message = format!("no step or sink takes the records of source {:?}", vertex.name);
                let help = format!("name it in a `from:`, as in `from: {}`", vertex.name);
                self.sheet
                    .report(Problem::error("unused-output", vertex.at.clone(), message).on_key().help(help));
            }
        }
        for (index, vertex) in self.parts.steps.iter().enumerate() {
            let Some(built) = &vertex.built else { continue };
            let id = Id(Role::Step, index);
            if built.step.has_default_output() && !taken(id, DEFAULT_PORT) {
                let message = format!("no step or sink takes what {:?} puts out", vertex.name);
                let help = format!("name it in a `from:`, as in `from: {}`", vertex.name);
                self.sheet.report(Problem::error("unused-output", vertex.at.clone(), message).help(help));
            }
            if !built.step.has_default_output() && taken(id, DEFAULT_PORT) {
                let message = format!("{:?} puts everything out under names", vertex.name);
                let outputs = built.step.outputs().join(", ");
                let help = format!("name the output, as in `from: {}.OUTPUT`; it has {outputs}", vertex.name);
                self.sheet.report(Problem::error("bad-from", vertex.at.clone(), message).help(help));
            }
            for (n, output) in built.step.outputs().iter().enumerate() {
                if Port::try_from(n + 1).is_ok_and(|port| !taken(id, port)) {
                    let message = format!("nobody takes the output {:?} of {:?}", output, vertex.name);
                    let help = format!("name it in a `from:`, as in `from: {}.{output}`", vertex.name);
                    self.sheet.report(Problem::error("unused-output", vertex.at.clone(), message).help(help));
                }
            }
        }
    }

    /// Steps in an order in which each comes after those it takes from, failure paths included.
    fn order(&self) -> Option<Vec<usize>> {
        let mut order = Vec::new();
        let mut done = vec![false; self.parts.steps.len()];
        for start in 0..self.parts.steps.len() {
            let mut trail = Vec::new();
            if let Err(round) = self.visit(start, &mut trail, &mut done, &mut order) {
                let names: Vec<&str> = round.iter().map(|step| self.name(Id(Role::Step, *step))).collect();
                let vertex = &self.parts.steps[round[0]];
                let at = if vertex.ties.from.is_some() { vertex.at.field("from") } else { vertex.at.clone() };
                let message = format!("records would go round for ever: {}", names.join(" -> "));
                self.sheet.report(
                    Problem::error("cycle", at, message).help("take one of these `from` or `to` out"),
                );
                return None;
            }
        }
        Some(order)
    }

    /// Depth first, without recursion; a step that is met on its own trail closes a round.
    fn visit(
        &self,
        start: usize,
        trail: &mut Vec<(usize, Vec<usize>)>,
        done: &mut [bool],
        order: &mut Vec<usize>,
    ) -> Result<(), Vec<usize>> {
        if done[start] {
            return Ok(());
        }
        trail.push((start, self.steps_before(start)));
        while let Some((step, before)) = trail.last_mut() {
            let step = *step;
            let Some(next) = before.pop() else {
                done[step] = true;
                order.push(step);
                trail.pop();
                continue;
            };
            if done[next] {
                continue;
            }
            if let Some(from) = trail.iter().position(|(known, _)| *known == next) {
                let mut round: Vec<usize> = trail[from..].iter().map(|(step, _)| *step).collect();
                round.push(next);
                round.reverse();
                return Err(round);
            }
            trail.push((next, self.steps_before(next)));
        }
        Ok(())
    }

    fn steps_before(&self, step: usize) -> Vec<usize> {
        let id = Id(Role::Step, step);
        let inputs = self.inputs.get(&id).into_iter().flatten().map(|edge| edge.from);
        let failing = self.failures.iter().filter(|(_, to)| **to == id).map(|(from, _)| *from);
        let mut steps: Vec<usize> =
            inputs.chain(failing).filter(|id| id.0 == Role::Step).map(|id| id.1).collect();
        // Popped from the end, so that steps come out in file order where they may.
        steps.sort_unstable_by(|a, b| b.cmp(a));
        steps
    }
}
