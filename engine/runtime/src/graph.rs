//! The steps of a pipeline as one walk: a record goes through all of them in one go, on one
//! core, without queues between. Pure: no time, no I/O, nothing kept.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use karez_api::{
    Asking, Class, Condition, Emit, Encode, Fault, Meta, MetaFault, Millis, OnFailure, Origin, PipelinePlan,
    Port, Record, SinkNode, Step, Unrouted, Upstream, Value,
};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::core::OrderKey;
use crate::counters::{End, NodeCounters};
use crate::tap::Taps;

/// Most records that one source record may become, and their bytes.
const MOST_DERIVED: usize = 10_000;
const MOST_DERIVED_BYTES: usize = 64 << 20;

/// A node that takes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Step(usize),
    Sink(usize),
}

/// The compiled graph of one plan.
pub(crate) struct Graph {
    sources: Vec<SourceEdges>,
    steps: Vec<StepNode>,
    pub(crate) sinks: Vec<SinkEdges>,
    unrouted: Unrouted,
    pub(crate) taps: Arc<Taps>,
}

struct SourceEdges {
    name: Arc<str>,
    to: Vec<Target>,
}

enum Act {
    Apply(Box<dyn Step>),
    /// Records wait at this sink for an answer, and go on from here with it.
    Ask(usize),
}

struct StepNode {
    id: Arc<str>,
    act: Act,
    when: Option<Condition>,
    on_failure: OnFailure,
    timeout: Option<Duration>,
    /// By port.
    to: Vec<Vec<Target>>,
    counters: Arc<NodeCounters>,
}

pub(crate) struct SinkEdges {
    pub(crate) name: Arc<str>,
    when: Option<Condition>,
    keeps_ledger: bool,
    /// The step that goes on with what is answered there.
    pub(crate) asks: Option<usize>,
    /// What its rate limit is counted for.
    rate_key: Option<Value>,
    pub(crate) on_failure: OnFailure,
    pub(crate) counters: Arc<NodeCounters>,
}

/// A record that arrived at a sink.
pub(crate) struct Arrival {
    pub(crate) sink: usize,
    pub(crate) record: Record,
    pub(crate) key: Option<Arc<OrderKey>>,
    pub(crate) diverted: bool,
    /// What its body is charged to its origin.
    pub(crate) weight: usize,
    /// The hash of its id, where its delivery is to be written down. At a step that asks nothing is written down:
    /// there it tells this way through the graph from others.
    pub(crate) ledger: Option<u128>,
    /// The hash of what the rate limit is counted for.
    pub(crate) limit: u128,
}

impl Arrival {
    fn hash(&mut self, way: u128) {
        // A record on a failure path is another delivery than the same record on its way.
        let failure = u128::from(self.diverted) << 127;
        self.ledger = Some(hash_of(self.record.id()) ^ failure ^ way);
    }
}

/// What the ledger knows a record by. The key is fixed: ledgers outlive processes.
pub(crate) fn hash_of(id: &impl std::fmt::Display) -> u128 {
    use std::fmt::Write as _;
    struct Feed(SipHasher13);
    impl std::fmt::Write for Feed {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            std::hash::Hasher::write(&mut self.0, text.as_bytes());
            Ok(())
        }
    }
    let mut feed = Feed(SipHasher13::new_with_keys(0x6b61_7265_7a00, 1));
    let written = write!(feed, "{id}");
    debug_assert!(written.is_ok(), "hashing does not fail");
    feed.0.finish128().as_u128()
}

/// A record that will not go on by itself, on its way to the dead letters.
pub(crate) struct Refusal {
    pub(crate) node: Arc<str>,
    /// As it entered the node.
    pub(crate) record: Record,
    pub(crate) fault: Fault,
    pub(crate) attempts: u32,
}

/// What became of the records of a chunk.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) refusals: Vec<Refusal>,
    /// Branches that ended in the graph.
    pub(crate) ends: Vec<(Origin, End)>,
}

struct Hop {
    target: Target,
    record: Record,
    diverted: bool,
}

