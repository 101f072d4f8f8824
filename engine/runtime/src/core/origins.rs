//! The window: source records whose fate is not decided, and how many branches each still has.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use karez_api::{DedupKey, Lane, Origin, Record};

use crate::counters::{End, Ends};

/// What a record costs beside its bytes.
const OVERHEAD: usize = 512;

/// What a parsed body costs, in its bytes.
const PARSED: usize = 8;

/// The way back to where a record came from.
#[derive(Debug, Clone)]
pub(crate) enum Via {
    Journal(u64),
    Batch {
        batch: u64,
        index: u32,
        lane: Lane,
    },
    /// A dead letter that is tried again, from a node or (without one) from its source.
    Replay {
        ticket: u64,
        node: Option<Arc<str>>,
    },
}

pub(crate) struct State {
    pub(crate) source: usize,
    pub(crate) via: Via,
    /// As it came, unparsed: what a dead letter keeps and a reload starts again from.
    pub(crate) record: Record,
    pub(crate) ends: Ends,
    pub(crate) dedup: Vec<DedupKey>,
    /// What the ledger holds of it: sink and hash.
    pub(crate) delivered: Vec<(u16, u128)>,
    /// It waited on disk behind its key and must not be parked again.
    pub(crate) unparked: bool,
    open: u32,
    cost: usize,
}

impl State {
    /// Whether nothing but one waiting branch exists: it can be forgotten and read again.
    pub(crate) fn is_whole(&self) -> bool {
        self.open == 1 && self.ends == Ends::default() && self.delivered.is_empty()
    }
}

/// Origins are numbers that rise: they need no hashing.
#[derive(Default)]
pub(crate) struct Plain(u64);

impl Hasher for Plain {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Default)]
pub(crate) struct Origins {
    states: HashMap<Origin, State, BuildHasherDefault<Plain>>,
    next: u64,
    bytes: usize,
}

impl Origins {
    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }
    /// What they cost together.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Origin, &State)> {
        self.states.iter()
    }
    pub(crate) fn get(&self, origin: Origin) -> Option<&State> {
        self.states.get(&origin)
    }
    pub(crate) fn get_mut(&mut self, origin: Origin) -> Option<&mut State> {
        self.states.get_mut(&origin)
    }

    /// Takes a record in; its run through the graph is its first open branch.
    pub(crate) fn admit(&mut self, record: Record, source: usize, via: Via, unparked: bool) -> Record {
        self.next += 1;
        let origin = Origin::new(self.next);
        let record = record.admitted(origin);
        let cost = record.body().bytes().len() + OVERHEAD;
        let state = State {
            source,
            via,
            record: record.unparsed(),
            ends: Ends::default(),
            dedup: Vec::new(),
            delivered: Vec::new(),
            unparked,
            open: 1,
            cost,
        };
        self.bytes += cost;
        self.states.insert(origin, state);
        record
    }

    /// Takes a record in again, as it came, under its old number.
    pub(crate) fn readmit(&mut self, origin: Origin, state: State) -> Record {
        let record = state.record.clone();
        self.bytes += state.cost;
        let state = State { ends: Ends::default(), dedup: Vec::new(), open: 1, ..state };
        self.states.insert(origin, state);
        record
    }

    /// Its body was parsed: it costs more from now on. Never waits: an overdrawn window only stops admission.
    pub(crate) fn parsed(&mut self, origin: Origin) {
        if let Some(state) = self.states.get_mut(&origin) {
            let raised = state.record.body().bytes().len() * PARSED + OVERHEAD;
            self.bytes += raised.saturating_sub(state.cost);
            state.cost = state.cost.max(raised);
        }
    }

    /// What was made of it costs too. Never waits, as above.
    pub(crate) fn charge(&mut self, origin: Origin, bytes: usize) {
        if let Some(state) = self.states.get_mut(&origin) {
            self.bytes += bytes;
            state.cost += bytes;
        }
    }

    /// One more branch; false if the origin is gone.
    pub(crate) fn branch(&mut self, origin: Origin) -> bool {
        self.states.get_mut(&origin).map(|state| state.open += 1).is_some()
    }

    pub(crate) fn end(&mut self, origin: Origin, end: End) {
        if let Some(state) = self.states.get_mut(&origin) {
            state.ends.add(end);
        }
    }

    /// One branch less; true if it was the last.
    pub(crate) fn close(&mut self, origin: Origin) -> bool {
        self.states.get_mut(&origin).is_some_and(|state| {
            state.open -= 1;
            state.open == 0
        })
    }

    pub(crate) fn remove(&mut self, origin: Origin) -> Option<State> {
        let state = self.states.remove(&origin)?;
        self.bytes -= state.cost;
        Some(state)
    }

    /// Takes all out, in the order they came.
    pub(crate) fn take_all(&mut self) -> Vec<(Origin, State)> {
        self.bytes = 0;
        let mut all: Vec<_> = std::mem::take(&mut self.states).into_iter().collect();
        all.sort_by_key(|(origin, _)| origin.number());
        all
    }
}
