//! What the engine lends to a connector, for tests: a wall clock that stands still, expressions
//! that pick and fill in fields, and an ingress and an intake that keep what they are given.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use karez_api::*;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use tokio::sync::Notify;

/// 2026-11-24T10:15:00Z.
pub(crate) const NOW: Millis = Millis(1_795_515_300_000);

/// Time stands still, and nobody waits here until a test says that the time is over.
#[derive(Clone)]
pub(crate) struct TestClock {
    wait: Arc<Notify>,
    /// Waits of at most so many milliseconds are over at once.
    hurried: Arc<AtomicU64>,
    begun: Instant,
    first: Millis,
    now: Arc<AtomicU64>,
}

impl Default for TestClock {
    fn default() -> Self {
        Self::at(NOW)
    }
}

impl TestClock {
    pub(crate) fn at(now: Millis) -> Self {
        Self {
            wait: Arc::default(),
            hurried: Arc::default(),
            begun: Instant::now(),
            first: now,
            now: Arc::new(now.0.into()),
        }
    }
    pub(crate) fn pass(&self, time: Duration) {
        self.now.fetch_add(time.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }
    pub(crate) fn hurry(&self, most: Duration) {
        self.hurried.store(most.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }
    pub(crate) fn end_wait(&self) {
        self.wait.notify_one();
    }
}

impl Clock for TestClock {
    fn now(&self) -> Millis {
        Millis(self.now.load(Ordering::Relaxed))
    }
    fn instant(&self) -> Instant {
        self.begun + Duration::from_millis(self.now().0 - self.first.0)
    }
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let over = Arc::clone(&self.wait);
        let hurried = time.as_millis() <= self.hurried.load(Ordering::Relaxed).into();
        Box::pin(async move {
            if !hurried {
                over.notified().await;
            }
        })
    }
}

/// They end with the test.
struct TestTasks;

impl Tasks for TestTasks {
    fn spawn(&self, _: &'static str, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        drop(tokio::runtime::Handle::current().spawn(task));
    }
}

/// `$.a.b`.
struct Pick(Vec<String>);

impl Pick {
    fn find(&self, record: &Record) -> Option<Json> {
        let mut at = record.body().tree().ok()?;
        for field in &self.0 {
            at = at.get(field)?;
        }
        Some(at.clone())
    }
}

impl Evaluate<Option<Json>> for Pick {
    fn eval(&self, record: &Record) -> Result<Option<Json>, Fault> {
        Ok(self.find(record))
    }
}

/// `before{{a.b}}after`.
struct Template(String, Pick, String);

impl Evaluate<String> for Template {
    fn eval(&self, record: &Record) -> Result<String, Fault> {
        match self.1.find(record) {
            Some(Json::String(text)) => Ok(format!("{}{text}{}", self.0, self.2)),
            Some(Json::Number(number)) => Ok(format!("{}{number}{}", self.0, self.2)),
            _ => Err(Fault::validation("missing", "no such field")),
        }
    }
}

fn pick(path: &str) -> Pick {
    Pick(path.split('.').map(str::to_owned).collect())
}

struct Stub;

impl Expressions for Stub {
    fn value(&self, _: &Scope<'_>, _: &Path, setting: &Json) -> Result<Value, Vec<Problem>> {
        Ok(match setting.as_str().and_then(|text| text.strip_prefix("$.")) {
            Some(path) => Arc::new(pick(path)),
            None => constant(Some(setting.clone())),
        })
    }
    fn text(&self, _: &Scope<'_>, _: &Path, text: &str, _: Escape) -> Result<Text, Vec<Problem>> {
        let parts = text.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?)));
        Ok(match parts {
            Some((before, (path, after))) => Arc::new(Template(before.into(), pick(path), after.into())),
            None => constant(text.to_owned()),
        })
    }
    fn condition(&self, _: &Scope<'_>, _: &Path, _: &Json) -> Result<Condition, Vec<Problem>> {
        Ok(constant(true))
    }
}

/// The connections of a shared file.
struct Connections(Json);

