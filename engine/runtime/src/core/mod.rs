//! What one pipeline knows and decides, as a state machine: an event in, commands out.
//! No I/O, no tasks, no clock of its own; the conductor feeds it and carries out what it says.

mod circuit;
mod dedup;
mod gate;
mod lanes;
mod origins;
mod parking;
mod queue;
mod restart;
mod retry;
mod sinks;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use karez_api::{
    Class, DedupKey, Events, Fault, InFlight, Lane, Millis, OnError, Origin, Outcome, Position, Record,
    RecordId, Verdict,
};
use tokio::time::Instant;

pub(crate) use gate::Gate;
pub(crate) use lanes::{Delivered, Lanes};
pub(crate) use origins::Via;
pub(crate) use queue::Limits;
pub(crate) use queue::OrderKey;
pub(crate) use sinks::{SinkSettings, SinkState};

use crate::counters::{Counters, End};
use crate::graph::{Graph, Refusal};
use crate::worker::{Entry, Ran, Work};
use dedup::Reservations;
use origins::Origins;
use parking::Parking;

/// Most records that one run takes through the graph: small enough to keep all cores busy.
const CHUNK: usize = 256;
/// Lanes of one source whose keys are kept without asking whether they are still used.
const LANE_KEYS: usize = 1_024;

/// Records of a lane as they were pulled, or of a journal as they were read.
pub(crate) struct Pulled {
    pub(crate) source: usize,
    pub(crate) lane: Lane,
    pub(crate) records: Vec<Record>,
    pub(crate) from: From,
}

/// How the records' source learns what became of them.
pub(crate) enum From {
    /// By number, in order.
    Journal { sequences: Vec<u64> },
    /// By number, read again after they were parked; of those `asked` for, some may be gone.
    Parked { sequences: Vec<u64>, asked: Vec<u64> },
    /// By batch, from its `first` record on; positions are saved as the settled prefix grows.
    Batch { number: u64, first: u32 },
}

/// What the conductor has to do.
pub(crate) enum Command {
    /// Run records through the graph, and answer with [`Core::ran`]; chunks of one source are numbered.
    Run { source: usize, chunk: u64, work: Vec<Work> },
    /// Deliver records, and answer with [`Core::delivered`].
    Attempt { sink: usize, attempt: u64, records: Vec<Record>, ledger: Vec<Option<u128>> },
    /// Write dead letters, and answer with [`Core::buried`].
    Bury(Vec<Burial>),
    /// Tell sources what became of records, in this order.
    Settle { source: usize, items: Vec<SettledItem> },
    /// Read these entries again; they come back as unparked.
    Fetch { source: usize, sequences: Vec<u64> },
    /// A replayed dead letter came to its end.
    Replayed { ticket: u64, end: Option<End> },
    /// Something that this pipeline cannot go on with.
    Fail(Fault),
}

/// A dead letter to be written.
pub(crate) struct Burial {
    pub(crate) refusal: Refusal,
    pub(crate) origin: Record,
    pub(crate) at: Millis,
}

/// One record whose fate is decided.
pub(crate) struct SettledItem {
    pub(crate) via: Via,
    pub(crate) id: RecordId,
    /// How it ended; not at all where it goes back.
    pub(crate) end: Option<End>,
    pub(crate) verdict: Verdict,
    pub(crate) dedup: Vec<DedupKey>,
    /// Ledger entries to forget once the record cannot come again.
    pub(crate) delivered: Vec<(u16, u128)>,
}

/// What the core needs to know of a source.
pub(crate) struct SourceSettings {
    pub(crate) name: Arc<str>,
    /// Records of a lane stay in order.
    pub(crate) ordered: bool,
}

struct SourceState {
    settings: SourceSettings,
    lane_keys: HashMap<Lane, Arc<OrderKey>>,
    /// At this many, those without a record on its way go.
    most_lane_keys: usize,
    next_chunk: u64,
    /// Results are taken in the order of the chunks: parallel work, order kept.
    next_result: u64,
    early: BTreeMap<u64, Ran>,
    parking: Parking,
}

