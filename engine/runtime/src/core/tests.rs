//! The core against a world that fails at random: whatever happens, every record comes to one
//! end, the conservation law holds at every moment, and keys keep their order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use karez_api::{
    Appended, DedupKey, Evaluate, Millis, Opened, Replay, Retry, SourceContext, SourceNode, SourcePlan,
};
use karez_api::{
    Body, Emit, Encode, Entry as JournalEntry, Events, Fault, Form, Input, Json, Lane, Mark, Meta, NewEntry,
    OnError, OnFailure, Outcome, PipelinePlan, Record, RecordId, Shape, Sink, SinkContext, SinkName,
    SinkNode, SinkPlan, Step, StepNode, StoreError, StreamName, StreamStats, Unrouted, Upstream,
};
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::counters::Counters;
use crate::prepare::Prepare;
use crate::tap::Taps;
use crate::worker;

/// A store that only knows which dedup keys were remembered.
#[derive(Default)]
struct Known(std::sync::Mutex<HashSet<Arc<str>>>);

#[async_trait]
impl Events for Known {
    async fn append(&self, _: &StreamName, _: Vec<NewEntry>) -> Result<Vec<Appended>, StoreError> {
        Ok(Vec::new())
    }
    async fn read(
        &self,
        _: &StreamName,
        _: u64,
        _: usize,
        _: usize,
    ) -> Result<Vec<JournalEntry>, StoreError> {
        Ok(Vec::new())
    }
    async fn fetch(&self, _: &StreamName, _: &[u64]) -> Result<Vec<JournalEntry>, StoreError> {
        Ok(Vec::new())
    }
    fn settle(&self, _: &StreamName, _: Vec<u64>) {}
    fn knows(&self, key: &DedupKey) -> bool {
        self.0.lock().unwrap().contains(&key.key)
    }
    async fn remember(&self, _: Vec<DedupKey>) -> Result<(), StoreError> {
        Ok(())
    }
    async fn delivered(&self, _: &SinkName, _: Vec<u128>, _: Option<Mark>) -> Result<(), StoreError> {
        Ok(())
    }
    fn ledger(&self, _: &SinkName) -> (HashSet<u128>, Option<Mark>) {
        (HashSet::new(), None)
    }
    fn forget(&self, _: &SinkName, _: Vec<u128>) {}
    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
    fn stats(&self, _: &StreamName) -> StreamStats {
        StreamStats::default()
    }
    fn streams(&self) -> Vec<StreamName> {
        Vec::new()
    }
    async fn remove(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
    async fn adopt(&self, _: &str, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
    fn unavailable(&self) -> Option<StoreError> {
        None
    }
}

struct Idle;

#[async_trait]
impl SourcePlan for Idle {
    fn replay(&self) -> Replay {
        Replay::Yes
    }
    async fn open(&self, _: SourceContext) -> Result<Opened, Fault> {
        Err(Fault::connection("not opened in this test"))
    }
}

#[async_trait]
impl SinkPlan for Idle {
    fn shape(&self, _: bool) -> Shape {
        Shape::Single
    }
    async fn open(&self, _: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        Err(Fault::connection("not opened in this test"))
    }
}

/// Reads the field that a record is kept in order, or deduplicated, by.
struct Field(&'static str);

impl Evaluate<Option<Json>> for Field {
    fn eval(&self, record: &Record) -> Result<Option<Json>, Fault> {
        Ok(record.body().tree().ok().and_then(|tree| tree.get(self.0)).cloned())
    }
}

/// Filters every fifth number, refuses every seventh, and makes three of every eleventh.
struct Mixed;

impl Step for Mixed {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        let n = record.body().tree().ok().and_then(|tree| tree["n"].as_u64()).unwrap_or_default();
        match n {
            n if n % 5 == 0 => {}
            n if n % 7 == 0 => return Err(Fault::validation("seven", "sevens are refused")),
            n if n % 11 == 0 => {
                let node: Arc<str> = "mixed".into();
                (0..3).for_each(|index| out.push(record.child(&node, index, record.body().clone())));
            }
            _ => out.push(record),
        }
        Ok(())
    }
}

fn plan(sinks: usize, dedup: bool, asking: bool) -> PipelinePlan {
    let source = SourceNode {
        name: "in".into(),
        kind: "idle",
        fingerprint: 0,
        plan: Box::new(Idle),
        decode: karez_api::Decode::Json,
        split: None,
        id: None,
        dedup: dedup.then(|| karez_api::Dedup {
            key: Arc::new(Field("dedup")),
            ttl: Duration::from_secs(60),
            scope: karez_api::DedupScope::Source,
        }),
        order_by: Some(Arc::new(Field("key"))),
        journal: false,
        concurrency: None,
        timeout: Duration::from_secs(1),
        retry: OnError::default().connection,
        rate_limit: None,
        timetable: None,
    };
    let step = StepNode {
        id: "mixed".into(),
        kind: "mixed",
        act: karez_api::Act::Apply(Box::new(Mixed)),
        from: vec![Input(Upstream::Source(0))],
        when: None,
        on_failure: OnFailure::DeadLetter,
        timeout: None,
    };
    let ask = karez_api::Asking {
        fingerprint: 0,
        plan: Box::new(Idle),
        concurrency: 2,
        timeout: Duration::from_secs(1),
        on_error: patient(),
        rate_limit: None,
    };
    let asker = StepNode {
        id: "asker".into(),
        kind: "asker",
        act: karez_api::Act::Ask(Box::new(ask)),
        from: vec![Input(Upstream::Step(0, 0))],
        when: None,
        on_failure: OnFailure::DeadLetter,
        timeout: None,
    };
    let steps = if asking { vec![step, asker] } else { vec![step] };
    let sink = |n: usize| SinkNode {
        name: format!("out{n}").into(),
        kind: "idle",
        fingerprint: 0,
        plan: Box::new(Idle),
        from: vec![Input(Upstream::Step(usize::from(asking), 0))],
        when: None,
        on_failure: OnFailure::DeadLetter,
        encode: Encode::Json,
        batch: None,
        concurrency: 3,
        timeout: Duration::from_secs(1),
        on_error: patient(),
        rate_limit: None,
    };
    PipelinePlan {
        name: "p".into(),
        file: "p.yaml".into(),
        fingerprint: 0,
        renamed_from: None,
        sources: vec![source],
        steps,
        sinks: (0..sinks).map(sink).collect(),
        unrouted: Unrouted::DeadLetter,
        max_in_flight: InFlight { records: 40, bytes: 1 << 20 },
        journal_max_bytes: 1 << 30,
        tests: Vec::new(),
    }
}

/// Nothing is given up: every record that can be delivered is.
fn patient() -> OnError {
    let forever = |retry: Retry| Retry { max_attempts: None, max_elapsed: None, ..retry };
    let usual = OnError::default();
    OnError { connection: forever(usual.connection), service: forever(usual.service), ..usual }
}

/// The world around a core.
struct World {
    core: Core,
    prepare: Arc<Prepare>,
    counters: Arc<Counters>,
    known: Arc<Known>,
    now: Instant,
    chunks: Vec<(usize, u64, u64, Vec<Work>)>,
    attempts: Vec<(usize, u64, u64, Vec<Record>)>,
    burials: Vec<Burial>,
    settled: Vec<(Via, Verdict)>,
    keys: Vec<DedupKey>,
    /// What each sink confirmed, by key, in order.
    delivered: HashMap<(usize, u64), Vec<u64>>,
    batches: u64,
    sinks: usize,
    dedup: bool,
    asking: bool,
    /// Records come from a journal, by number.
    journal: bool,
    fetches: Vec<Vec<u64>>,
    /// A key that its sinks do not take at the moment.
    stuck: Option<u64>,
}

impl World {
    fn new(sinks: usize, dedup: bool, asking: bool) -> Self {
        let (counters, known) = (Arc::new(Counters::default()), Arc::new(Known::default()));
        let now = Instant::now();
        let (graph, prepare, states, limit) = Self::parts((sinks, dedup, asking), &counters, now);
        let settings = vec![SourceSettings { name: "in".into(), ordered: true }];
        let core = Core::new(Arc::clone(&known) as _, graph, settings, states, limit, Arc::clone(&counters));
        Self {
            core,
            prepare,
            counters,
            known,
            now,
            chunks: Vec::new(),
            attempts: Vec::new(),
            burials: Vec::new(),
            settled: Vec::new(),
            keys: Vec::new(),
            delivered: HashMap::new(),
            batches: 0,
            sinks,
            dedup,
            asking,
            journal: false,
            fetches: Vec::new(),
            stuck: None,
        }
    }

    fn parts(
        (sinks, dedup, asking): (usize, bool, bool),
        counters: &Arc<Counters>,
        now: Instant,
    ) -> (Arc<Graph>, Arc<Prepare>, Vec<SinkState>, InFlight) {
        let mut plan = plan(sinks, dedup, asking);
        let prepare = Arc::new(Prepare::new(&plan.name, 0, &plan.sources[0], true, Arc::clone(counters)));
        let graph = Arc::new(Graph::new(&mut plan, Arc::new(Taps::default())));
        let states = plan
            .sinks
            .iter()
            .enumerate()
            .map(|(n, node)| {
                let asks = graph.sinks[n].asks;
                let settings = SinkSettings {
                    name: Arc::clone(&node.name),
                    limits: Limits {
                        records: if asks.is_some() { 3 } else { 1 },
                        bytes: 1 << 20,
                        atomic: asks.is_some(),
                    },
                    linger: Duration::ZERO,
                    concurrency: node.concurrency,
                    on_error: node.on_error,
                    on_failure: node.on_failure,
                    counters: Arc::clone(&graph.sinks[n].counters),
                    asks,
                    rate_limit: None,
                };
                SinkState::new(settings, HashSet::new(), now)
            })
            .collect();
        (graph, prepare, states, plan.max_in_flight)
    }

    fn record(n: u64) -> Record {
        let body = format!("{{\"n\":{n},\"key\":{},\"dedup\":{}}}", n % 4, n / 2);
        let meta = Meta::new(RecordId::text(format!("r{n}")), "in".into(), Millis(0));
        Record::new(Body::from_bytes(Form::Json, body.into()), meta)
    }

    fn pull(&mut self, numbers: std::ops::Range<u64>) {
        let records: Vec<Record> = numbers.clone().map(Self::record).collect();
        self.counters.accept(records.len());
        self.batches += 1;
        let from = match self.journal {
            true => From::Journal { sequences: numbers.collect() },
            false => From::Batch { number: self.batches, first: 0 },
        };
        self.core.pulled(Pulled { source: 0, lane: Lane::new("a"), records, from });
    }

    fn carry_out(&mut self) {
        let generation = self.core.generation();
        for command in self.core.commands(self.now, Millis(1)) {
            match command {
                Command::Run { source, chunk, work } => self.chunks.push((source, chunk, generation, work)),
                Command::Attempt { sink, attempt, records, .. } => {
                    self.attempts.push((sink, attempt, generation, records));
                }
                Command::Bury(burials) => self.burials.extend(burials),
                Command::Settle { items, .. } => {
                    for item in items {
                        self.keys.extend(item.dedup);
                        self.settled.push((item.via, item.verdict));
                    }
                }
                Command::Fetch { sequences, .. } => self.fetches.push(sequences),
                Command::Replayed { .. } => {}
                Command::Fail(fault) => panic!("{fault}"),
            }
        }
    }

    /// Does one of the things that can happen next.
    fn step(&mut self, choice: usize, outcome: u8) {
        if let Some(asked) = self.fetches.pop() {
            let records = asked.iter().map(|n| Self::record(*n)).collect();
            let from = From::Parked { sequences: asked.clone(), asked };
            return self.core.pulled(Pulled { source: 0, lane: Lane::new("a"), records, from });
        }
        let n = self.chunks.len() + self.attempts.len() + self.burials.len().min(1) + self.keys.len().min(1);
        if n == 0 {
            self.now += Duration::from_secs(70);
            return;
        }
        let mut at = choice % n;
        if at < self.chunks.len() {
            let (source, chunk, generation, work) = self.chunks.swap_remove(at);
            let ran = worker::run(self.core.graph(), &self.prepare, source, work, Millis(1));
            return self.core.ran(source, chunk, generation, ran, self.now);
        }
        at -= self.chunks.len();
        if at < self.attempts.len() {
            return self.answer(at, outcome);
        }
        at -= self.attempts.len();
        if at == 0 && !self.burials.is_empty() {
            let origins: Vec<Origin> =
                self.burials.drain(..).map(|burial| burial.refusal.record.origin()).collect();
            return self.core.buried(&origins, self.core.generation());
        }
        let keys = std::mem::take(&mut self.keys);
        self.known.0.lock().unwrap().extend(keys.iter().map(|key| Arc::clone(&key.key)));
        self.core.remembered(&keys);
    }

    fn answer(&mut self, at: usize, outcome: u8) {
        let (sink, attempt, generation, records) = self.attempts.swap_remove(at);
        let key = |record: &Record| record.body().tree().unwrap()["key"].as_u64();
        let outcomes = records
            .iter()
            .map(|record| match outcome {
                _ if self.stuck.is_some() && self.stuck == key(record) => {
                    Outcome::NotSent(Fault::service("this key is stuck"))
                }
                0 => Outcome::NotSent(Fault::connection("down")),
                1 => Outcome::Unknown(Fault::service("broken")),
                2 => Outcome::NotSent(Fault::rate_limit("slow", None)),
                3 => Outcome::Refused(Fault::validation("no", "never")),
                _ if sink >= self.sinks => Outcome::Became(record.clone()),
                _ => {
                    let tree = record.body().tree().unwrap();
                    let (n, key) = (tree["n"].as_u64().unwrap(), tree["key"].as_u64().unwrap());
                    self.delivered.entry((sink, key)).or_default().push(n);
                    Outcome::Done
                }
            })
            .collect();
        self.core.delivered(sink, attempt, generation, outcomes, self.now);
    }

    fn reload(&mut self) {
        // Deliveries are dropped, as after the grace of a reload; burials are waited for; chunks come back later.
        self.core.pause();
        self.attempts.clear();
        let origins: Vec<Origin> =
            self.burials.drain(..).map(|burial| burial.refusal.record.origin()).collect();
        self.core.buried(&origins, self.core.generation());
        self.carry_out();
        let (graph, prepare, states, limit) =
            Self::parts((self.sinks, self.dedup, self.asking), &self.counters, self.now);
        self.prepare = prepare;
        let settings = vec![SourceSettings { name: "in".into(), ordered: true }];
        self.core.swap(graph, settings, states, limit);
    }

    fn law_holds(&self) -> Result<(), TestCaseError> {
        let r = self.counters.read();
        let ends =
            r.delivered + r.filtered + r.duplicate + r.diverted + r.dead_lettered + r.dropped + r.returned;
        prop_assert_eq!(r.received + r.recovered, ends + r.in_flight);
        Ok(())
    }

    /// Journaled records that do not have the key 1.
    fn settled_of_other_keys(&self) -> usize {
        let other = |via: &Via| matches!(via, Via::Journal(n) if n % 4 != 1);
        self.settled.iter().filter(|(via, _)| other(via)).count()
    }

    /// Every record was settled once and only once.
    fn all_settled_once(&self, n: u64) -> Result<(), TestCaseError> {
        let mut seen: BTreeMap<(u64, u32), u32> = BTreeMap::new();
        for (via, _) in &self.settled {
            let place = match via {
                Via::Batch { batch, index, .. } => (*batch, *index),
                Via::Journal(sequence) => (*sequence, 0),
                Via::Replay { .. } => continue,
            };
            *seen.entry(place).or_default() += 1;
        }
        prop_assert_eq!(seen.len() as u64, n);
        prop_assert!(seen.values().all(|times| *times == 1));
        Ok(())
    }
}

fn run(
    (sinks, dedup, asking): (usize, bool, bool),
    choices: &[(usize, u8, bool)],
) -> Result<World, TestCaseError> {
    let mut world = World::new(sinks, dedup, asking);
    let mut pulled = 0;
    for (choice, outcome, reload) in choices {
        if world.core.has_room() && pulled < 120 {
            world.pull(pulled..pulled + 8);
            pulled += 8;
        }
        world.carry_out();
        if *reload {
            world.reload();
            world.carry_out();
        }
        world.step(*choice, *outcome);
        world.law_holds()?;
    }
    // Heal: from here on everything works.
    for _ in 0..20_000 {
        if pulled < 120 && world.core.has_room() {
            world.pull(pulled..pulled + 8);
            pulled += 8;
        }
        world.carry_out();
        if world.core.is_idle() && pulled == 120 && world.keys.is_empty() {
            break;
        }
        world.step(0, 9);
    }
    world.law_holds()?;
    prop_assert!(world.core.is_idle(), "something never came to an end");
    world.all_settled_once(120)?;
    Ok(world)
}

fn choices() -> impl Strategy<Value = Vec<(usize, u8, bool)>> {
    let reload = proptest::bool::weighted(0.01);
    proptest::collection::vec((any::<usize>(), 0_u8..8, reload), 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_record_comes_to_one_end(choices in choices(), sinks in 1..3_usize, asking: bool) {
        let world = run((sinks, false, asking), &choices)?;
        let counts = world.counters.read();
        prop_assert_eq!(counts.in_flight, 0);
        prop_assert_eq!(counts.received, 120);
        // 120 numbers: 24 are divisible by five; of the rest, 14 by seven.
        prop_assert_eq!(counts.filtered, 24);
        prop_assert!(counts.dead_lettered >= 14);
    }

    #[test]
    fn keys_keep_their_order_at_every_sink(choices in choices(), sinks in 1..3_usize, asking: bool) {
        // Without reloads nothing is delivered twice, so order can be read off the deliveries.
        let calm: Vec<_> = choices.into_iter().map(|(choice, outcome, _)| (choice, outcome, false)).collect();
        let world = run((sinks, false, asking), &calm)?;
        for ((sink, key), numbers) in &world.delivered {
            prop_assert!(numbers.is_sorted(), "sink {sink}, key {key}: {numbers:?}");
        }
    }

    #[test]
    fn of_two_records_with_one_dedup_key_one_takes_effect(choices in choices()) {
        let calm: Vec<_> = choices.into_iter().map(|(choice, outcome, _)| (choice, outcome, false)).collect();
        let world = run((1, true, false), &calm)?;
        let counts = world.counters.read();
        prop_assert_eq!(counts.duplicate, 60);
        let distinct: HashSet<u64> = world.delivered.values().flatten().map(|n| n / 2).collect();
        let origins: HashSet<u64> = world.delivered.values().flatten().copied().collect();
        prop_assert_eq!(distinct.len(), origins.len());
    }

    /// A source that is let go takes its reservations with it: what it gives again is not taken for a duplicate of itself.
    #[test]
    fn a_source_that_went_back_leaves_no_reservation(steps in 0..40_usize) {
        let mut world = World::new(1, true, false);
        world.pull(0..8);
        for _ in 0..steps {
            world.carry_out();
            world.step(0, 9);
        }
        world.core.return_source(0);
        world.carry_out();
        world.law_holds()?;
        world.pull(8..16);
        world.pull(0..8);
        for _ in 0..2_000 {
            world.carry_out();
            if world.core.is_idle() {
                break;
            }
            world.step(0, 9);
        }
        prop_assert!(world.core.is_idle(), "a record waits for one that went back");
        world.law_holds()?;
    }

    /// Followers of a stuck key give back their place: the other keys all get through, far beyond the
    /// window, and the stuck one goes on in its order when it is free.
    #[test]
    fn a_stuck_key_of_a_journal_never_fills_the_window(choices in choices()) {
        let mut world = World::new(1, false, false);
        world.journal = true;
        world.stuck = Some(1);
        let mut pulled = 0;
        let mut choices = choices.into_iter();
        for _ in 0..20_000 {
            if world.core.has_room() && pulled < 400 {
                world.pull(pulled..pulled + 8);
                pulled += 8;
            }
            world.carry_out();
            world.step(choices.next().map_or(0, |(choice, ..)| choice), 9);
            world.law_holds()?;
            if world.settled_of_other_keys() == 300 {
                break;
            }
        }
        prop_assert_eq!(world.settled_of_other_keys(), 300, "the stuck key held back others");
        world.stuck = None;
        for _ in 0..20_000 {
            world.carry_out();
            if world.core.is_idle() {
                break;
            }
            world.step(0, 9);
        }
        prop_assert!(world.core.is_idle());
        world.all_settled_once(400)?;
        for numbers in world.delivered.values() {
            prop_assert!(numbers.is_sorted(), "{numbers:?}");
        }
    }
}
