//! What the core knows of each sink: its queue, its circuit, its deliveries in progress, and
//! what a failed delivery means.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use karez_api::{Class, Fault, OnError, OnFailure, Outcome, RateLimit, Record};
use tokio::time::Instant;

use super::circuit::{Circuit, State};
use super::queue::{Limits, OrderKey, Queue, Waiting};
use super::retry::{self, History};
use super::{Command, Core, Gate};
use crate::counters::{End, Hold, NodeCounters};
use crate::graph::{Arrival, Refusal, Target, explain};
use crate::worker::{Entry, Work};

/// What a file says of a sink.
#[derive(Clone)]
pub(crate) struct SinkSettings {
    pub(crate) name: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) linger: Duration,
    pub(crate) concurrency: usize,
    pub(crate) on_error: OnError,
    pub(crate) on_failure: OnFailure,
    pub(crate) counters: Arc<NodeCounters>,
    /// The step that goes on with what is answered here.
    pub(crate) asks: Option<usize>,
    pub(crate) rate_limit: Option<RateLimit>,
}

pub(crate) struct SinkState {
    pub(crate) settings: SinkSettings,
    queue: Queue,
    gate: Option<Gate>,
    circuit: Circuit,
    attempts: HashMap<u64, Vec<Waiting>>,
    next_attempt: u64,
    successes: u64,
    /// Deliveries that were confirmed before and may come again.
    ledger: HashSet<u128>,
    last_fault: Option<Fault>,
    /// What was shown of it last.
    shown: (&'static str, bool),
}

impl SinkState {
    pub(crate) fn new(settings: SinkSettings, ledger: HashSet<u128>, now: Instant) -> Self {
        Self {
            gate: settings.rate_limit.as_ref().map(Gate::new),
            settings,
            queue: Queue::default(),
            circuit: Circuit::new(now),
            attempts: HashMap::new(),
            next_attempt: 0,
            successes: 0,
            ledger,
            last_fault: None,
            shown: ("", false),
        }
    }

    pub(super) fn in_progress(&self) -> usize {
        self.attempts.len()
    }
    /// Shows what holds it back, for people.
    fn publish(&mut self, now: Instant) {
        let counters = &self.settings.counters;
        counters.waiting.store(self.queue.len() as u64, Relaxed);
        counters.opened.store(self.circuit.opened(), Relaxed);
        let circuit = match self.circuit.state() {
            _ if self.circuit.paused(now) => "paused",
            State::Closed => "closed",
            State::Open => "open",
            State::Probing => "probing",
        };
        if self.shown != (circuit, self.last_fault.is_some()) {
            self.shown = (circuit, self.last_fault.is_some());
            let fault = self.last_fault.as_ref().map(ToString::to_string);
            counters.set_hold(Hold { circuit, fault });
        }
    }
    pub(super) fn forget(&mut self, hash: u128) {
        self.ledger.remove(&hash);
    }
    pub(super) fn unblock(&mut self) {
        self.circuit.resume();
        self.queue.unblock();
    }
    pub(super) fn only_waits(&self, now: Instant) -> bool {
        self.queue.sendable() == 0 || self.circuit.admits(now).is_none()
    }
    pub(super) fn take_followers(&mut self, may_go: impl FnMut(&Waiting) -> bool) -> Vec<Waiting> {
        self.queue.take_followers(may_go)
    }
    pub(super) fn holds(&self, key: &Arc<OrderKey>) -> bool {
        self.queue.is_held(key)
    }

    /// The next moment at which time alone changes something here.
    fn next_change(&self, now: Instant, draining: bool) -> Option<Instant> {
        let wake = self.queue.next_wake();
        if self.queue.sendable() == 0 {
            return wake;
        }
        let circuit = self.circuit.next_change(now);
        let linger = self
            .queue
            .oldest()
            .filter(|_| !draining && self.attempts.len() < self.settings.concurrency)
            .map(|oldest| oldest + self.settings.linger)
            .filter(|due| *due > now);
        let gate = self.shared_gate().map(|gate| gate.opens(now)).filter(|opens| *opens > now);
        [wake, circuit, linger, gate].into_iter().flatten().min()
    }