pub(crate) struct Core {
    graph: Arc<Graph>,
    sources: Vec<SourceState>,
    sinks: Vec<SinkState>,
    origins: Origins,
    reservations: Reservations,
    limit: InFlight,
    counters: Arc<Counters>,
    commands: Vec<Command>,
    settled: BTreeMap<usize, Vec<SettledItem>>,
    burials: Vec<Burial>,
    /// What goes on from a delivery, last first.
    onward: Vec<(usize, Work)>,
    /// Dead letters that are being written.
    burying: usize,
    draining: bool,
    /// A reload is coming: what is in progress ends, nothing new begins.
    paused: bool,
    /// Results of an older graph are thrown away.
    generation: u64,
    wall: Millis,
    /// Answers whether a dedup key is known already.
    known: Arc<dyn Events>,
}

impl Core {
    pub(crate) fn new(
        known: Arc<dyn Events>,
        graph: Arc<Graph>,
        sources: Vec<SourceSettings>,
        sinks: Vec<SinkState>,
        limit: InFlight,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            known,
            graph,
            sources: sources.into_iter().map(SourceState::new).collect(),
            sinks,
            origins: Origins::default(),
            reservations: Reservations::default(),
            limit,
            counters,
            commands: Vec::new(),
            settled: BTreeMap::new(),
            burials: Vec::new(),
            onward: Vec::new(),
            burying: 0,
            draining: false,
            paused: false,
            generation: 0,
            wall: Millis(0),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
    pub(crate) fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }
    /// Whether more may be pulled: the window has room, and no source has parked all it may.
    pub(crate) fn has_room(&self) -> bool {
        self.window_has_room() && !self.sources.iter().any(|source| source.parking.is_full())
    }
    fn window_has_room(&self) -> bool {
        self.origins.len() < self.limit.records && self.origins.bytes() < self.limit.bytes
    }
    /// Whether nothing is on its way, parked records included.
    pub(crate) fn is_idle(&self) -> bool {
        self.origins.len() == 0 && self.sources.iter().all(|source| source.parking.is_empty())
    }
    /// Whether nothing is being worked on, and all that is left waits for a time, a circuit or an operator.
    pub(crate) fn only_waits(&self, now: Instant) -> bool {
        self.attempts_in_progress() == 0
            && self.sources.iter().all(|source| source.next_chunk == source.next_result)
            && self.sinks.iter().all(|sink| sink.only_waits(now))
    }
    /// Whether a source still has records on their way.
    pub(crate) fn holds_records_of(&self, source: usize) -> bool {
        self.origins.iter().any(|(_, origin)| origin.source == source)
    }
    /// Deliveries and dead letters in progress: what a reload waits for.
    pub(crate) fn attempts_in_progress(&self) -> usize {
        self.burying + self.sinks.iter().map(SinkState::in_progress).sum::<usize>()
    }

    /// Takes records into the window.
    pub(crate) fn pulled(&mut self, pulled: Pulled) {
        let Pulled { source, lane, records, from } = pulled;
        let lane_key = self.sources[source].lane_key(source, &lane);
        let mut work = Vec::with_capacity(records.len());
        let mut lane_name = None;
        for (n, record) in records.into_iter().enumerate() {
            let via = match &from {
                From::Journal { sequences } | From::Parked { sequences, .. } => Via::Journal(sequences[n]),
                From::Batch { number, first } => Via::Batch {
                    batch: *number,
                    index: first + n as u32,
                    lane: lane_name.get_or_insert_with(|| lane.clone()).clone(),
                },
            };
            let (entry, unparked) = match &from {
                From::Journal { .. } => (Entry::Journaled, false),
                From::Parked { .. } => (Entry::Journaled, true),
                From::Batch { .. } => (Entry::Source { lane: lane_key.clone() }, false),
            };
            let record = self.origins.admit(record, source, via, unparked);
            work.push(Work { record, entry });
        }
        if let From::Parked { sequences, asked } = from {
            let gone = asked.into_iter().filter(|sequence| !sequences.contains(sequence));
            gone.for_each(|sequence| self.sources[source].parking.returned(sequence));
        }
        self.run(source, work);
    }

    /// A record that was parked is in its place again.
    fn note_unparked(&mut self, source: usize, origin: Origin) {
        if let Some(state) = self.origins.get(origin)
            && let (true, Via::Journal(sequence)) = (state.unparked, &state.via)
        {
            self.sources[source].parking.returned(*sequence);
        }
    }