impl Reuse for Connections {
    fn connection(&self, name: &str) -> Option<Json> {
        self.0.get(name).cloned()
    }
    fn schema(&self, name: &str) -> Result<Json, String> {
        Err(format!("no schema {name}"))
    }
    fn mapping(&self, _: &str) -> Option<Json> {
        None
    }
    fn names(&self, _: &str) -> Vec<String> {
        let fields = self.0.as_object().into_iter().flatten();
        fields.map(|(name, _)| name.clone()).collect()
    }
}

/// A file's place for one component.
pub(crate) struct File {
    pub(crate) encode: Encode,
    pub(crate) connections: Json,
}

impl Default for File {
    fn default() -> Self {
        Self { encode: Encode::Json, connections: Json::Null }
    }
}

impl File {
    pub(crate) fn check<T>(&self, build: impl FnOnce(&Checker<'_>) -> Option<T>) -> Result<T, Vec<Problem>> {
        let (problems, warnings, literal) = Default::default();
        let vars = Arc::new(JsonMap::new());
        let built = build(&Checker {
            node: "node".into(),
            pipeline: "pipeline".into(),
            at: Path::root(),
            encode: self.encode,
            expressions: &Stub,
            scope: Scope { vars: &vars, literal: &literal, warnings: &warnings },
            reuse: &Connections(self.connections.clone()),
            problems: &problems,
        });
        let problems = problems.take();
        assert_eq!(built.is_none(), !problems.is_empty(), "{problems:?}");
        built.ok_or(problems)
    }

    pub(crate) fn sink<S: SinkSpec>(&self, settings: Json) -> Result<Box<dyn SinkPlan>, Vec<Problem>> {
        self.check(|cx| serde_json::from_value::<S>(settings).unwrap().check(cx))
    }
}

pub(crate) fn source<S: SourceSpec>(settings: Json) -> Result<Box<dyn SourcePlan>, Vec<Problem>> {
    File::default().check(|cx| serde_json::from_value::<S>(settings).unwrap().check(cx))
}

/// Codes and places, for comparing.
pub(crate) fn places(problems: &[Problem]) -> Vec<String> {
    let place = |problem: &Problem| format!("{} {}", problem.code, problem.at);
    problems.iter().map(place).collect()
}

/// Connections that may call this machine.
pub(crate) fn shared(clock: &TestClock) -> Shared {
    let allow_private = vec!["127.0.0.0/8".parse().unwrap()];
    let options = karez_net::Options { allow_private, ..karez_net::Options::default() };
    let connections = karez_net::Connections::new(Arc::new(clock.clone()), None, options);
    Shared::default().with(Arc::new(connections))
}

pub(crate) async fn open_sink(plan: &dyn SinkPlan, clock: &TestClock, batched: bool) -> Box<dyn Sink> {
    let cx = SinkContext {
        pipeline: "orders".into(),
        sink: "crm".into(),
        mark: None,
        batched,
        clock: Arc::new(clock.clone()),
        tasks: Arc::new(TestTasks),
        shared: shared(clock),
    };
    plan.open(cx).await.unwrap()
}

/// The engine's side of a webhook: what is to be said of the next delivery, and what came in.
#[derive(Default)]
pub(crate) struct Engine {
    pub(crate) verdicts: Mutex<VecDeque<Accepted>>,
    pub(crate) incoming: Mutex<Vec<Incoming>>,
    pub(crate) refused: Mutex<Vec<&'static str>>,
    pub(crate) answered: Mutex<Vec<&'static str>>,
    pub(crate) mounted: Mutex<Option<(String, Arc<dyn Endpoint>)>>,
    pub(crate) vault: Arc<TestVault>,
}

/// A vault in memory, which may have no key to write with.
#[derive(Default)]
pub(crate) struct TestVault {
    pub(crate) kept: Mutex<BTreeMap<String, Secret>>,
    pub(crate) locked: AtomicBool,
}

#[async_trait]
impl Vault for TestVault {
    async fn get(&self, name: &str) -> Result<Option<Kept>, StoreError> {
        let value = self.kept.lock().unwrap().get(name).cloned();
        Ok(value.map(|value| Kept { value, generation: 1 }))
    }
    async fn put(&self, name: &str, value: Secret, expect: Expect) -> Result<u64, StoreError> {
        if self.locked.load(Ordering::Relaxed) {
            return Err(StoreError::Refused("there is no master key".into()));
        }
        let mut kept = self.kept.lock().unwrap();
        if expect == Expect::Absent && kept.contains_key(name) {
            return Err(StoreError::Conflict { key: name.into() });
        }
        kept.insert(name.into(), value);
        Ok(1)
    }
    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.kept.lock().unwrap().remove(name);
        Ok(())
    }
    async fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let kept = self.kept.lock().unwrap();
        Ok(kept.keys().filter(|name| name.starts_with(prefix)).cloned().collect())
    }
}

