//! One group: what each request puts into it. Nobody knows of any of it yet.

use std::collections::HashMap;

use karez_api::{Appended, StoreError, StreamName};

use super::Writer;
use crate::dedup::{Hashed, Key};
use crate::queue::{Batch, Prepared, Request, Work};
use crate::segment::kind;
use crate::stream::Place;
use crate::tape::Trouble;
use crate::{codec, entry, frame, ledger};

#[derive(Default)]
pub(super) struct Group {
    full: Option<StoreError>,
    pub(super) needs_sync: bool,
    /// One for each request.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) streams: HashMap<u64, Staged>,
    /// Keys of this group, which nobody may know of before it is on disk.
    keys: HashMap<u128, u64>,
    pub(super) stored_keys: Vec<Key>,
    pub(super) names: usize,
}

/// A stream as it will be after the group.
pub(super) struct Staged {
    next: u64,
    bytes: u64,
    limit: u64,
}

pub(super) enum Outcome {
    Entries { stream: u64, appended: Vec<(Appended, Place)> },
    Done,
    Refused(StoreError),
}

impl Group {
    pub(super) fn new(full: Option<StoreError>) -> Self {
        Self { full, ..Self::default() }
    }

    fn holds(&self, hashed: &Hashed) -> bool {
        let counts =
            |hash| self.keys.get(hash).is_some_and(|at: &u64| at.saturating_add(hashed.ttl) > hashed.key.at);
        counts(&hashed.key.hash) || hashed.inherited.iter().any(counts)
    }

    fn add_key(&mut self, key: Key) {
        self.keys.insert(key.hash, key.at);
        self.stored_keys.push(key);
    }
}

impl Writer {
    pub(super) fn stage_requests(&mut self, group: &mut Group, requests: &[Request]) {
        self.add_names(requests);
        group.names = self.shared.names().unwritten().len();
        let names: Vec<Vec<u8>> = self.shared.names().unwritten().to_vec();
        for payload in names {
            self.tape.push(kind::NAME, &payload);
        }
        for request in requests {
            let outcome = self.stage(group, &request.work);
            group.outcomes.push(outcome);
        }
    }

    fn add_names(&self, requests: &[Request]) {
        let known = self.shared.names();
        let new = requests.iter().any(|request| match &request.work {
            Work::Append { stream, .. } => known.stream(stream).is_none(),
            Work::Delivered { sink, .. } => known.sink(sink).is_none(),
            _ => false,
        });
        drop(known);
        if !new {
            return;
        }
        let mut names = self.shared.names_mut();
        for request in requests {
            match &request.work {
                Work::Append { stream, .. } => drop(names.add_stream(stream)),
                Work::Delivered { sink, .. } => drop(names.add_sink(sink)),
                _ => {}
            }
        }
    }

    fn stage(&mut self, group: &mut Group, work: &Work) -> Outcome {
        group.needs_sync |= !matches!(work, Work::Append { .. });
        match work {
            Work::Append { stream, batch } => {
                let Some(id) = self.shared.names().stream(stream) else {
                    return Outcome::Refused(StoreError::Failed(format!("stream {stream} was removed")));
                };
                self.stage_entries(group, id, stream, batch)
            }
            Work::Remember(keys) => {
                let mut payload = Vec::with_capacity(keys.len() * Key::BYTES);
                for hashed in keys {
                    hashed.key.put(&mut payload);
                    group.add_key(hashed.key);
                }
                self.tape.push(kind::KEYS, &payload);
                Outcome::Done
            }
            Work::Delivered { sink, ids, mark } => {
                let Some(id) = self.shared.names().sink(sink) else {
                    return Outcome::Done;
                };
                self.tape.push(kind::DELIVERED, &ledger::payload(id, ids, mark.as_ref()));
                Outcome::Done
            }
            Work::Remove(pipeline) => {
                let mut payload = Vec::new();
                codec::put_text(&mut payload, pipeline);
                self.tape.push(kind::REMOVE, &payload);
                Outcome::Done
            }
            Work::Adopt { from, to } => {
                if let Some(refusal) = self.no_adoption(from, to) {
                    return Outcome::Refused(refusal);
                }
                let mut payload = Vec::new();
                codec::put_text(&mut payload, from);
                codec::put_text(&mut payload, to);
                self.tape.push(kind::ADOPT, &payload);
                Outcome::Done
            }
            Work::Flush => Outcome::Done,
            Work::Close => {
                // Names once more: one damaged name must not make a whole stream unreachable.
                let names = self.shared.names().snapshot();
                for payload in names {
                    self.tape.push(kind::NAME, &payload);
                }
                self.tape.push(kind::CLOSED, &[]);
                Outcome::Done
            }
        }
    }

