//! What is done to a source record before the steps: decode, split, id, dedup key, order key.
//! Push sources go through it before the journal, sources that replay when their records enter the graph.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use karez_api::{
    Body, Dedup, DedupKey, DedupScope, Fault, Form, Json, Record, RecordId, SourceNode, Unpack, Value,
};

use crate::core::OrderKey;
use crate::counters::Counters;
use crate::graph::undecodable;

/// Most records that one delivery is split into.
const MOST_PARTS: usize = 10_000;

/// The preparation of one source.
pub(crate) struct Prepare {
    pub(crate) name: Arc<str>,
    index: u16,
    split: Option<Value>,
    unpack: Option<Arc<dyn Unpack>>,
    id: Option<Value>,
    dedup: Option<Dedup>,
    dedup_scope: Arc<str>,
    order_by: Option<Value>,
    /// Records are looked into on their way, so that it is not in vain to parse them here.
    looked_into: bool,
    /// Records are split, identified and deduplicated before they are journaled.
    pub(crate) journaled: bool,
    counters: Arc<Counters>,
}

/// A record ready for the journal or the graph.
pub(crate) struct Prepared {
    pub(crate) record: Record,
    pub(crate) dedup: Option<DedupKey>,
}

impl Prepare {
    /// The preparation of the `index`-th source of a pipeline; whether its records come into `steps`.
    pub(crate) fn new(
        pipeline: &Arc<str>,
        index: u16,
        node: &SourceNode,
        steps: bool,
        counters: Arc<Counters>,
    ) -> Self {
        let dedup_scope = match node.dedup.as_ref().map(|dedup| dedup.scope) {
            Some(DedupScope::Pipeline) => Arc::clone(pipeline),
            _ => format!("{pipeline}/{}", node.name).into(),
        };
        let own = [&node.split, &node.id, &node.order_by].into_iter().any(Option::is_some);
        Self {
            name: Arc::clone(&node.name),
            index,
            split: node.split.clone(),
            unpack: node.plan.unpack(),
            id: node.id.clone(),
            dedup: node.dedup.clone(),
            dedup_scope,
            order_by: node.order_by.clone(),
            looked_into: steps || own || node.dedup.is_some(),
            journaled: node.journal,
            counters,
        }
    }

    pub(crate) fn deduplicates(&self) -> bool {
        self.dedup.is_some() && !self.journaled
    }

    /// Makes the records that one delivery holds.
    ///
    /// # Errors
    /// It cannot be decoded, or lacks what `split`, `id` or `dedup` need.
    pub(crate) fn records(&self, record: Record) -> Result<Vec<Prepared>, Fault> {
        self.check(&record)?;
        let parts = match (&self.split, &self.unpack) {
            (Some(split), _) => split_by(split, &record)?,
            (None, Some(unpack)) => unpack.unpack(record)?,
            (None, None) => return Ok(vec![self.one(record)?]),
        };
        if parts.len() > MOST_PARTS {
            return Err(Fault::validation("too_many", "one delivery holds more than 10,000 records"));
        }
        parts.into_iter().map(|part| self.one(part)).collect()
    }

    /// Whether a source record is what it says.
    ///
    /// # Errors
    /// The source marked it as unreadable, or it cannot be decoded.
    pub(crate) fn check(&self, record: &Record) -> Result<(), Fault> {
        if let Some(error) = &record.meta().error {
            return Err(Fault::new(error.class, error.code.to_string(), &error.message));
        }
        match record.body().form() {
            Form::Opaque => Ok(()),
            _ if self.looked_into => record.body().tree().map(drop).map_err(undecodable),
            _ => record.body().verify().map_err(|error| undecodable(&error)),
        }
    }

    fn one(&self, record: Record) -> Result<Prepared, Fault> {
        let record = match &self.id {
            None => record,
            Some(id) => {
                let Some(id) = id.eval(&record)?.as_ref().and_then(plain) else {
                    return Err(Fault::validation("missing_id", "id yields nothing for this record"));
                };
                record.with_meta(|meta| meta.id = RecordId::text(id))
            }
        };
        let dedup = self.dedup.as_ref().map(|dedup| self.dedup_key(dedup, &record)).transpose()?;
        Ok(Prepared { record, dedup })
    }

    fn dedup_key(&self, dedup: &Dedup, record: &Record) -> Result<DedupKey, Fault> {
        let Some(key) = dedup.key.eval(record)?.as_ref().and_then(plain) else {
            return Err(Fault::validation("missing_dedup_key", "dedup.key matches nothing in this record"));
        };
        Ok(DedupKey {
            scope: Arc::clone(&self.dedup_scope),
            key: key.into(),
            ttl: dedup.ttl,
            at: record.meta().received_at,
        })
    }

    /// The key that a record is kept in order by; `lane` where it has none of its own.
    pub(crate) fn order_key(
        &self,
        record: &Record,
        lane: Option<&Arc<OrderKey>>,
    ) -> Result<Option<Arc<OrderKey>>, Fault> {
        let Some(order_by) = &self.order_by else {
            return Ok(lane.cloned());
        };
        match order_by.eval(record)?.as_ref().and_then(plain) {
            Some(key) => Ok(Some(Arc::new(OrderKey {
                source: self.index,
                lane: false,
                key: key.into_bytes().into_boxed_slice(),
            }))),
            None => {
                self.counters.missing_order_key.fetch_add(1, Relaxed);
                Ok(lane.cloned())
            }
        }
    }
}

fn split_by(split: &Value, delivery: &Record) -> Result<Vec<Record>, Fault> {
    let parts = match split.eval(delivery)? {
        Some(Json::Array(parts)) => parts,
        Some(single) => vec![single],
        None => Vec::new(),
    };
    let numbered = (0_u32..).zip(parts);
    Ok(numbered.map(|(n, part)| delivery.part(n, Body::from_tree(part))).collect())
}

/// A key as text: a string as it is, anything else as JSON, null as nothing.
fn plain(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
