//! Duplicates of a source that replays. Its key becomes durable after delivery; while the first
//! record is undecided, a second one with the same key waits and shares its fate.

use std::collections::HashMap;
use std::sync::Arc;

use karez_api::{DedupKey, Origin};

use super::Core;
use crate::counters::End;
use crate::worker::{Candidate, Entry, Work};

#[derive(Default)]
pub(crate) struct Reservations(HashMap<Arc<str>, Reservation>);

enum Reservation {
    /// The first is on its way.
    Held { by: Origin, waiters: Vec<Origin> },
    /// The first is settled; the key is being written.
    Decided,
}

/// What to do with a record.
enum Ruling {
    Unique,
    Waits,
    Duplicate,
}

impl Reservations {
    fn rule(&mut self, key: &Arc<str>, origin: Origin) -> Ruling {
        match self.0.get_mut(key) {
            None => {
                self.0.insert(Arc::clone(key), Reservation::Held { by: origin, waiters: Vec::new() });
                Ruling::Unique
            }
            // The same record again after a reload.
            Some(Reservation::Held { by, .. }) if *by == origin => Ruling::Unique,
            Some(Reservation::Held { waiters, .. }) => {
                waiters.push(origin);
                Ruling::Waits
            }
            Some(Reservation::Decided) => Ruling::Duplicate,
        }
    }

    /// The record that held these keys is settled: who waited for it.
    pub(super) fn decide(&mut self, keys: &[DedupKey]) -> Vec<Origin> {
        let mut waiting = Vec::new();
        for key in keys {
            let before = self.0.insert(Arc::clone(&key.key), Reservation::Decided);
            if let Some(Reservation::Held { waiters, .. }) = before {
                waiting.extend(waiters);
            }
        }
        waiting
    }

    /// The store answers for these keys from now on.
    pub(super) fn forget(&mut self, keys: &[DedupKey]) {
        for key in keys {
            if matches!(self.0.get(&key.key), Some(Reservation::Decided)) {
                self.0.remove(&key.key);
            }
        }
    }

    /// After a reload the waiters come again by themselves.
    pub(super) fn without_waiters(mut self) -> Self {
        for reservation in self.0.values_mut() {
            if let Reservation::Held { waiters, .. } = reservation {
                waiters.clear();
            }
        }
        self
    }
}

impl Core {
    /// Decides whether a prepared record goes on. Its branch is open.
    pub(super) fn deduplicate(&mut self, source: usize, candidate: Candidate, unique: &mut Vec<Work>) {
        let Candidate { record, key, dedup } = candidate;
        let origin = record.origin();
        if self.known.knows(&dedup) {
            self.origins.end(origin, End::Duplicate);
            return self.close(origin);
        }
        match self.sources[source].reservations.rule(&dedup.key, origin) {
            Ruling::Unique => {
                if let Some(state) = self.origins.get_mut(origin) {
                    state.dedup.push(dedup);
                }
                unique.push(Work { record, entry: Entry::Unique { key } });
            }
            Ruling::Waits => {}
            Ruling::Duplicate => {
                self.origins.end(origin, End::Duplicate);
                self.close(origin);
            }
        }
    }
}