impl Graph {
    pub(crate) fn new(plan: &mut PipelinePlan, taps: Arc<Taps>) -> Self {
        let mut sources: Vec<SourceEdges> = plan
            .sources
            .iter()
            .map(|source| SourceEdges { name: Arc::clone(&source.name), to: Vec::new() })
            .collect();
        let mut steps: Vec<StepNode> = Vec::with_capacity(plan.steps.len());
        let mut edges = Vec::new();
        let mut asks = vec![None; plan.sinks.len()];
        for (n, node) in plan.steps.drain(..).enumerate() {
            edges.extend(node.from.iter().map(|input| (input.0, Target::Step(n))));
            let ports = node.outputs().len() + 1;
            let act = match node.act {
                karez_api::Act::Apply(step) => Act::Apply(step),
                karez_api::Act::Ask(asking) => {
                    plan.sinks.push(as_sink(&node.id, node.kind, node.on_failure, *asking));
                    asks.push(Some(n));
                    Act::Ask(plan.sinks.len() - 1)
                }
            };
            steps.push(StepNode {
                id: node.id,
                act,
                when: node.when,
                on_failure: node.on_failure,
                timeout: node.timeout,
                to: vec![Vec::new(); ports],
                counters: Arc::default(),
            });
        }
        for (n, node) in plan.sinks.iter().enumerate() {
            edges.extend(node.from.iter().map(|input| (input.0, Target::Sink(n))));
        }
        for (from, to) in edges {
            match from {
                Upstream::Source(n) => sources[n].to.push(to),
                Upstream::Step(n, port) => steps[n].to[port as usize].push(to),
            }
        }
        let sinks = plan
            .sinks
            .iter()
            .zip(asks)
            .map(|(node, asks)| SinkEdges {
                name: Arc::clone(&node.name),
                when: node.when.clone(),
                keeps_ledger: asks.is_none() && node.plan.keeps_ledger(),
                asks,
                rate_key: node.rate_limit.as_ref().and_then(|limit| limit.key.clone()),
                on_failure: node.on_failure,
                counters: asks.map_or_else(Arc::default, |step| Arc::clone(&steps[step].counters)),
            })
            .collect();
        Self { sources, steps, sinks, unrouted: plan.unrouted, taps }
    }

    /// The node of that name, where a record can enter.
    pub(crate) fn target(&self, name: &str) -> Option<Target> {
        let step = self.steps.iter().position(|step| &*step.id == name).map(Target::Step);
        step.or_else(|| self.sinks.iter().position(|sink| &*sink.name == name).map(Target::Sink))
    }

    pub(crate) fn step_counters(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<NodeCounters>)> {
        self.steps.iter().map(|step| (&step.id, &step.counters))
    }

    /// Begins a walk; its buffers serve all records of a chunk.
    pub(crate) fn walk(&self, now: Millis) -> Walk<'_> {
        Walk {
            graph: self,
            now,
            hops: Vec::new(),
            emit: Emit::default(),
            outcome: Outcome::default(),
            derived: 0,
            derived_bytes: 0,
            origin: Origin::default(),
        }
    }
}

/// One walk through the graph, record after record.
pub(crate) struct Walk<'g> {
    graph: &'g Graph,
    now: Millis,
    /// What is still to do, last first.
    hops: Vec<Hop>,
    emit: Emit,
    outcome: Outcome,
    derived: usize,
    derived_bytes: usize,
    /// Whose records are on the way.
    origin: Origin,
}

impl<'g> Walk<'g> {
    /// The records that one source record was split into (mostly one), through everything before the sinks.
    pub(crate) fn at_source(
        &mut self,
        source: usize,
        records: impl IntoIterator<Item = (Record, Option<Arc<OrderKey>>)>,
    ) {
        let edges = &self.graph.sources[source];
        let first = self.begin();
        for (record, key) in records {
            let arrived = self.outcome.arrivals.len();
            self.origin = record.origin();
            self.graph.taps.show(&edges.name, &record);
            self.pass_on(&edges.name, &edges.to, record, false);
            self.run();
            self.key(arrived, key.as_ref());
        }
        self.write_down(first, None);
    }

    /// A record that enters at a node: a replay, or one that failed for good at a sink.
    pub(crate) fn at_node(
        &mut self,
        target: Target,
        record: Record,
        key: Option<&Arc<OrderKey>>,
        diverted: bool,
    ) {
        let first = self.begin();
        self.origin = record.origin();
        self.hops.push(Hop { target, record, diverted });
        self.run();
        self.key(first, key);
        // Another branch of its origin may have been delivered already.
        self.outcome.arrivals[first..].iter_mut().for_each(|arrival| arrival.hash(0));
    }

    /// A record that goes on from a step that asked. `way` tells how it came there, where other branches of its origin
    /// may have come elsewhere.
    pub(crate) fn after(
        &mut self,
        step: usize,
        record: Record,
        key: Option<&Arc<OrderKey>>,
        diverted: bool,
        way: Option<u128>,
    ) {
        let first = self.begin();
        self.origin = record.origin();
        let node = &self.graph.steps[step];
        self.graph.taps.show(&node.id, &record);
        self.pass_on(&node.id, &node.to[0], record, diverted);
        self.run();
        self.key(first, key);
        // The same record may come to the same sink without having been here.
        let way = way.map(|way| way.rotate_left(1) ^ hash_of(&node.id).rotate_left(2));
        self.write_down(first, way);
    }

