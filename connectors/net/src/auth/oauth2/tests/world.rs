//! A server, a vault and time, as tests want them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http::{HeaderMap, Method, StatusCode};
use karez_api::{Expect, Fault, Json, Kept, Millis, Secret, StoreError, Tasks, Vault};
use reqwest::Url;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::auth::metrics::AuthMetrics;
use crate::auth::oauth2::OAuth2Credentials;
use crate::auth::{Build, Credentials, Stamp};
use crate::testing::TestClock;
use crate::transport::Carrier;
use crate::{Effect, Failure, Request, Response};

/// What the server does with a request in place of answering it as it should.
#[derive(Clone)]
pub(crate) enum Reply {
    Status(u16, &'static [(&'static str, &'static str)], Json),
    /// It acts, and its answer is lost.
    Lost,
    Unreachable,
}

pub(crate) struct Asked {
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) form: BTreeMap<String, String>,
}

#[derive(Default)]
struct State {
    issued: usize,
    current: Option<String>,
    spent: BTreeSet<String>,
    revoked: bool,
    script: VecDeque<Reply>,
    asked: Vec<Asked>,
}

/// It rotates refresh tokens, and revokes all of them when a spent one comes again.
pub(crate) struct Server {
    state: Mutex<State>,
    /// Answers wait for a permit of it.
    pub(crate) gate: Semaphore,
    /// Answers have a new refresh token.
    pub(crate) rotates: AtomicBool,
    /// A spent refresh token still counts.
    pub(crate) lenient: AtomicBool,
}

impl Server {
    pub(crate) fn calls(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }
    pub(crate) fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.lock().unwrap().script.extend(replies);
    }
    /// Nobody gets an answer until permits are added.
    pub(crate) fn close(&self) {
        self.gate.forget_permits(self.gate.available_permits());
    }
    pub(crate) fn asked<T>(&self, look: impl FnOnce(&[Asked]) -> T) -> T {
        look(&self.state.lock().unwrap().asked)
    }
    pub(crate) fn is_revoked(&self) -> bool {
        self.state.lock().unwrap().revoked
    }
    /// Somebody else refreshes.
    pub(crate) fn rotate(&self) -> Json {
        self.state.lock().unwrap().issue(true)
    }

    fn answer(&self, asked: &Asked) -> Json {
        let mut state = self.state.lock().unwrap();
        if asked.form.get("grant_type").map(String::as_str) != Some("refresh_token") {
            return state.issue(false);
        }
        let token = asked.form.get("refresh_token").cloned().unwrap_or_default();
        let is_current = state.current.as_ref().is_none_or(|current| *current == token);
        let is_known = is_current || self.lenient.load(Ordering::SeqCst);
        if state.revoked || !is_known {
            state.revoked |= state.spent.contains(&token);
            return json!({"error": "invalid_grant", "error_description": format!("{token} is spent")});
        }
        let rotates = self.rotates.load(Ordering::SeqCst);
        if rotates {
            state.spent.insert(token);
        }
        state.issue(rotates)
    }
}

impl State {
    fn issue(&mut self, with_refresh: bool) -> Json {
        self.issued += 1;
        let mut answer = json!({"access_token": format!("access-{}", self.issued), "expires_in": 3600});
        if with_refresh {
            let refresh = format!("refresh-{}", self.issued);
            answer["refresh_token"] = refresh.as_str().into();
            self.current = Some(refresh);
        }
        answer
    }
}

#[async_trait]
impl Carrier for Server {
    async fn send(&self, request: Request, _: usize) -> Result<Response, Failure> {
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        let form = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let headers = request.headers.clone();
        let asked = Asked { url: request.url.clone(), headers, form, body: body.clone() };
        let reply = {
            let mut state = self.state.lock().unwrap();
            state.asked.push(Asked {
                url: asked.url.clone(),
                headers: asked.headers.clone(),
                body,
                form: asked.form.clone(),
            });
            state.script.pop_front()
        };
        self.gate.acquire().await.unwrap().forget();
        match reply {
            Some(Reply::Unreachable) => Err(failure("refused", Effect::None)),
            Some(Reply::Lost) => {
                self.answer(&asked);
                Err(failure("reset", Effect::Unknown))
            }
            Some(Reply::Status(status, headers, body)) => Ok(response(status, headers, &body)),
            None => {
                let body = self.answer(&asked);
                let status = if body.get("error").is_some() { 400 } else { 200 };
                Ok(response(status, &[], &body))
            }
        }
    }
}

fn failure(what: &str, effect: Effect) -> Failure {
    Failure { fault: Fault::connection(what), effect, response: None }
}

pub(crate) fn response(status: u16, headers: &[(&'static str, &'static str)], body: &Json) -> Response {
    let mut map = HeaderMap::new();
    map.insert("content-type", "application/json".parse().unwrap());
    headers.iter().for_each(|(name, value)| {
        map.insert(*name, value.parse().unwrap());
    });
    let body = match body {
        Json::String(text) => text.clone().into(),
        body => body.to_string().into(),
    };
    Response { status: StatusCode::from_u16(status).unwrap(), headers: map, body, cached: false }
}

