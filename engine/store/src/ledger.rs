//! What sinks confirmed of records that may come again, and their last marks.

use std::collections::{HashMap, HashSet};

use karez_api::Mark;

use crate::codec::{Reader, put_bytes};

#[derive(Debug, Default)]
struct Sink {
    /// By id: the segment that says so.
    ids: HashMap<u128, u32>,
    mark: Option<Mark>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger(HashMap<u64, Sink>);

impl Ledger {
    pub(crate) fn deliver(&mut self, sink: u64, ids: &[u128], mark: Option<Mark>, segment: u32) {
        let sink = self.0.entry(sink).or_default();
        sink.ids.extend(ids.iter().map(|id| (*id, segment)));
        if mark.is_some() {
            sink.mark = mark;
        }
    }

    /// Takes out ids; returns those that were there.
    pub(crate) fn forget(&mut self, sink: u64, mut ids: Vec<u128>) -> Vec<u128> {
        let known = self.0.get_mut(&sink);
        let Some(known) = known else {
            return Vec::new();
        };
        ids.retain(|id| known.ids.remove(id).is_some());
        ids
    }

    pub(crate) fn remove(&mut self, sink: u64) {
        self.0.remove(&sink);
    }

    pub(crate) fn get(&self, sink: u64) -> (HashSet<u128>, Option<Mark>) {
        let sink = self.0.get(&sink);
        sink.map(|sink| (sink.ids.keys().copied().collect(), sink.mark.clone())).unwrap_or_default()
    }

    /// What only `segment` says, to be said again before it goes.
    pub(crate) fn within(&self, segment: u32) -> Vec<(u64, Vec<u128>)> {
        let of = |sink: &Sink| -> Vec<u128> {
            sink.ids.iter().filter(|(_, at)| **at == segment).map(|(id, _)| *id).collect()
        };
        let all = self.0.iter().map(|(id, sink)| (*id, of(sink)));
        all.filter(|(_, ids)| !ids.is_empty()).collect()
    }

    /// They were written again in `segment`; those forgotten meanwhile stay forgotten.
    pub(crate) fn move_to(&mut self, sink: u64, ids: &[u128], segment: u32) {
        let Some(sink) = self.0.get_mut(&sink) else {
            return;
        };
        for id in ids {
            sink.ids.entry(*id).and_modify(|at| *at = segment);
        }
    }

    /// All marks, for the head of a segment.
    pub(crate) fn marks(&self) -> Vec<Vec<u8>> {
        let marked = |(id, sink): (&u64, &Sink)| sink.mark.as_ref().map(|m| payload(*id, &[], Some(m)));
        self.0.iter().filter_map(marked).collect()
    }
}

/// `delivered` and, without a mark, `forget`, as they stand in the log.
pub(crate) fn payload(sink: u64, ids: &[u128], mark: Option<&Mark>) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + ids.len() * 16);
    out.extend_from_slice(&sink.to_le_bytes());
    out.push(u8::from(mark.is_some()));
    if let Some(mark) = mark {
        put_bytes(&mut out, &mark.0);
    }
    for id in ids {
        out.extend_from_slice(&id.to_le_bytes());
    }
    out
}

pub(crate) fn read(payload: &[u8]) -> Option<(u64, Vec<u128>, Option<Mark>)> {
    let mut reader = Reader::new(payload);
    let sink = reader.u64()?;
    let mark = match reader.u8()? {
        0 => None,
        _ => Some(Mark(bytes::Bytes::copy_from_slice(reader.bytes()?))),
    };
    let mut ids = Vec::with_capacity(reader.rest().len() / 16);
    while !reader.rest().is_empty() {
        ids.push(reader.u128()?);
    }
    Some((sink, ids, mark))
}
