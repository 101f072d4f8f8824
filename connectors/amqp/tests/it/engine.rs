//! What an engine lends to a connector.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use karez_api::*;

struct Engine;

impl Clock for Engine {
    fn now(&self) -> Millis {
        Millis(1_795_515_300_000)
    }
    fn instant(&self) -> Instant {
        Instant::now()
    }
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(time))
    }
}

impl Tasks for Engine {
    fn spawn(&self, _: &'static str, _: Pin<Box<dyn Future<Output = ()> + Send>>) {
        panic!("no connector has tasks here")
    }
}

impl Ingress for Engine {
    fn mount(&self, _: &str, _: &str, _: Arc<dyn Endpoint>) -> Result<Mount, Fault> {
        Err(Fault::fatal("no ingress"))
    }
}

#[async_trait]
impl Intake for Engine {
    async fn accept(&self, _: Incoming) -> Accepted {
        Accepted::Undecodable(Fault::fatal("no intake"))
    }
    fn refused(&self, _: &'static str) {}
}

impl Reuse for Engine {
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

/// `{{field}}`, alone.
struct Field(String);

impl Evaluate<String> for Field {
    fn eval(&self, record: &Record) -> Result<String, Fault> {
        let text = record.body().tree().ok().and_then(|tree| tree[&self.0].as_str());
        text.map(str::to_owned).ok_or_else(|| Fault::validation("missing", "no such field"))
    }
}

impl Expressions for Engine {
    fn value(&self, _: &Scope<'_>, _: &Path, setting: &Json) -> Result<Value, Vec<Problem>> {
        Ok(constant(Some(setting.clone())))
    }
    fn text(&self, _: &Scope<'_>, _: &Path, text: &str, _: Escape) -> Result<Text, Vec<Problem>> {
        let field = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        Ok(match field {
            Some(field) => Arc::new(Field(field.to_owned())),
            None => constant(text.to_owned()),
        })
    }
    fn condition(&self, _: &Scope<'_>, _: &Path, _: &Json) -> Result<Condition, Vec<Problem>> {
        Ok(constant(true))
    }
}

fn checked<T>(check: impl FnOnce(&Checker<'_>) -> Option<T>) -> (Option<T>, Vec<Problem>) {
    let (problems, warnings, literal) = Default::default();
    let vars = Arc::new(JsonMap::new());
    let plan = check(&Checker {
        node: "node".into(),
        pipeline: "orders".into(),
        at: Path::root(),
        encode: Encode::Json,
        expressions: &Engine,
        scope: Scope { vars: &vars, literal: &literal, warnings: &warnings },
        reuse: &Engine,
        problems: &problems,
    });
    let mut found: Vec<Problem> = problems.take();
    assert_eq!(plan.is_none(), !found.is_empty(), "{found:?}");
    found.append(&mut warnings.take());
    (plan, found)
}

fn component(role: Role) -> Build {
    let found = karez_amqp::components().into_iter().find(|component| component.role() == role);
    found.unwrap().build
}

pub(crate) fn check_source(settings: Json) -> (Option<Box<dyn SourcePlan>>, Vec<Problem>) {
    let Build::Source(build) = component(Role::Source) else { panic!("not a source") };
    checked(|cx| build(settings, cx))
}

pub(crate) fn check_sink(settings: Json) -> (Option<Box<dyn SinkPlan>>, Vec<Problem>) {
    let Build::Sink(build) = component(Role::Sink) else { panic!("not a sink") };
    checked(|cx| build(settings, cx))
}

pub(crate) async fn open_source(settings: Json) -> Result<Box<dyn Source>, Fault> {
    let plan = check_source(settings).0.unwrap();
    let opened = plan.open(SourceContext {
        pipeline: "orders".into(),
        source: "in".into(),
        positions: Default::default(),
        clock: Arc::new(Engine),
        tasks: Arc::new(Engine),
        shared: karez_api::Shared::default(),
        ingress: Arc::new(Engine),
        intake: Arc::new(Engine),
        decode: Decode::Json,
        timetable: None,
        once: false,
        runs: Arc::new(karez_api::NoRuns),
    });
    match opened.await? {
        Opened::Pull(source) => Ok(source),
        Opened::Push(_) => panic!("not a pulled source"),
    }
}

pub(crate) async fn open_sink(settings: Json) -> Result<Box<dyn Sink>, Fault> {
    let plan = check_sink(settings).0.unwrap();
    let opened = plan.open(SinkContext {
        pipeline: "orders".into(),
        sink: "out".into(),
        mark: None,
        batched: false,
        clock: Arc::new(Engine),
        tasks: Arc::new(Engine),
        shared: karez_api::Shared::default(),
    });
    opened.await
}

pub(crate) fn record(id: &str, body: Json) -> Record {
    let meta = Meta::new(RecordId::text(id), "in".into(), Millis(0));
    Record::new(Body::from_tree(body), meta)
}

/// `done`, or what went wrong and with which code.
pub(crate) fn outcomes(delivery: &Delivery) -> Vec<String> {
    let short = |outcome: &Outcome| match outcome {
        Outcome::Done | Outcome::Became(_) => "done".to_owned(),
        Outcome::Refused(fault) => format!("refused {}", fault.code()),
        Outcome::NotSent(fault) => format!("not sent {}", fault.code()),
        Outcome::Unknown(fault) => format!("unknown {}", fault.code()),
    };
    delivery.each.iter().map(short).collect()
}
