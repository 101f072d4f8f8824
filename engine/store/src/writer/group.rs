//! One group: what each request puts into it, and what changes once it is on disk.

use std::collections::HashMap;

use karez_api::{Appended, Millis, StoreError};

use super::{Writer, answer};
use crate::dedup::{Hashed, Key};
use crate::index::Room;
use crate::queue::{Prepared, Request, Work};
use crate::segment::kind;
use crate::stream::Place;
use crate::{codec, entry, frame, ledger};

#[derive(Default)]
pub(super) struct Group {
    full: Option<StoreError>,
    pub(super) needs_sync: bool,
    /// One for each request.
    outcomes: Vec<Outcome>,
    streams: HashMap<u64, Staged>,
    /// Keys of this group, which nobody may know of before it is on disk.
    keys: HashMap<u128, u64>,
    stored_keys: Vec<Key>,
    names: usize,
}

/// A stream as it will be after the group.
struct Staged {
    next: u64,
    bytes: u64,
    limit: u64,
}

enum Outcome {
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
            Work::Append { stream, entries } => {
                let Some(id) = self.shared.names().stream(stream) else {
                    return Outcome::Refused(StoreError::Failed(format!("stream {stream} was removed")));
                };
                self.stage_entries(group, id, stream, entries)
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
            Work::Remove(stream) => {
                let mut payload = Vec::new();
                codec::put_text(&mut payload, &stream.pipeline);
                codec::put_text(&mut payload, &stream.source);
                self.tape.push(kind::REMOVE, &payload);
                Outcome::Done
            }
            Work::Adopt { from, to } => {
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

    fn stage_entries(
        &mut self,
        group: &mut Group,
        id: u64,
        stream: &karez_api::StreamName,
        entries: &[Prepared],
    ) -> Outcome {
        if let Some(full) = &group.full {
            return Outcome::Refused(full.clone());
        }
        self.look_up(group, id);
        let bytes: u64 = entries.iter().map(|entry| (frame::HEAD + entry.payload.len()) as u64).sum();
        if let Some(staged) = group.streams.get(&id)
            && staged.bytes + bytes > staged.limit
        {
            return Outcome::Refused(StoreError::Full(format!(
                "the journal of {stream} holds {} bytes, its bound is {}; it takes more once entries are delivered",
                staged.bytes, staged.limit
            )));
        }
        let appended = entries.iter().map(|entry| self.stage_entry(group, id, entry)).collect();
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

    fn stage_entry(&mut self, group: &mut Group, id: u64, entry: &Prepared) -> (Appended, Place) {
        if let Some(hashed) = &entry.dedup {
            // A duplicate within the group is answered after the sync that makes the first one durable.
            if group.holds(hashed) || self.shared.dedup().knows(hashed) {
                return (Appended::Duplicate, Place::default());
            }
            group.add_key(hashed.key);
        }
        group.needs_sync = true;
        let length = frame::HEAD + entry.payload.len();
        let mut sequence = 1;
        if let Some(staged) = group.streams.get_mut(&id) {
            sequence = staged.next;
            staged.next += 1;
            staged.bytes += length as u64;
        }
        let mut payload = entry.payload.clone();
        entry::place(&mut payload, id, sequence);
        let offset = self.tape.push(kind::ENTRY, &payload);
        (Appended::Stored(sequence), Place::new(self.tape.number, offset, length))
    }

    /// The group is on disk: everybody may know.
    pub(super) fn apply(&mut self, group: Group, requests: Vec<Request>) {
        if group.names > 0 {
            self.shared.names_mut().written(group.names);
        }
        if !group.stored_keys.is_empty() {
            let mut dedup = self.shared.dedup_mut();
            for key in &group.stored_keys {
                dedup.insert(*key);
            }
        }
        self.keys.extend(group.stored_keys);
        let mut answers = Vec::with_capacity(requests.len());
        for (mut request, outcome) in requests.into_iter().zip(group.outcomes) {
            let result = match outcome {
                Outcome::Refused(error) => Err(error),
                Outcome::Entries { stream, appended } => {
                    Ok(self.apply_entries(stream, &appended, &mut request))
                }
                Outcome::Done => {
                    self.apply_other(&request.work);
                    Ok(Vec::new())
                }
            };
            answers.push((request, result));
        }
        for (request, result) in answers {
            answer(request, result);
        }
    }

    fn apply_entries(&self, id: u64, appended: &[(Appended, Place)], request: &mut Request) -> Vec<Appended> {
        let Work::Append { entries, .. } = &mut request.work else {
            return Vec::new();
        };
        let room = Room {
            stream: self.shared.options.cache_bytes,
            all: self.shared.options.cache_bytes.saturating_mul(4),
        };
        let mut index = self.shared.index();
        for (entry, (appended, place)) in entries.drain(..).zip(appended) {
            if let Appended::Stored(sequence) = appended {
                let time: Millis = entry.record.meta().received_at;
                index.insert(id, *sequence, *place, time);
                index.keep_recent(id, *sequence, entry.record, room);
            }
        }
        if let Some(stream) = index.streams.get(&id) {
            stream.arrived.notify_waiters();
        }
        appended.iter().map(|(appended, _)| *appended).collect()
    }

    fn apply_other(&self, work: &Work) {
        match work {
            Work::Delivered { sink, ids, mark } => {
                let id = self.shared.names().sink(sink);
                if let Some(id) = id {
                    self.shared.ledger().deliver(id, ids, mark.clone(), self.tape.number);
                }
            }
            Work::Remove(stream) => {
                let id = self.shared.names_mut().remove(stream);
                if let Some(id) = id {
                    self.shared.index().remove_stream(id);
                }
            }
            Work::Adopt { from, to } => {
                self.shared.names_mut().adopt(from, to);
                // Whoever waits under one of the names now waits for another stream.
                self.shared.wake_readers();
            }
            Work::Append { .. } | Work::Remember(_) | Work::Flush | Work::Close => {}
        }
    }
}