    /// The gate that all records pass alike.
    fn shared_gate(&self) -> Option<&Gate> {
        self.gate.as_ref().filter(|gate| !gate.is_keyed())
    }

    /// Whether what waits may go without more company.
    fn is_due(&self, now: Instant, draining: bool) -> bool {
        self.queue.sendable() > 0
            && (draining
                || self.settings.linger.is_zero()
                || self.queue.sendable() >= self.settings.limits.records
                || self.queue.oldest().is_some_and(|oldest| oldest + self.settings.linger <= now))
    }
}

impl SinkState {
    /// Answers whose records would overtake one of their key that failed before them and is tried again.
    fn overtaken(&self, waiting: &[Waiting], outcomes: &[Outcome]) -> HashSet<usize> {
        let mut overtaken = HashSet::new();
        if self.settings.asks.is_none() {
            return overtaken;
        }
        let mut held: HashSet<&Arc<OrderKey>> = HashSet::new();
        for (at, (waiting, outcome)) in waiting.iter().zip(outcomes).enumerate() {
            let Some(key) = &waiting.key else { continue };
            match outcome {
                Outcome::NotSent(_) | Outcome::Unknown(_) => {
                    held.insert(key);
                }
                _ if held.contains(key) => {
                    overtaken.insert(at);
                }
                _ => {}
            }
        }
        overtaken
    }
}

impl Core {
    pub(super) fn arrive(&mut self, arrival: Arrival, now: Instant) {
        let origin = arrival.record.origin();
        let sink = &mut self.sinks[arrival.sink];
        sink.settings.counters.entered.fetch_add(1, Relaxed);
        self.graph.taps.show(&sink.settings.name, &arrival.record);
        if let Some(hash) = arrival.ledger.filter(|_| sink.settings.asks.is_none())
            && sink.ledger.contains(&hash)
        {
            // Confirmed before a restart or a reload: done, and still to be forgotten with its origin.
            self.note_delivered(arrival.sink, origin, Some(hash));
            self.origins.end(origin, if arrival.diverted { End::Diverted } else { End::Delivered });
            return self.close(origin);
        }
        sink.queue.push(Waiting {
            record: arrival.record,
            key: arrival.key,
            diverted: arrival.diverted,
            ledger: arrival.ledger,
            history: History::default(),
            since: now,
            limit: arrival.limit,
            turn: None,
        });
    }

    /// Begins every delivery that may begin now.
    pub(super) fn dispatch(&mut self, now: Instant) {
        for (n, sink) in self.sinks.iter_mut().enumerate() {
            sink.queue.wake(now);
            while sink.attempts.len() < sink.settings.concurrency && sink.is_due(now, self.draining) {
                let free = sink.shared_gate().map_or(usize::MAX, |gate| gate.free(now));
                if free == 0 {
                    break;
                }
                let Some(probe) = sink.circuit.admits(now) else {
                    break;
                };
                let mut limits = sink.settings.limits;
                limits.records = limits.records.min(free);
                if probe {
                    // Only one delivery at a time tells an outage from its end.
                    sink.circuit.begin_probe();
                    limits.records = if limits.atomic { limits.records } else { 1 };
                }
                let taken = sink.queue.take(limits, now, sink.gate.as_mut());
                if taken.is_empty() {
                    sink.circuit.probe_inconclusive(now);
                    break;
                }
                let attempt = sink.next_attempt;
                sink.next_attempt += 1;
                let written = sink.settings.asks.is_none();
                let ledger = taken.iter().map(|waiting| waiting.ledger.filter(|_| written)).collect();
                let records = taken.iter().map(|waiting| waiting.record.clone()).collect();
                sink.settings.counters.attempts.fetch_add(1, Relaxed);
                sink.attempts.insert(attempt, taken);
                self.commands.push(Command::Attempt { sink: n, attempt, records, ledger });
            }
            sink.publish(now);
        }
    }

