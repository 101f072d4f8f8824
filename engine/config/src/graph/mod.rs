//! Who takes from whom: names to indices, the order of steps, and what is wrong with the whole.

mod edges;
mod failures;
mod order;
mod untaken;

use std::collections::BTreeMap;

use karez_api::{Input, OnFailure, Path, Port, Role, SinkNode, SourceNode, StepNode, Upstream};

use crate::build::Ties;
use crate::engine_keys::FailureKey;
use crate::sheet::Sheet;

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
    lost: &'a [String],
    names: BTreeMap<&'a str, Id>,
    inputs: BTreeMap<Id, Vec<Edge>>,
    failures: BTreeMap<Id, Id>,
}

/// Ties the nodes together; nothing where the graph or one of the nodes is wrong.
/// `lost` are names of nodes that are in error elsewhere.
pub(crate) fn tie(sheet: &Sheet, mut parts: Parts, lost: &[String]) -> Option<Tied> {
    let graph = Graph::resolve(sheet, &parts, lost);
    if !graph.has_loose_ends() {
        graph.check_untaken();
    }
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
    fn resolve(sheet: &'a Sheet, parts: &'a Parts, lost: &'a [String]) -> Self {
        let mut names = BTreeMap::new();
        names.extend(parts.sources.iter().enumerate().map(|(n, v)| (v.name.as_str(), Id(Role::Source, n))));
        names.extend(parts.sinks.iter().enumerate().map(|(n, v)| (v.name.as_str(), Id(Role::Sink, n))));
        names.extend(parts.steps.iter().enumerate().map(|(n, v)| (v.name.as_str(), Id(Role::Step, n))));
        let mut graph =
            Self { sheet, parts, lost, names, inputs: BTreeMap::new(), failures: BTreeMap::new() };
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

    fn inherits_failure(&self, id: Id) -> bool {
        match id.0 {
            Role::Step => self.parts.steps[id.1].inherited_failure,
            Role::Sink => self.parts.sinks[id.1].inherited_failure,
            Role::Source => false,
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
}