    /// Takes a dead letter in again, at a node or (without one) at its source.
    pub(crate) fn replay(&mut self, record: Record, source: usize, node: Option<&str>, ticket: u64) -> bool {
        let target = match node {
            Some(node) => match self.graph.target(node) {
                Some(target) => Some(target),
                None => return false,
            },
            None => None,
        };
        self.counters.accept(1);
        let via = Via::Replay { ticket, node: node.map(Arc::from) };
        let record = self.origins.admit(record, source, via, false);
        // A replay is the operator's word: it is not compared with what went before.
        let entry = match target {
            Some(target) => Entry::Node { target, key: None, diverted: false },
            None => Entry::Again,
        };
        self.run(source, vec![Work { record, entry }]);
        true
    }

    fn run(&mut self, source: usize, mut work: Vec<Work>) {
        while !work.is_empty() {
            let rest = work.split_off(work.len().min(CHUNK));
            let state = &mut self.sources[source];
            let chunk = state.next_chunk;
            state.next_chunk += 1;
            self.commands.push(Command::Run { source, chunk, work });
            work = rest;
        }
    }

    /// A chunk came back. Results of an older graph say nothing.
    pub(crate) fn ran(&mut self, source: usize, chunk: u64, generation: u64, ran: Ran, now: Instant) {
        if generation != self.generation {
            return;
        }
        self.sources[source].early.insert(chunk, ran);
        while let Some(ran) = self.sources[source].next_in_order() {
            self.apply(source, ran, now);
        }
    }

    fn apply(&mut self, source: usize, ran: Ran, now: Instant) {
        let parked = self.park_late(source, &ran);
        let lives = |origin: Origin| parked.is_empty() || !parked.contains(&origin);
        for (origin, end) in ran.outcome.ends {
            if lives(origin) {
                self.origins.end(origin, end);
            }
        }
        for arrival in ran.outcome.arrivals {
            if lives(arrival.record.origin()) && self.origins.branch(arrival.record.origin()) {
                self.origins.charge(arrival.record.origin(), arrival.weight);
                self.arrive(arrival, now);
            }
        }
        for refusal in ran.outcome.refusals {
            if lives(refusal.record.origin()) && self.origins.branch(refusal.record.origin()) {
                self.bury(refusal);
            }
        }
        let mut unique = Vec::new();
        for candidate in ran.candidates {
            if self.origins.branch(candidate.record.origin()) {
                self.deduplicate(candidate, &mut unique);
            }
        }
        self.run(source, unique);
        for (origin, _) in ran.over {
            if lives(origin) {
                self.origins.parsed(origin);
                self.note_unparked(source, origin);
                self.close(origin);
            }
        }
    }

    fn bury(&mut self, refusal: Refusal) {
        let Some(origin) = self.origins.get(refusal.record.origin()) else {
            return;
        };
        let origin = origin.record.clone();
        self.burying += 1;
        self.burials.push(Burial { refusal, origin, at: self.wall });
    }

    /// Dead letters are durable.
    pub(crate) fn buried(&mut self, origins: &[Origin], generation: u64) {
        if generation != self.generation {
            return;
        }
        self.burying -= origins.len();
        for origin in origins {
            if !crate::planted::letter_not_counted() {
                self.origins.end(*origin, End::DeadLettered);
            }
            self.close(*origin);
        }
    }

    /// A delivery came back: an outcome for each of its records.
    pub(crate) fn delivered(
        &mut self,
        sink: usize,
        attempt: u64,
        generation: u64,
        outcomes: Vec<Outcome>,
        now: Instant,
    ) {
        if generation == self.generation {
            self.outcomes(sink, attempt, outcomes, now);
        }
    }