    /// When to look again, if no event comes before.
    pub(crate) fn next_change(&self, now: Instant) -> Option<Instant> {
        if self.paused {
            return None;
        }
        self.sinks.iter().filter_map(|sink| sink.next_change(now, self.draining)).min()
    }

    pub(super) fn outcomes(&mut self, n: usize, attempt: u64, outcomes: Vec<Outcome>, now: Instant) {
        let Some(waiting) = self.sinks[n].attempts.remove(&attempt) else {
            return;
        };
        let keys: Vec<Arc<OrderKey>> = waiting.iter().filter_map(|w| w.key.clone()).collect();
        let mut verdict = AttemptVerdict::default();
        let overtaken = self.sinks[n].overtaken(&waiting, &outcomes);
        // Last first: what is put back to the head of a key ends up in its old order.
        for (at, (waiting, outcome)) in waiting.into_iter().zip(outcomes).enumerate().rev() {
            match outcome {
                Outcome::Done => {
                    verdict.delivered = true;
                    self.done(n, waiting);
                }
                Outcome::Became(_) if overtaken.contains(&at) => self.sinks[n].queue.put_back(waiting),
                Outcome::Became(record) => {
                    verdict.delivered = true;
                    self.became(n, waiting, record);
                }
                Outcome::Refused(fault) => self.failed_for_good(n, waiting, fault, now),
                Outcome::NotSent(fault) | Outcome::Unknown(fault) => {
                    self.failed(n, waiting, fault, now, &mut verdict);
                }
            }
        }
        self.judge_circuit(n, &verdict, now);
        keys.iter().for_each(|key| self.sinks[n].queue.release(key));
        self.go_on_together();
    }

    /// What goes on from one delivery, in its order; neighbours of one source share a run.
    fn go_on_together(&mut self) {
        let mut together: Vec<Work> = Vec::new();
        let mut of = None;
        for (source, work) in std::mem::take(&mut self.onward).into_iter().rev() {
            if let Some(of) = of.replace(source).filter(|of| *of != source) {
                self.run(of, std::mem::take(&mut together));
            }
            together.push(work);
        }
        if let Some(of) = of {
            self.run(of, together);
        }
    }

    /// An answer: its record goes on.
    fn became(&mut self, n: usize, waiting: Waiting, record: Record) {
        let sink = &mut self.sinks[n];
        sink.successes += 1;
        sink.last_fault = None;
        sink.settings.counters.left.fetch_add(1, Relaxed);
        self.go_on(n, waiting, record);
    }

    /// A record goes on behind the step that asked: its branch is the run that is open now.
    fn go_on(&mut self, n: usize, waiting: Waiting, record: Record) {
        let origin = waiting.record.origin();
        let (Some(step), Some(state)) = (self.sinks[n].settings.asks, self.origins.get(origin)) else {
            return;
        };
        let Waiting { key, diverted, ledger: way, .. } = waiting;
        self.onward.push((state.source, Work { record, entry: Entry::After { step, key, diverted, way } }));
    }

    fn judge_circuit(&mut self, n: usize, verdict: &AttemptVerdict, now: Instant) {
        let circuit = &mut self.sinks[n].circuit;
        match (verdict.delivered, verdict.broken) {
            (true, _) => circuit.succeeded(),
            (false, true) => circuit.failed(now, rand::random()),
            (false, false) => circuit.probe_inconclusive(now),
        }
        if let Some(until) = verdict.pause {
            circuit.pause(until);
        }
    }

    fn done(&mut self, n: usize, waiting: Waiting) {
        let sink = &mut self.sinks[n];
        sink.successes += 1;
        sink.last_fault = None;
        sink.settings.counters.left.fetch_add(1, Relaxed);
        let origin = waiting.record.origin();
        self.note_delivered(n, origin, waiting.ledger);
        self.origins.end(origin, if waiting.diverted { End::Diverted } else { End::Delivered });
        self.close(origin);
    }

