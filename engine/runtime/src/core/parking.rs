//! Followers of a held key in a journaled source. They give back their place in the window and
//! keep only their number: the journal has them. When their key is free they are read again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::origins::Via;
use super::{Command, Core, OrderKey, OriginSet};
use crate::worker::Ran;

/// Most numbers that are kept, per source; beyond it the window fills and the journal waits.
const MOST: usize = 100_000;
/// How many of one key are read again at a time.
const PAGE: usize = 128;

#[derive(Default)]
pub(crate) struct Parking {
    keys: HashMap<Arc<OrderKey>, Parked>,
    /// Read again and not yet back at the sinks: those that come meanwhile must stay behind them.
    fetched: HashMap<u64, Arc<OrderKey>>,
    len: usize,
}

#[derive(Default)]
struct Parked {
    sequences: VecDeque<u64>,
    fetched: usize,
}

impl Parking {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the journal must wait before it gives more.
    pub(super) fn is_full(&self) -> bool {
        self.len >= MOST
    }

    fn park(&mut self, key: &Arc<OrderKey>, sequence: u64) {
        self.len += 1;
        self.keys.entry(Arc::clone(key)).or_default().sequences.push_back(sequence);
    }

    /// A record that was read again is back at the sinks, or is no longer there.
    pub(super) fn returned(&mut self, sequence: u64) {
        let Some(key) = self.fetched.remove(&sequence) else { return };
        let Some(parked) = self.keys.get_mut(&key) else { return };
        parked.fetched -= 1;
        if parked.fetched == 0 && parked.sequences.is_empty() {
            self.keys.remove(&key);
        }
    }
}

impl Core {
    /// Records that came back from the graph although earlier ones of their key are parked: they are parked too.
    pub(super) fn park_late(&mut self, source: usize, ran: &Ran) -> OriginSet {
        let mut parked = OriginSet::new();
        if self.sources[source].parking.is_empty() {
            return parked;
        }
        for (origin, key) in &ran.over {
            let Some(key) = key else { continue };
            if !self.sources[source].parking.keys.contains_key(key) {
                continue;
            }
            let Some(state) = self.origins.get(*origin) else {
                continue;
            };
            if let Via::Journal(sequence) = state.via
                && !state.unparked
                && state.is_whole()
            {
                self.sources[source].parking.park(key, sequence);
                self.origins.remove(*origin);
                parked.insert(*origin);
            }
        }
        parked
    }

    /// When the window is full: followers of held keys make room. Always: keys that are free again get theirs back.
    pub(super) fn make_room(&mut self) {
        if !self.window_has_room() {
            self.park_followers();
        }
        for source in 0..self.sources.len() {
            if !self.sources[source].parking.is_empty() {
                self.unpark(source);
            }
        }
    }

    fn park_followers(&mut self) {
        for sink in 0..self.sinks.len() {
            let (origins, sources) = (&self.origins, &self.sources);
            let mut room: usize = sources.iter().map(|source| MOST - source.parking.len.min(MOST)).sum();
            let followers = self.sinks[sink].take_followers(|waiting| {
                let may = room > 0
                    && !waiting.diverted
                    && origins.get(waiting.record.origin()).is_some_and(|state| {
                        matches!(state.via, Via::Journal(_)) && !state.unparked && state.is_whole()
                    });
                room = room.saturating_sub(usize::from(may));
                may
            });
            for waiting in followers {
                let Some(key) = &waiting.key else { continue };
                let Some(state) = self.origins.remove(waiting.record.origin()) else {
                    continue;
                };
                if let Via::Journal(sequence) = state.via {
                    self.sources[state.source].parking.park(key, sequence);
                }
            }
        }
    }

    fn unpark(&mut self, source: usize) {
        if !self.window_has_room() {
            return;
        }
        let sinks = &self.sinks;
        let free = |key: &Arc<OrderKey>| sinks.iter().all(|sink| !sink.holds(key));
        let mut sequences = Vec::new();
        let parking = &mut self.sources[source].parking;
        for (key, parked) in &mut parking.keys {
            if parked.fetched == 0 && free(key) {
                let n = parked.sequences.len().min(PAGE);
                for sequence in parked.sequences.drain(..n) {
                    parking.fetched.insert(sequence, Arc::clone(key));
                    sequences.push(sequence);
                }
                parked.fetched = n;
                parking.len -= n;
            }
            if sequences.len() >= PAGE {
                break;
            }
        }
        if !sequences.is_empty() {
            self.commands.push(Command::Fetch { source, sequences });
        }
    }
}