    /// A record that cannot enter the graph.
    pub(crate) fn refuse(&mut self, node: &Arc<str>, record: Record, fault: Fault) {
        let node = Arc::clone(node);
        self.outcome.refusals.push(Refusal { node, record, fault, attempts: 0 });
    }

    pub(crate) fn finish(self) -> Outcome {
        self.outcome
    }

    fn begin(&mut self) -> usize {
        self.derived = 0;
        self.derived_bytes = 0;
        self.outcome.arrivals.len()
    }

    fn key(&mut self, first: usize, key: Option<&Arc<OrderKey>>) {
        for arrival in &mut self.outcome.arrivals[first..] {
            arrival.key = key.cloned();
        }
    }

    /// Deliveries are written down where the sink keeps a ledger, and where an origin has several:
    /// a restart then repeats only those that were not confirmed.
    fn write_down(&mut self, first: usize, way: Option<u128>) {
        let arrivals = &mut self.outcome.arrivals[first..];
        let several = arrivals.len() > 1 || way.is_some();
        // Two ways to one sink are two deliveries, and stay the same two after a restart.
        let mut seen = HashSet::new();
        for arrival in arrivals {
            if several || self.graph.sinks[arrival.sink].keeps_ledger {
                arrival.hash(way.unwrap_or_default());
                while several && !seen.insert((arrival.sink, arrival.ledger)) {
                    arrival.ledger = arrival.ledger.map(|hash| hash.wrapping_add(1));
                }
            }
        }
    }

    fn run(&mut self) {
        while let Some(hop) = self.hops.pop() {
            match hop.target {
                Target::Sink(sink) => self.arrive(sink, hop.record, hop.diverted),
                Target::Step(n) => self.step(&self.graph.steps[n], hop.record, hop.diverted),
            }
        }
    }

    fn arrive(&mut self, sink: usize, record: Record, diverted: bool) {
        let limit = self.graph.sinks[sink].rate_key.as_ref().map_or(0, |key| match key.eval(&record) {
            Ok(Some(value)) => hash_of(&value),
            // Records without the key have one limit together.
            Ok(None) | Err(_) => 0,
        });
        let weight = record.body().weight();
        self.outcome.arrivals.push(Arrival {
            sink,
            weight,
            record,
            key: None,
            diverted,
            ledger: None,
            limit,
        });
    }

    fn step(&mut self, node: &'g StepNode, record: Record, diverted: bool) {
        let entered = record.clone();
        match node.when.as_ref().map_or(Ok(true), |when| when.eval(&record)) {
            Ok(true) => {}
            Ok(false) => return self.leave(node, 0, record, diverted),
            Err(fault) => return self.fail(node, entered, fault, diverted),
        }
        let step = match &node.act {
            Act::Apply(step) => step,
            Act::Ask(sink) => return self.arrive(*sink, record, diverted),
        };
        let mut emit = std::mem::take(&mut self.emit);
        match in_time(&**step, node.timeout, record, &mut emit) {
            Ok(()) if emit.is_empty() => {
                node.counters.add(1, 0, 0);
                self.outcome.ends.push((self.origin, End::Filtered));
            }
            Ok(()) => match self.charge(&mut emit) {
                Ok(()) => self.emitted(node, &mut emit, diverted),
                Err(fault) => self.fail(node, entered, fault, diverted),
            },
            Err(fault) => {
                emit.drain().for_each(drop);
                self.fail(node, entered, fault, diverted);
            }
        }
        self.emit = emit;
    }

    /// Bounds what one source record may become.
    fn charge(&mut self, emit: &mut Emit) -> Result<(), Fault> {
        let (count, bytes) = emit.weigh();
        if count > 1 {
            self.derived += count;
            self.derived_bytes += bytes;
        }
        if self.derived <= MOST_DERIVED && self.derived_bytes <= MOST_DERIVED_BYTES {
            return Ok(());
        }
        emit.drain().for_each(drop);
        Err(Fault::validation("too_many", "one record became more than 10,000 records or 64 MiB"))
    }

    fn emitted(&mut self, node: &'g StepNode, emit: &mut Emit, diverted: bool) {
        node.counters.entered.fetch_add(1, Relaxed);
        // What is pushed first is done last.
        let first = self.hops.len();
        for (port, record) in emit.drain() {
            node.counters.left.fetch_add(1, Relaxed);
            self.graph.taps.show(&node.id, &record);
            self.pass_on(&node.id, &node.to[port as usize], record, diverted);
        }
        self.hops[first..].reverse();
    }

    fn leave(&mut self, node: &'g StepNode, port: Port, record: Record, diverted: bool) {
        node.counters.add(1, 1, 0);
        self.graph.taps.show(&node.id, &record);
        let first = self.hops.len();
        self.pass_on(&node.id, &node.to[port as usize], record, diverted);
        self.hops[first..].reverse();
    }

