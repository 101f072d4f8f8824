//! Duplicates of a source that replays. Its key becomes durable after delivery; while the first
//! record is undecided, a second one with the same key waits and shares its fate.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use karez_api::{DedupKey, Origin};

use super::Core;
use crate::counters::End;
use crate::worker::{Candidate, Entry, Work};

/// Keys of the whole pipeline, with the scope they count in.
#[derive(Default)]
pub(crate) struct Reservations(HashMap<(Arc<str>, Arc<str>), Reservation>);

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
    fn rule(&mut self, key: &DedupKey, origin: Origin) -> Ruling {
        match self.0.get_mut(&place(key)) {
            None => {
                self.0.insert(place(key), Reservation::Held { by: origin, waiters: Vec::new() });
                Ruling::Unique
            }
            // Twice in one delivery: it shares its own fate.
            Some(Reservation::Held { by, .. }) if *by == origin => Ruling::Duplicate,
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
            let before = self.0.insert(place(key), Reservation::Decided);
            if let Some(Reservation::Held { waiters, .. }) = before {
                waiting.extend(waiters);
            }
        }
        waiting
    }

    /// The store answers for these keys from now on.
    pub(super) fn forget(&mut self, keys: &[DedupKey]) {
        for key in keys {
            if matches!(self.0.get(&place(key)), Some(Reservation::Decided)) {
                self.0.remove(&place(key));
            }
        }
    }

    /// These records went back: whoever comes next is the first. Yields who waited for them.
    pub(super) fn give_up(&mut self, gone: &HashSet<Origin>) -> Vec<Origin> {
        let mut waiting = Vec::new();
        self.0.retain(|_, reservation| match reservation {
            Reservation::Held { by, waiters } if gone.contains(by) => {
                waiting.append(waiters);
                false
            }
            Reservation::Held { waiters, .. } => {
                waiters.retain(|waiter| !gone.contains(waiter));
                true
            }
            Reservation::Decided => true,
        });
        waiting.retain(|waiter| !gone.contains(waiter));
        waiting
    }

    /// Everything unsettled starts again: only what is decided still counts.
    pub(super) fn restart(&mut self) {
        self.0.retain(|_, reservation| matches!(reservation, Reservation::Decided));
    }
}

fn place(key: &DedupKey) -> (Arc<str>, Arc<str>) {
    (Arc::clone(&key.scope), Arc::clone(&key.key))
}

impl Core {
    /// Decides whether a prepared record goes on. Its branch is open.
    pub(super) fn deduplicate(&mut self, candidate: Candidate, unique: &mut Vec<Work>) {
        let Candidate { record, key, dedup } = candidate;
        let origin = record.origin();
        if self.known.knows(&dedup) {
            self.origins.end(origin, End::Duplicate);
            return self.close(origin);
        }
        match self.reservations.rule(&dedup, origin) {
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