    /// The ledger holds a delivery until its origin cannot come again.
    fn note_delivered(&mut self, n: usize, origin: karez_api::Origin, hash: Option<u128>) {
        let Some(hash) = hash else { return };
        self.sinks[n].ledger.insert(hash);
        if let Some(state) = self.origins.get_mut(origin) {
            state.delivered.push((n as u16, hash));
        }
    }

    fn failed(
        &mut self,
        n: usize,
        mut waiting: Waiting,
        fault: Fault,
        now: Instant,
        verdict: &mut AttemptVerdict,
    ) {
        let sink = &mut self.sinks[n];
        let class = fault.class();
        if class == Class::Fatal {
            self.commands.push(Command::Fail(fault.clone()));
        }
        let Some(policy) = sink.settings.on_error.of(class).copied() else {
            if class == Class::Fatal {
                // The pipeline stops; nothing about the record is decided.
                return sink.queue.retry(waiting, now + Duration::from_secs(60));
            }
            return self.failed_for_good(n, waiting, fault, now);
        };
        sink.settings.counters.retries.fetch_add(1, Relaxed);
        let history = &mut waiting.history;
        history.tries += 1;
        history.first_failure.get_or_insert(now);
        let counts = matches!(class, Class::Connection | Class::Service);
        if counts {
            history.count(sink.successes);
        }
        let alone = sink.queue.len() == 0 && sink.attempts.is_empty();
        let age_counts = alone || sink.circuit.state() == State::Closed;
        if counts && retry::is_exhausted(&policy, history, now, age_counts) {
            sink.last_fault = Some(fault.clone());
            let message = format!("gave up after {} attempts: {fault}", history.tries);
            let fault = Fault::new(class, "exhausted", message);
            return self.failed_for_good(n, waiting, fault, now);
        }
        let at = now + retry::wait(&policy, &fault, history.tries, rand::random());
        match class {
            Class::RateLimit | Class::Auth => verdict.pause = verdict.pause.max(Some(at)),
            _ => {
                verdict.broken = true;
                if fault.retry_after().is_some() {
                    verdict.pause = verdict.pause.max(Some(at));
                }
            }
        }
        if sink.last_fault.is_none() {
            tracing::warn!(sink = %sink.settings.name, error = %fault, class = class.name(), "delivery failed, will retry");
        }
        sink.last_fault = Some(fault);
        sink.queue.retry(waiting, at);
    }

    fn failed_for_good(&mut self, n: usize, waiting: Waiting, fault: Fault, _now: Instant) {
        let sink = &mut self.sinks[n];
        sink.settings.counters.failed.fetch_add(1, Relaxed);
        let node = Arc::clone(&sink.settings.name);
        let attempts = waiting.history.tries + 1;
        let policy = match sink.settings.on_failure {
            OnFailure::Continue => OnFailure::Continue,
            _ if waiting.diverted => OnFailure::DeadLetter,
            policy => policy,
        };
        let to = match policy {
            OnFailure::Block => return sink.queue.block(waiting),
            OnFailure::Drop => {
                let origin = waiting.record.origin();
                self.origins.end(origin, End::Dropped);
                return self.close(origin);
            }
            OnFailure::ToSink(sink) => Target::Sink(sink),
            OnFailure::ToStep(step) => Target::Step(step),
            OnFailure::Continue if self.sinks[n].settings.asks.is_some() => {
                let record = explain(waiting.record.clone(), &node, &fault, attempts, self.wall);
                return self.go_on(n, waiting, record);
            }
            OnFailure::DeadLetter | OnFailure::Continue => {
                return self.bury(Refusal { node, record: waiting.record, fault, attempts });
            }
        };
        // The branch goes on there: it is the run that is open now.
        let Some(source) = self.origins.get(waiting.record.origin()).map(|state| state.source) else {
            return;
        };
        let record = explain(waiting.record, &node, &fault, attempts, self.wall);
        let entry = Entry::Node { target: to, key: waiting.key, diverted: true };
        self.onward.push((source, Work { record, entry }));
    }
}

/// What one delivery says of the sink as a whole.
#[derive(Default)]
struct AttemptVerdict {
    delivered: bool,
    broken: bool,
    pause: Option<Instant>,
}