    fn stage_entries(&mut self, group: &mut Group, id: u64, stream: &StreamName, batch: &Batch) -> Outcome {
        self.look_up(group, id);
        if let Some(full) = self.no_room(group, id, stream, batch) {
            // A duplicate needs no room, and its sender need not come again.
            let known = batch.entries.iter().all(|entry| self.is_duplicate(group, entry));
            let duplicates = || vec![(Appended::Duplicate, Place::default()); batch.entries.len()];
            return if known {
                Outcome::Entries { stream: id, appended: duplicates() }
            } else {
                Outcome::Refused(full)
            };
        }
        let appended = batch.entries.iter().map(|entry| self.stage_entry(group, id, batch, entry)).collect();
        Outcome::Entries { stream: id, appended }
    }

    fn look_up(&self, group: &mut Group, id: u64) {
        group.streams.entry(id).or_insert_with(|| {
            let index = self.shared.index();
            let stats = index.streams.get(&id).map(crate::stream::Stream::stats).unwrap_or_default();
            let limit = index.limits.get(&id).copied().unwrap_or(self.shared.options.max_bytes);
            Staged { next: stats.next.max(1), bytes: stats.unsettled_bytes, limit }
        });
    }

    fn no_room(&self, group: &Group, id: u64, stream: &StreamName, batch: &Batch) -> Option<StoreError> {
        if group.full.is_some() {
            return group.full.clone();
        }
        let more: usize = batch.entries.iter().map(|entry| frame_length(entry.range.len())).sum();
        // An empty journal takes one batch of any size: otherwise its sender would be asked to come again for ever.
        let is_full = |staged: &&Staged| staged.bytes > 0 && staged.bytes + more as u64 > staged.limit;
        let staged = group.streams.get(&id).filter(is_full)?;
        Some(StoreError::Full(format!(
            "the journal of {stream} holds {} bytes, its bound is {}; it takes more once entries are delivered",
            staged.bytes, staged.limit
        )))
    }

    fn is_duplicate(&self, group: &Group, entry: &Prepared) -> bool {
        entry.dedup.as_ref().is_some_and(|hashed| group.holds(hashed) || self.shared.dedup().knows(hashed))
    }

    fn stage_entry(
        &mut self,
        group: &mut Group,
        id: u64,
        batch: &Batch,
        entry: &Prepared,
    ) -> (Appended, Place) {
        // A duplicate within the group is answered after the sync that makes the first one durable.
        if self.is_duplicate(group, entry) {
            return (Appended::Duplicate, Place::default());
        }
        if let Some(hashed) = &entry.dedup {
            group.add_key(hashed.key);
        }
        group.needs_sync = true;
        let length = frame_length(entry.range.len());
        let mut sequence = 1;
        if let Some(staged) = group.streams.get_mut(&id) {
            sequence = staged.next;
            staged.next += 1;
            staged.bytes += length as u64;
        }
        let offset = self.tape.push_entry(id, sequence, &batch.bytes[entry.range.clone()]);
        (Appended::Stored(sequence), Place::new(self.tape.number, offset, length))
    }

    /// A planted bug: keys are durable before their entries are.
    pub(super) fn plant_keys(&mut self, requests: &[Request]) -> Result<(), Trouble> {
        let appended = requests.iter().filter_map(|request| match &request.work {
            Work::Append { batch, .. } => Some(batch),
            _ => None,
        });
        let mut payload = Vec::new();
        for entry in appended.flat_map(|batch| &batch.entries) {
            if let Some(hashed) = &entry.dedup {
                hashed.key.put(&mut payload);
            }
        }
        if payload.is_empty() {
            return Ok(());
        }
        self.tape.begin_group();
        self.tape.push(kind::KEYS, &payload);
        self.tape.write()?;
        self.tape.sync()?;
        fail::fail_point!("crash::between_mark_and_entry");
        Ok(())
    }

    /// Why `to` cannot take over what hangs on `from`, if so: what hangs on `to` would become unreachable.
    fn no_adoption(&self, from: &str, to: &str) -> Option<StoreError> {
        let names = self.shared.names();
        let holds = |stream: u64| {
            self.shared.index().streams.get(&stream).map_or(0, |stream| stream.stats().unsettled)
        };
        let held: u64 =
            names.streams().filter(|(name, _)| &*name.pipeline == to).map(|(_, id)| holds(id)).sum();
        (held > 0 && names.knows_pipeline(from)).then(|| {
            StoreError::Refused(format!(
                "pipeline {to} cannot adopt {from}: {held} entries wait in the journal of {to} itself; \
                 let them be delivered or drop them first"
            ))
        })
    }
}

/// Bytes of an entry's frame, of which a caller encoded `encoded`.
fn frame_length(encoded: usize) -> usize {
    frame::HEAD + entry::PLACE + encoded
}