/// In memory; it can be told to fail.
#[derive(Default)]
pub(crate) struct MemoryVault {
    kept: Mutex<HashMap<String, (u64, Secret)>>,
    /// How many writes still succeed.
    writes: Mutex<Option<usize>>,
    pub(crate) shared: AtomicBool,
    generation: AtomicUsize,
}

impl MemoryVault {
    pub(crate) fn fail_after(&self, writes: Option<usize>) {
        *self.writes.lock().unwrap() = writes;
    }
    pub(crate) fn json(&self) -> Json {
        let kept = self.kept.lock().unwrap();
        kept.get("connection/crm")
            .map_or(Json::Null, |(_, text)| serde_json::from_str(text.expose()).unwrap())
    }
    pub(crate) fn set(&self, value: &Json) {
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) as u64;
        let value = Secret::new(value.to_string());
        self.kept.lock().unwrap().insert("connection/crm".into(), (generation, value));
    }
}

#[async_trait]
impl Vault for MemoryVault {
    fn is_shared(&self) -> bool {
        self.shared.load(Ordering::SeqCst)
    }
    async fn get(&self, name: &str) -> Result<Option<Kept>, StoreError> {
        tokio::task::yield_now().await;
        let kept = self.kept.lock().unwrap().get(name).cloned();
        Ok(kept.map(|(generation, value)| Kept { value, generation }))
    }
    async fn put(&self, name: &str, value: Secret, expect: Expect) -> Result<u64, StoreError> {
        tokio::task::yield_now().await;
        match &mut *self.writes.lock().unwrap() {
            Some(0) => return Err(StoreError::Failed("the disk is full".into())),
            Some(left) => *left -= 1,
            None => {}
        }
        let mut kept = self.kept.lock().unwrap();
        let before = kept.get(name).map(|(generation, _)| *generation);
        let fits = match expect {
            Expect::Anything => true,
            Expect::Absent => before.is_none(),
            Expect::Generation(expected) => before == Some(expected),
        };
        if !fits {
            return Err(StoreError::Conflict { key: name.into() });
        }
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) as u64;
        kept.insert(name.into(), (generation, value));
        Ok(generation)
    }
    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.kept.lock().unwrap().remove(name);
        Ok(())
    }
    async fn names(&self, _: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.kept.lock().unwrap().keys().cloned().collect())
    }
}

/// They end with the test.
pub(crate) struct TestTasks;

impl Tasks for TestTasks {
    fn spawn(&self, _: &'static str, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        drop(tokio::runtime::Handle::current().spawn(task));
    }
}

pub(crate) struct World {
    pub(crate) clock: TestClock,
    pub(crate) server: Arc<Server>,
    pub(crate) vault: Arc<MemoryVault>,
    pub(crate) metrics: Arc<AuthMetrics>,
}

impl World {
    pub(crate) fn new() -> Self {
        let server = Server {
            state: Mutex::default(),
            gate: Semaphore::new(1_000),
            rotates: true.into(),
            lenient: false.into(),
        };
        let (clock, server) = (TestClock::still(), Arc::new(server));
        Self { clock, server, vault: Arc::default(), metrics: Arc::default() }
    }

    pub(crate) fn cx(&self) -> Build {
        Build {
            name: "crm".into(),
            base: None,
            carrier: Arc::clone(&self.server) as _,
            vault: Some(Arc::clone(&self.vault) as _),
            clock: Arc::new(self.clock.clone()),
            tasks: Arc::new(TestTasks),
            metrics: Arc::clone(&self.metrics),
            params: Default::default(),
            is_certified: false,
            lasting: Arc::new(TestTasks),
        }
    }

    /// Credentials with these settings beside where the server is.
    pub(crate) fn open(&self, settings: Json) -> Arc<OAuth2Credentials> {
        Arc::new(OAuth2Credentials::build(&spec(settings), self.cx()).unwrap())
    }

    /// A refresh token stands in the file.
    pub(crate) fn seeded(&self) -> Arc<OAuth2Credentials> {
        self.open(json!({"grant": "refresh_token", "refresh_token": "seed-token"}))
    }
}

pub(crate) fn spec(mut settings: Json) -> crate::spec::OAuth2 {
    let fields = settings.as_object_mut().unwrap();
    fields.entry("token_url").or_insert("https://as.example/token".into());
    fields.entry("client_id").or_insert("id".into());
    serde_json::from_value(settings).unwrap()
}

/// What goes with a request now.
pub(crate) async fn applied(credentials: &OAuth2Credentials) -> Result<(String, Stamp), Fault> {
    let mut request = Request::new(Method::GET, "https://api.example/".parse().unwrap());
    let stamp = credentials.apply(&mut request).await?;
    let header = request.headers.get("authorization").unwrap();
    Ok((header.to_str().unwrap().to_owned(), stamp))
}

pub(crate) async fn header(credentials: &OAuth2Credentials) -> String {
    applied(credentials).await.unwrap().0
}

pub(crate) async fn fault(credentials: &OAuth2Credentials) -> Fault {
    applied(credentials).await.unwrap_err()
}

/// Lets everybody run who can.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn now(clock: &TestClock) -> Millis {
    karez_api::Clock::now(clock)
}