    /// Gives a record to every node that takes it; one that nobody takes is unrouted.
    fn pass_on(&mut self, from: &Arc<str>, to: &[Target], record: Record, diverted: bool) {
        let mut taken = false;
        for target in to {
            if let Target::Sink(n) = target {
                match self.wanted(&self.graph.sinks[*n], &record, diverted) {
                    Wanted::Yes => {}
                    Wanted::No => continue,
                    Wanted::Failed => {
                        taken = true;
                        continue;
                    }
                }
            }
            taken = true;
            self.hops.push(Hop { target: *target, record: record.clone(), diverted });
        }
        if taken {
            return;
        }
        match self.graph.unrouted {
            Unrouted::Drop => self.outcome.ends.push((self.origin, End::Dropped)),
            Unrouted::DeadLetter => {
                let fault = Fault::validation("unrouted", "no sink wants this record");
                self.refuse(from, record, fault);
            }
        }
    }

    fn wanted(&mut self, sink: &'g SinkEdges, record: &Record, diverted: bool) -> Wanted {
        let Some(when) = &sink.when else {
            return Wanted::Yes;
        };
        match when.eval(record) {
            Ok(true) => Wanted::Yes,
            Ok(false) => Wanted::No,
            Err(fault) => {
                sink.counters.add(1, 0, 1);
                let policy = if diverted { OnFailure::DeadLetter } else { sink.on_failure };
                self.apply(policy, &sink.name, record.clone(), fault, None);
                Wanted::Failed
            }
        }
    }

    fn fail(&mut self, node: &'g StepNode, record: Record, fault: Fault, diverted: bool) {
        node.counters.add(1, 0, 1);
        let policy = match node.on_failure {
            OnFailure::Continue => OnFailure::Continue,
            // A failure on a failure path goes to the dead letters, never round again.
            _ if diverted => OnFailure::DeadLetter,
            policy => policy,
        };
        self.apply(policy, &node.id, record, fault, Some(node));
    }

    fn apply(
        &mut self,
        policy: OnFailure,
        name: &Arc<str>,
        record: Record,
        fault: Fault,
        node: Option<&'g StepNode>,
    ) {
        let explained = |record: Record| explain(record, name, &fault, 0, self.now);
        match (policy, node) {
            (OnFailure::Drop, _) => self.outcome.ends.push((self.origin, End::Dropped)),
            (OnFailure::Continue, Some(node)) => {
                let record = explained(record);
                let first = self.hops.len();
                self.pass_on(name, &node.to[0], record, false);
                self.hops[first..].reverse();
            }
            (OnFailure::ToSink(n), _) => {
                let record = explained(record);
                self.hops.push(Hop { target: Target::Sink(n), record, diverted: true });
            }
            (OnFailure::ToStep(n), _) => {
                let record = explained(record);
                self.hops.push(Hop { target: Target::Step(n), record, diverted: true });
            }
            (OnFailure::DeadLetter | OnFailure::Block | OnFailure::Continue, _) => {
                self.refuse(name, record, fault);
            }
        }
    }
}

/// A step that asks as the sink that its records wait at.
fn as_sink(id: &Arc<str>, kind: &'static str, on_failure: OnFailure, asking: Asking) -> SinkNode {
    let Asking { fingerprint, plan, concurrency, timeout, on_error, rate_limit } = asking;
    SinkNode {
        name: Arc::clone(id),
        kind,
        fingerprint,
        plan,
        from: Vec::new(),
        when: None,
        on_failure,
        encode: Encode::default(),
        batch: None,
        concurrency,
        timeout,
        on_error,
        rate_limit,
    }
}

/// A step cannot be interrupted; what took it longer than it may is refused afterwards.
fn in_time(step: &dyn Step, timeout: Option<Duration>, record: Record, emit: &mut Emit) -> Result<(), Fault> {
    let Some(timeout) = timeout else {
        return step.apply(record, emit);
    };
    let begun = Instant::now();
    step.apply(record, emit)?;
    match begun.elapsed() {
        took if took > timeout => {
            Err(Fault::validation("timeout", format_args!("took {took:.1?}, may take {timeout:?}")))
        }
        _ => Ok(()),
    }
}

enum Wanted {
    Yes,
    No,
    Failed,
}

/// A record with the reason why it is on a failure path.
pub(crate) fn explain(record: Record, node: &Arc<str>, fault: &Fault, attempts: u32, now: Millis) -> Record {
    let error = Arc::new(MetaFault {
        class: fault.class(),
        code: fault.code().into(),
        node: Arc::clone(node),
        message: fault.message().into(),
        attempts,
        at: now,
    });
    record.with_meta(|meta: &mut Meta| meta.error = Some(error))
}

/// The fault of input that is not what its source says.
pub(crate) fn undecodable(error: &karez_api::JsonError) -> Fault {
    Fault::new(Class::Validation, "decode", error)
}
