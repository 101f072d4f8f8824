//! What the engine lends to a connector: a clock that stands still, an ingress and an intake that keep what
//! they are given, names that lead nowhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use karez_api::{
    Accepted, Build, Checker, Clock, Component, Encode, Endpoint, Fate, Fault, Form, Incoming, Ingress,
    Intake, Json, JsonMap, Millis, Mount, Path, Problem, Record, Reuse, Scope, SourcePlan, Step, Tasks,
};
use karez_steps::Languages;

/// 2026-11-24T10:15:00Z.
pub(crate) const NOW: Millis = Millis(1_795_515_300_000);

pub(crate) struct Standing;

impl Clock for Standing {
    fn now(&self) -> Millis {
        NOW
    }
    fn instant(&self) -> Instant {
        Instant::now()
    }
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

impl Tasks for Standing {
    fn spawn(&self, _: &'static str, _: Pin<Box<dyn Future<Output = ()> + Send>>) {}
}

/// Keeps what came in, or was turned away.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) records: Mutex<Vec<Record>>,
    pub(crate) refused: Mutex<Vec<&'static str>>,
}

#[async_trait]
impl Intake for Kept {
    async fn accept(&self, incoming: Incoming) -> Accepted {
        let Incoming { record, wanted, .. } = incoming;
        let fate = if wanted.wants(&record) { Fate::Accepted } else { Fate::Filtered };
        let id = record.id().clone();
        let readable = record.body().form() == Form::Opaque || record.body().tree().is_ok();
        self.records.lock().unwrap().push(record);
        match readable {
            true => Accepted::Stored { id, fate },
            false => Accepted::Undecodable(Fault::validation("body", "unreadable")),
        }
    }
    fn refused(&self, reason: &'static str) {
        self.refused.lock().unwrap().push(reason);
    }
}

/// Keeps the endpoint.
#[derive(Default)]
pub(crate) struct Mounted(pub(crate) Mutex<Option<Arc<dyn Endpoint>>>);

impl Ingress for Mounted {
    fn mount(&self, _: &str, _: &str, endpoint: Arc<dyn Endpoint>) -> Result<Mount, Fault> {
        *self.0.lock().unwrap() = Some(endpoint);
        Ok(Mount::new(|| {}))
    }
}

struct Nothing;

impl Reuse for Nothing {
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

/// Calls `with` with a scope in which `literal` of the setting came from elsewhere.
pub(crate) fn in_scope<T>(literal: Option<Range<usize>>, with: impl FnOnce(&Scope<'_>) -> T) -> T {
    let vars = Arc::new(JsonMap::from_iter([("eu".to_owned(), Json::from("west"))]));
    let literal = literal.map(|range| (Path::root(), vec![range])).into_iter().collect::<BTreeMap<_, _>>();
    with(&Scope { vars: &vars, literal: &literal, warnings: &RefCell::default() })
}

fn check<T: ?Sized>(
    build: fn(Json, &Checker<'_>) -> Option<Box<T>>,
    settings: Json,
) -> Result<Box<T>, Vec<Problem>> {
    checked(|cx| build(settings, cx))
}

/// What `build` makes, or all that it reports.
pub(crate) fn checked<T>(build: impl FnOnce(&Checker<'_>) -> Option<T>) -> Result<T, Vec<Problem>> {
    let problems = RefCell::default();
    let built = in_scope(None, |scope| {
        build(&Checker {
            node: "node".into(),
            pipeline: "pipeline".into(),
            at: Path::root(),
            encode: Encode::Json,
            expressions: &Languages,
            scope: Scope { vars: scope.vars, literal: scope.literal, warnings: scope.warnings },
            reuse: &Nothing,
            problems: &problems,
        })
    });
    let problems = problems.take();
    assert_eq!(built.is_none(), !problems.is_empty(), "{problems:?}");
    built.ok_or(problems)
}

/// A component of that name.
fn named(name: &str, components: Vec<Component>) -> Build {
    components.into_iter().find(|component| component.name == name).unwrap().build
}

pub(crate) fn step(name: &str, settings: Json) -> Result<Box<dyn Step>, Vec<Problem>> {
    let Build::Step(build) = named(name, karez_steps::components()) else { panic!("{name} is no step") };
    check(build, settings)
}

pub(crate) fn webhook(settings: Json) -> Box<dyn SourcePlan> {
    let Build::Source(build) = named("webhook", karez_web::components()) else { panic!("no source") };
    check(build, settings).map_err(|problems| format!("{problems:?}")).unwrap()
}