#[async_trait]
impl Intake for Engine {
    async fn accept(&self, incoming: Incoming) -> Accepted {
        self.incoming.lock().unwrap().push(incoming);
        let verdict = self.verdicts.lock().unwrap().pop_front();
        verdict.expect("one verdict for each delivery")
    }
    fn refused(&self, reason: &'static str) {
        self.refused.lock().unwrap().push(reason);
    }
    fn answered(&self, kind: &'static str) {
        self.answered.lock().unwrap().push(kind);
    }
}

impl Ingress for Engine {
    fn mount(&self, _: &str, path: &str, endpoint: Arc<dyn Endpoint>) -> Result<Mount, Fault> {
        *self.mounted.lock().unwrap() = Some((path.to_owned(), endpoint));
        Ok(Mount::new(|| {}))
    }
}

/// Opens a webhook and yields what was mounted for it.
pub(crate) async fn open_webhook(
    plan: &dyn SourcePlan,
    engine: &Arc<Engine>,
    decode: Decode,
) -> (String, Arc<dyn Endpoint>) {
    open_webhook_at(plan, engine, decode, NOW).await
}

/// The same, with another time on the clock.
pub(crate) async fn open_webhook_at(
    plan: &dyn SourcePlan,
    engine: &Arc<Engine>,
    decode: Decode,
    now: Millis,
) -> (String, Arc<dyn Endpoint>) {
    open_webhook_by(plan, engine, decode, &TestClock::at(now)).await
}

/// The same, with a clock that moves as the test says.
pub(crate) async fn open_webhook_by(
    plan: &dyn SourcePlan,
    engine: &Arc<Engine>,
    decode: Decode,
    clock: &TestClock,
) -> (String, Arc<dyn Endpoint>) {
    let cx = SourceContext {
        pipeline: "orders".into(),
        source: "source".into(),
        positions: Default::default(),
        clock: Arc::new(clock.clone()),
        tasks: Arc::new(TestTasks),
        shared: shared(clock).with(Arc::new(SharedVault(Arc::clone(&engine.vault) as _))),
        ingress: Arc::clone(engine) as _,
        intake: Arc::clone(engine) as _,
        decode,
        timetable: None,
        once: false,
        runs: Arc::new(karez_api::NoRuns),
    };
    assert!(matches!(plan.open(cx).await.unwrap(), Opened::Push(_)));
    engine.mounted.lock().unwrap().take().unwrap()
}

pub(crate) fn record(id: &str, body: &str) -> Record {
    let meta = Meta::new(RecordId::text(id), "source".into(), NOW);
    Record::new(Body::from_bytes(Form::Json, body.to_owned().into()), meta)
}

/// Certificates of one key, each for one year.
pub(crate) const CERTIFICATE: &str = include_str!("../../../tests/fixtures/webhooks/certificate.pem");
pub(crate) const CERTIFICATE_OF_2025: &str =
    include_str!("../../../tests/fixtures/webhooks/certificate-of-2025.pem");
pub(crate) const CERTIFICATE_OF_2027: &str =
    include_str!("../../../tests/fixtures/webhooks/certificate-of-2027.pem");

/// That key, which is used in tests only.
pub(crate) fn rsa_key() -> RsaKeyPair {
    let text = include_str!("../../../tests/fixtures/webhooks/rsa-key.pem");
    let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    RsaKeyPair::from_pkcs8(&STANDARD.decode(base64).unwrap()).unwrap()
}

/// PKCS#1 v1.5 with SHA-256.
pub(crate) fn signed_with_rsa(message: &[u8]) -> Vec<u8> {
    let key = rsa_key();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}