    /// One branch of an origin is over; the last one settles it.
    fn close(&mut self, origin: Origin) {
        if !self.origins.close(origin) {
            return;
        }
        let Some(state) = self.origins.remove(origin) else {
            return;
        };
        // Without any branch there was nothing in it: a delivery that was split into no records.
        let end = state.ends.verdict().unwrap_or(End::Filtered);
        self.counters.end(end);
        let received = state.record.meta().received_at;
        let age = self.wall.0.saturating_sub(received.0);
        self.counters.processing.observe(std::time::Duration::from_millis(age), 1);
        let waiters = self.reservations.decide(&state.dedup);
        let verdict = if end == End::Duplicate { Verdict::Duplicate } else { Verdict::Durable };
        if let Via::Replay { ticket, .. } = state.via {
            self.commands.push(Command::Replayed { ticket, end: Some(end) });
        } else {
            self.settled.entry(state.source).or_default().push(SettledItem {
                via: state.via,
                id: state.record.id().clone(),
                end: Some(end),
                verdict,
                dedup: state.dedup,
                delivered: state.delivered,
            });
        }
        for waiter in waiters {
            self.origins.end(waiter, End::Duplicate);
            self.close(waiter);
        }
    }

    /// These deliveries can no longer come again: the ledger has forgotten them.
    pub(crate) fn forgotten(&mut self, deliveries: &[(u16, u128)]) {
        for (sink, hash) in deliveries {
            if let Some(sink) = self.sinks.get_mut(*sink as usize) {
                sink.forget(*hash);
            }
        }
    }

    /// The keys of settled records are durable: the store knows them now.
    pub(crate) fn remembered(&mut self, keys: &[DedupKey]) {
        self.reservations.forget(keys);
    }

    /// Everything to do after the events of this moment, deliveries that may begin included.
    pub(crate) fn commands(&mut self, now: Instant, wall: Millis) -> Vec<Command> {
        self.wall = wall;
        if !self.paused {
            self.make_room();
            self.dispatch(now);
        }
        for (source, items) in std::mem::take(&mut self.settled) {
            self.commands.push(Command::Settle { source, items });
        }
        if !self.burials.is_empty() {
            self.commands.push(Command::Bury(std::mem::take(&mut self.burials)));
        }
        std::mem::take(&mut self.commands)
    }

    /// Nothing waits for company any more.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    /// Begins nothing new until [`Core::resume`] or [`Core::swap`].
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }
    pub(crate) fn resume(&mut self) {
        self.paused = false;
    }

    /// An operator says that what is blocked, or pauses after a failed log-in, may be tried again.
    pub(crate) fn unblock(&mut self) {
        self.sinks.iter_mut().for_each(SinkState::unblock);
    }
}

impl SourceState {
    fn new(settings: SourceSettings) -> Self {
        Self {
            settings,
            lane_keys: HashMap::new(),
            most_lane_keys: LANE_KEYS,
            next_chunk: 0,
            next_result: 0,
            early: BTreeMap::new(),
            parking: Parking::default(),
        }
    }

    /// Takes over what outlives a reload: parked records, not what was on its way.
    fn inherit(&mut self, old: Self) {
        self.parking = old.parking;
    }

    fn lane_key(&mut self, source: usize, lane: &Lane) -> Option<Arc<OrderKey>> {
        if !self.settings.ordered {
            return None;
        }
        if let Some(key) = self.lane_keys.get(lane) {
            return Some(Arc::clone(key));
        }
        if self.lane_keys.len() >= self.most_lane_keys {
            // Lanes come and go, like files in a folder: only those with records on their way matter.
            self.lane_keys.retain(|_, key| Arc::strong_count(key) > 1);
            self.most_lane_keys = LANE_KEYS.max(2 * self.lane_keys.len());
        }
        let key = Arc::new(OrderKey { source: source as u16, lane: true, key: lane.0.as_bytes().into() });
        self.lane_keys.insert(lane.clone(), Arc::clone(&key));
        Some(key)
    }

    fn next_in_order(&mut self) -> Option<Ran> {
        let ran = self.early.remove(&self.next_result)?;
        self.next_result += 1;
        Some(ran)
    }
}

/// The wait before a source that failed is opened again. Its `retry` is for a far end that fails; one that asks for
/// patience is given it, as by a sink.
pub(crate) fn source_wait(policy: &karez_api::Retry, fault: &Fault, failures: u32) -> std::time::Duration {
    let patient = OnError::default().rate_limit;
    let policy = if fault.class() == Class::RateLimit { &patient } else { policy };
    retry::wait(policy, fault, failures, rand::random())
}

/// A set of origins; mostly empty.
pub(crate) type OriginSet = HashSet<Origin>;
/// Positions to be saved, by lane.
pub(crate) type Saves = BTreeMap<Lane, Position>;
