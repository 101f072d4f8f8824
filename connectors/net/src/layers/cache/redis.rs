//! Answers in a Redis server, where several processes share them. A cache that cannot be asked is no
//! reason not to call: everything that fails here is a miss.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_cache_semantics::CachePolicy;
use karez_api::{Clock, Millis, Secret};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo as _, cmd};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use tracing::warn;

use super::entry::Entry;
use crate::metrics::CacheMetrics;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// After a failure the server is left alone for so long.
const PAUSE: Duration = Duration::from_secs(5);
/// Names that are looked through at once when all are removed.
const AT_ONCE: usize = 500;

pub(super) struct Redis {
    client: Client,
    /// Before all keys: whose they are.
    prefix: String,
    link: Mutex<Link>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Link {
    connection: Option<MultiplexedConnection>,
    /// Not before this.
    again: Option<Instant>,
}

/// All of an entry but its body, which follows it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
    policy: Option<CachePolicy>,
    until: Option<u64>,
    with: Option<String>,
}

/// # Errors
/// It is not the address of a Redis server, as a fragment that does not quote it.
pub(crate) fn address(server: &Secret) -> Result<Client, String> {
    let wrong = || "must be an address like redis://host:6379/0".to_owned();
    let server = server.expose();
    if !server.starts_with("redis://") {
        return Err(wrong());
    }
    server.into_connection_info().and_then(Client::open).map_err(|_| wrong())
}

impl Redis {
    pub(super) fn new(server: &Secret, owner: &str, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let prefix = format!("karez:http:{}:", digest(owner));
        Ok(Self { client: address(server)?, prefix, link: Mutex::default(), clock })
    }

    pub(super) async fn get(&self, key: &str, metrics: &CacheMetrics) -> Option<Entry> {
        let found: Option<Option<Vec<u8>>> = self.ask(cmd("GET").arg(self.key(key)), metrics).await;
        read(found??.into())
    }

    pub(super) async fn put(&self, key: &str, entry: &Entry, lifetime: Duration, metrics: &CacheMetrics) {
        let lifetime = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2);
        let Some(value) = write(entry) else { return };
        let _: Option<()> =
            self.ask(cmd("SET").arg(self.key(key)).arg(value).arg("PX").arg(lifetime), metrics).await;
    }

    pub(super) async fn remove(&self, key: &str) {
        let _: Option<()> = self.ask(cmd("UNLINK").arg(self.key(key)), &CacheMetrics::default()).await;
    }

    /// Removes all that is kept for this connection.
    pub(super) async fn clear(&self) {
        let metrics = CacheMetrics::default();
        let mut cursor = 0_u64;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}*", self.prefix)).arg("COUNT").arg(AT_ONCE);
            let found: Option<(u64, Vec<Vec<u8>>)> = self.ask(&scan, &metrics).await;
            let Some((next, keys)) = found else { return };
            if !keys.is_empty() {
                let _: Option<()> = self.ask(cmd("UNLINK").arg(keys), &metrics).await;
            }
            if next == 0 {
                return;
            }
            cursor = next;
        }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{}", self.prefix, digest(key))
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd, metrics: &CacheMetrics) -> Option<T> {
        let mut connection = self.connection(metrics).await?;
        match command.query_async(&mut connection).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.broken(metrics, &error).await;
                None
            }
        }
    }

    async fn connection(&self, metrics: &CacheMetrics) -> Option<MultiplexedConnection> {
        let mut link = self.link.lock().await;
        if let Some(connection) = &link.connection {
            return Some(connection.clone());
        }
        if link.again.is_some_and(|again| self.clock.instant() < again) {
            metrics.errors.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT));
        match self.client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => {
                link.connection = Some(connection.clone());
                Some(connection)
            }
            Err(error) => {
                drop(link);
                self.broken(metrics, &error).await;
                None
            }
        }
    }

    async fn broken(&self, metrics: &CacheMetrics, error: &redis::RedisError) {
        metrics.errors.fetch_add(1, Ordering::Relaxed);
        let mut link = self.link.lock().await;
        let known = link.again.is_some_and(|again| self.clock.instant() < again);
        *link = Link { connection: None, again: Some(self.clock.instant() + PAUSE) };
        if !known {
            // Its kind only: its words may quote the address.
            warn!(kind = ?error.kind(), "the cache in Redis cannot be asked, so the far end is");
        }
    }
}

fn digest(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..16])
}

/// The head as JSON on one line, then the body.
fn write(entry: &Entry) -> Option<Vec<u8>> {
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.to_string(), value.to_str().ok()?.to_owned()))
    };
    let head = Head {
        status: entry.status.as_u16(),
        headers: entry.headers.iter().filter_map(header).collect(),
        policy: entry.policy.clone(),
        until: entry.until.map(|until| until.0),
        with: entry.with.clone(),
    };
    let mut value = serde_json::to_vec(&head).ok()?;
    value.push(b'\n');
    value.extend_from_slice(&entry.body);
    Some(value)
}

/// What somebody else wrote there is a miss.
fn read(value: Bytes) -> Option<Entry> {
    let end = value.iter().position(|byte| *byte == b'\n')?;
    let head: Head = serde_json::from_slice(&value[..end]).ok()?;
    let header = |(name, value): (String, String)| {
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(&value).ok()?))
    };
    Some(Entry {
        policy: head.policy,
        until: head.until.map(Millis),
        with: head.with,
        status: StatusCode::from_u16(head.status).ok()?,
        headers: head.headers.into_iter().map(header).collect::<Option<HeaderMap>>()?,
        body: value.slice(end + 1..),
    })
}
