//! What an engine lends to a connector, for tests: a clock that moves only when somebody waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{future::Future, pin::Pin};

use async_trait::async_trait;
use karez_api::*;

pub(crate) struct TestClock {
    start: Instant,
    state: Mutex<(Duration, u64)>,
}

impl TestClock {
    pub(crate) fn elapsed(&self) -> Duration {
        self.state.lock().unwrap().0
    }
    pub(crate) fn advance(&self, time: Duration) {
        let mut state = self.state.lock().unwrap();
        state.0 += time;
        state.1 += time.as_millis() as u64;
    }
    pub(crate) fn set_wall(&self, time: &str) {
        self.state.lock().unwrap().1 = millis(time);
    }
}

fn millis(time: &str) -> u64 {
    time.parse::<jiff::Timestamp>().unwrap().as_millisecond() as u64
}

impl Clock for TestClock {
    fn now(&self) -> Millis {
        Millis(self.state.lock().unwrap().1)
    }
    fn instant(&self) -> Instant {
        self.start + self.elapsed()
    }
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.advance(time);
        Box::pin(std::future::ready(()))
    }
}

struct Nobody;

impl Tasks for Nobody {
    fn spawn(&self, _: &'static str, _: Pin<Box<dyn Future<Output = ()> + Send>>) {}
}
impl Ingress for Nobody {
    fn mount(&self, _: &str, _: &str, _: Arc<dyn Endpoint>) -> Result<Mount, Fault> {
        Err(Fault::fatal("no ingress"))
    }
}
#[async_trait]
impl Intake for Nobody {
    async fn accept(&self, _: Incoming) -> Accepted {
        Accepted::Undecodable(Fault::fatal("no intake"))
    }
    fn refused(&self, _: &'static str) {}
}
impl Reuse for Nobody {
    fn connection(&self, _: &str) -> Option<Json> {
        None
    }
    fn schema(&self, name: &str) -> Result<Json, String> {
        Err(format!("no schema {name}"))
    }
    fn mapping(&self, _: &str) -> Option<Json> {
        None
    }
    fn names(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}

/// A text `dir/{{name}}.x` takes one field of the record; everything else is constant.
struct Field(String, String, String);

impl Evaluate<String> for Field {
    fn eval(&self, record: &Record) -> Result<String, Fault> {
        let value = record.body().tree().ok().and_then(|tree| tree[&self.1].as_str());
        let value = value.ok_or_else(|| Fault::validation("missing", "no such field"))?;
        Ok(format!("{}{value}{}", self.0, self.2))
    }
}

impl Expressions for Nobody {
    fn value(&self, _: &Scope<'_>, _: &Path, setting: &Json) -> Result<Value, Vec<Problem>> {
        Ok(constant(Some(setting.clone())))
    }
    fn text(&self, _: &Scope<'_>, _: &Path, text: &str, _: Escape) -> Result<Text, Vec<Problem>> {
        Ok(match text.split_once("{{").and_then(|(a, b)| Some((a, b.split_once("}}")?))) {
            Some((before, (name, after))) => Arc::new(Field(before.into(), name.into(), after.into())),
            None => constant(text.to_owned()),
        })
    }
    fn condition(&self, _: &Scope<'_>, _: &Path, _: &Json) -> Result<Condition, Vec<Problem>> {
        Ok(constant(true))
    }
}

fn checked<T>(build: impl FnOnce(&Checker<'_>) -> Option<T>) -> Result<T, Vec<Problem>> {
    let (problems, warnings, literal) = Default::default();
    let vars = Arc::new(JsonMap::new());
    let scope = Scope { vars: &vars, literal: &literal, warnings: &warnings };
    let cx = Checker {
        node: "node".into(),
        pipeline: "pipeline".into(),
        at: Path::root(),
        encode: Encode::Json,
        expressions: &Nobody,
        scope,
        reuse: &Nobody,
        problems: &problems,
    };
    let built = build(&cx);
    let problems = problems.take();
    if problems.is_empty() { Ok(built.unwrap()) } else { Err(problems) }
}

pub(crate) fn plan_source<S: SourceSpec>(settings: Json) -> Box<dyn SourcePlan> {
    checked(|cx| serde_json::from_value::<S>(settings).unwrap().check(cx)).unwrap()
}
pub(crate) fn plan_sink<S: SinkSpec>(settings: Json) -> Box<dyn SinkPlan> {
    checked(|cx| serde_json::from_value::<S>(settings).unwrap().check(cx)).unwrap()
}
/// What stays when a source or sink is opened again.
pub(crate) struct World {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) positions: Mutex<BTreeMap<Lane, Position>>,
    pub(crate) mark: Mutex<Option<Mark>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::at("2026-11-24T10:15:00Z")
    }
    pub(crate) fn at(time: &str) -> Self {
        let state = Mutex::new((Duration::ZERO, millis(time)));
        let clock = Arc::new(TestClock { start: Instant::now(), state });
        Self { clock, positions: Mutex::default(), mark: Mutex::default() }
    }

    pub(crate) fn keep_positions(&self, batch: &Batch) {
        let last = match &batch.positions {
            Positions::Each(each) => each.last().unwrap().clone(),
            Positions::After(position) | Positions::Now(position) => position.clone(),
            Positions::None | Positions::Later => return,
            Positions::Gone => {
                self.positions.lock().unwrap().remove(&batch.lane);
                return;
            }
        };
        self.positions.lock().unwrap().insert(batch.lane.clone(), last);
    }

    pub(crate) async fn open_source(&self, plan: &dyn SourcePlan) -> Box<dyn Source> {
        let cx = SourceContext {
            pipeline: "pipeline".into(),
            source: "source".into(),
            positions: self.positions.lock().unwrap().clone(),
            clock: self.clock.clone(),
            tasks: Arc::new(Nobody),
            shared: karez_api::Shared::default(),
            ingress: Arc::new(Nobody),
            intake: Arc::new(Nobody),
            decode: Decode::Json,
            timetable: None,
            once: false,
            runs: Arc::new(NoRuns),
        };
        match plan.open(cx).await.unwrap() {
            Opened::Pull(source) => source,
            Opened::Push(_) => panic!("not a pulled source"),
        }
    }

    pub(crate) async fn open_sink(&self, plan: &dyn SinkPlan) -> Box<dyn Sink> {
        let cx = SinkContext {
            pipeline: "pipeline".into(),
            sink: "sink".into(),
            mark: self.mark.lock().unwrap().clone(),
            batched: false,
            clock: self.clock.clone(),
            tasks: Arc::new(Nobody),
            shared: karez_api::Shared::default(),
        };
        plan.open(cx).await.unwrap()
    }
}
