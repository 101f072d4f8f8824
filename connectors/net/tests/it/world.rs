//! What the engine lends to connections, for tests: a clock that can be put forward, and a vault in memory.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use http::Method;
use karez_api::{Clock, Expect, Json, Kept, Millis, Secret, StoreError, Vault};
use karez_net::login::Account;
use karez_net::{Connection, Connections, Failure, Options, Request, Response, check};
use serde_json::json;

use crate::browser::{Browser, CALLBACK};
use crate::provider::Provider;

/// The system's, put forward by some time.
#[derive(Clone, Default)]
pub(crate) struct Ahead(Arc<AtomicU64>);

impl Ahead {
    pub(crate) fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }
    fn by(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl Clock for Ahead {
    #[expect(clippy::disallowed_methods, reason = "it is the clock of these tests")]
    fn now(&self) -> Millis {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + self.by();
        Millis(now.as_millis() as u64)
    }
    fn instant(&self) -> Instant {
        Instant::now() + self.by()
    }
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(time))
    }
}

#[derive(Default)]
pub(crate) struct MemoryVault(Mutex<HashMap<String, Kept>>);

impl MemoryVault {
    pub(crate) fn json(&self, connection: &str) -> Json {
        let kept = self.0.lock().unwrap();
        let found = kept.get(&format!("connection/{connection}"));
        found.map_or(Json::Null, |kept| serde_json::from_str(kept.value.expose()).unwrap())
    }
    pub(crate) fn set(&self, connection: &str, value: &Json) {
        let mut all = self.0.lock().unwrap();
        let kept = all.get_mut(&format!("connection/{connection}")).unwrap();
        *kept = Kept { value: Secret::new(value.to_string()), generation: kept.generation + 1 };
    }
}

#[async_trait]
impl Vault for MemoryVault {
    async fn get(&self, name: &str) -> Result<Option<Kept>, StoreError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }
    async fn put(&self, name: &str, value: Secret, expect: Expect) -> Result<u64, StoreError> {
        let mut all = self.0.lock().unwrap();
        let before = all.get(name).map(|kept| kept.generation);
        let fits = match expect {
            Expect::Anything => true,
            Expect::Absent => before.is_none(),
            Expect::Generation(expected) => before == Some(expected),
        };
        if !fits {
            return Err(StoreError::Conflict { key: name.into() });
        }
        let generation = before.unwrap_or(0) + 1;
        all.insert(name.into(), Kept { value, generation });
        Ok(generation)
    }
    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }
    async fn names(&self, _: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }
}

/// A process of karez beside a server.
pub(crate) struct World {
    pub(crate) provider: Provider,
    pub(crate) clock: Ahead,
    pub(crate) vault: Arc<MemoryVault>,
    pub(crate) connections: Connections,
}

impl World {
    pub(crate) fn new() -> Self {
        let (clock, vault) = (Ahead::default(), Arc::<MemoryVault>::default());
        let connections = another(&clock, &vault);
        Self { provider: Provider::start(), clock, vault, connections }
    }

    /// A second process with the same vault.
    pub(crate) fn another(&self) -> Connections {
        another(&self.clock, &self.vault)
    }

    pub(crate) fn open(&self, connections: &Connections, client: &str, more: &Json) -> Arc<Connection> {
        self.open_at(connections, client, more, json!({"url": self.provider.issuer}))
    }

    /// The same behind TLS, with the certificate of `name`.
    pub(crate) fn secured(
        &self,
        connections: &Connections,
        client: &str,
        more: &Json,
        name: &str,
    ) -> Arc<Connection> {
        let settings = json!({"url": self.provider.secured, "tls": self.provider.keys.tls(name)});
        self.open_at(connections, client, more, settings)
    }

    fn open_at(
        &self,
        connections: &Connections,
        client: &str,
        more: &Json,
        mut settings: Json,
    ) -> Arc<Connection> {
        let mut auth = json!({"issuer": self.provider.issuer, "client_id": client});
        more.as_object().unwrap().iter().for_each(|(name, value)| auth[name] = value.clone());
        settings["allow_private"] = json!(["127.0.0.0/8"]);
        settings["auth"] = json!({ "oauth2": auth });
        connections.open(&check(client, &settings).unwrap_or_else(|problems| panic!("{problems:?}"))).unwrap()
    }

    /// Logs somebody in with a browser.
    pub(crate) async fn log_in(&self, connection: &Connection, who: &str) -> Result<String, String> {
        let logins = self.connections.logins();
        let account = connection.account().unwrap();
        let ticket = logins.invite(&account, CALLBACK, Account::Same).unwrap().ticket;
        let started = logins.start(ticket.expose()).await.map_err(|fault| fault.message().to_owned())?;
        let query = Browser::new().log_in(&started.location, who).await;
        let cookie = started.cookie.expose().split(';').next().unwrap();
        let done = logins.finish(&query, Some(cookie)).await;
        done.map(|done| done.subject.unwrap_or_default()).map_err(|fault| fault.message().to_owned())
    }
}

fn another(clock: &Ahead, vault: &Arc<MemoryVault>) -> Connections {
    Connections::new(Arc::new(clock.clone()), Some(Arc::clone(vault) as _), Options::default())
}

/// Asks the server who we are: that needs a token which counts there.
pub(crate) async fn who(connection: &Connection) -> Result<String, Failure> {
    let request = Request::new(Method::GET, connection.url("/me").unwrap());
    let Response { body, .. } = connection.call(request).await?;
    let body: Json = serde_json::from_slice(&body).unwrap();
    Ok(body["sub"].as_str().unwrap().to_owned())
}
