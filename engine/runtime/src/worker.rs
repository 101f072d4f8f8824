//! Runs a chunk of records through preparation and steps, off the event loop.

use std::sync::Arc;

use karez_api::{DedupKey, Fault, Millis, Origin, Record};

use crate::core::OrderKey;
use crate::graph::{Graph, Outcome, Target, Walk};
use crate::prepare::Prepare;

/// Where a record enters.
pub(crate) enum Entry {
    /// As its source gave it; `lane` is what keeps it in order without a key of its own.
    Source { lane: Option<Arc<OrderKey>> },
    /// As the journal kept it: prepared, and no duplicate.
    Journaled,
    /// A source record that is tried again on the operator's word: not compared with what went before.
    Again,
    /// Prepared, and known not to be a duplicate.
    Unique { key: Option<Arc<OrderKey>> },
    /// Behind a step that asked, with what was answered.
    After { step: usize, key: Option<Arc<OrderKey>>, diverted: bool, way: Option<u128> },
    /// At a node: a replay, or a failure path.
    Node { target: Target, key: Option<Arc<OrderKey>>, diverted: bool },
}

pub(crate) struct Work {
    pub(crate) record: Record,
    pub(crate) entry: Entry,
}

/// A prepared record of a source that deduplicates after delivery; whether it is a duplicate is not decided here.
pub(crate) struct Candidate {
    pub(crate) record: Record,
    pub(crate) key: Option<Arc<OrderKey>>,
    pub(crate) dedup: DedupKey,
}

/// What became of a chunk.
#[derive(Default)]
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) candidates: Vec<Candidate>,
    /// Pieces of work that are over, by origin, with the key they ran under.
    pub(crate) over: Vec<(Origin, Option<Arc<OrderKey>>)>,
}

/// Runs a chunk of one source.
pub(crate) fn run(graph: &Graph, prepare: &Prepare, source: usize, work: Vec<Work>, now: Millis) -> Ran {
    let mut candidates = Vec::new();
    let mut over = Vec::with_capacity(work.len());
    let mut walk = graph.walk(now);
    for Work { record, entry } in work {
        let origin = record.origin();
        let key = match entry {
            Entry::Source { lane } => {
                fresh(&mut walk, prepare, source, &record, lane.as_ref(), Some(&mut candidates))
                    .unwrap_or_else(|fault| walk.refuse(&prepare.name, record, fault));
                None
            }
            Entry::Again if !prepare.journaled => {
                fresh(&mut walk, prepare, source, &record, None, None)
                    .unwrap_or_else(|fault| walk.refuse(&prepare.name, record, fault));
                None
            }
            Entry::Journaled | Entry::Again => match journaled(prepare, &record) {
                Ok(key) => {
                    walk.at_source(source, [(record, key.clone())]);
                    key
                }
                Err(fault) => {
                    walk.refuse(&prepare.name, record, fault);
                    None
                }
            },
            Entry::Unique { key } => {
                walk.at_source(source, [(record, key.clone())]);
                key
            }
            Entry::After { step, key, diverted, way } => {
                walk.after(step, record, key.as_ref(), diverted, way);
                key
            }
            Entry::Node { target, key, diverted } => {
                walk.at_node(target, record, key.as_ref(), diverted);
                key
            }
        };
        over.push((origin, key));
    }
    Ran { outcome: walk.finish(), candidates, over }
}

/// A journaled record was split and identified before; only its order is looked up.
fn journaled(prepare: &Prepare, record: &Record) -> Result<Option<Arc<OrderKey>>, Fault> {
    prepare.check(record)?;
    prepare.order_key(record, None)
}

fn fresh(
    walk: &mut Walk<'_>,
    prepare: &Prepare,
    source: usize,
    record: &Record,
    lane: Option<&Arc<OrderKey>>,
    candidates: Option<&mut Vec<Candidate>>,
) -> Result<(), Fault> {
    let prepared = prepare.records(record.clone())?;
    let mut keyed = Vec::with_capacity(prepared.len());
    for part in prepared {
        let key = prepare.order_key(&part.record, lane)?;
        keyed.push((part, key));
    }
    match candidates.filter(|_| prepare.deduplicates()) {
        Some(candidates) => candidates.extend(
            keyed
                .into_iter()
                .filter_map(|(part, key)| Some(Candidate { record: part.record, key, dedup: part.dedup? })),
        ),
        None => walk.at_source(source, keyed.into_iter().map(|(part, key)| (part.record, key))),
    }
    Ok(())
}
