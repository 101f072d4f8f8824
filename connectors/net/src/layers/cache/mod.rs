//! Answers that are used again: by the rules of RFC 9111 (a private cache), or for a time that somebody set.
//! Only of requests that change nothing; a request that changes something makes them forget what stood there.

mod entry;
mod flights;
mod memory;
mod redis;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use http_cache_semantics::{AfterResponse, BeforeRequest};
use karez_api::Clock;
use sha2::{Digest as _, Sha256};

use super::deadline::Deadline;
use crate::metrics::CacheMetrics;
use crate::spec::CacheSpec;
use crate::{Failure, Request, Response, Reuse};
use entry::{Asked, Entry, Rule};
use flights::{Flights, Turn};
use memory::Memory;
use redis::Redis;
pub(crate) use redis::address;

const SIZE: u64 = 64 << 20;

/// An answer without any of these is neither fresh for a while, nor can it be asked whether it has changed.
const KEPT_BY: [HeaderName; 4] =
    [header::CACHE_CONTROL, header::EXPIRES, header::ETAG, header::LAST_MODIFIED];

/// The answers of one connection. Another connection never sees them.
pub(crate) struct Cache {
    store: Store,
    /// Whether answers are kept that nobody asked to keep.
    by_itself: bool,
    ttl: Option<Duration>,
    flights: Flights,
    clock: Arc<dyn Clock>,
}

/// Asks the far end.
pub(super) trait Ask: Send {
    fn ask(self, request: Cow<'_, Request>) -> impl Future<Output = Result<Response, Failure>> + Send;
}

enum Store {
    Memory(Memory),
    Redis(Box<Redis>),
}

impl Cache {
    /// `owner` is the connection with its settings: what is kept elsewhere is kept under it.
    ///
    /// # Errors
    /// The address of the Redis server cannot be read.
    pub(crate) fn new(spec: Option<&CacheSpec>, owner: &str, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let size = spec.and_then(|spec| spec.size).map_or(SIZE, |size| size.0);
        let store = match spec.and_then(|spec| spec.redis.as_ref()) {
            Some(server) => Store::Redis(Box::new(Redis::new(server, owner, Arc::clone(&clock))?)),
            None => Store::Memory(Memory::new(usize::try_from(size).unwrap_or(usize::MAX))),
        };
        let ttl = spec.and_then(|spec| spec.ttl).map(|ttl| ttl.0);
        Ok(Self { store, by_itself: spec.is_some(), ttl, flights: Flights::default(), clock })
    }

    /// Whether a request has anything to do with it.
    pub(crate) fn concerns(&self, request: &Request) -> bool {
        self.by_itself || matches!(request.reuse, Reuse::For { .. })
    }

    /// An answer of before, or of who asks the same now, if one will do; else that of `send`. What is `cached` was not
    /// judged for who asks.
    pub(super) async fn call(
        &self,
        request: &Request,
        deadline: &Deadline,
        metrics: &CacheMetrics,
        send: impl Ask,
    ) -> Result<Response, Failure> {
        // Under a key of its own, whatever is asked is a question.
        if !request.method.is_safe() && !matches!(request.reuse, Reuse::For { .. }) {
            return self.change(request, send).await;
        }
        let Some((key, rule)) = self.rule(request) else { return send.ask(Cow::Borrowed(request)).await };
        match rule {
            Rule::Until(ttl, with) => {
                let kept = Kept { key, ttl, with };
                self.timed(&kept, request, deadline, metrics, send).await
            }
            Rule::Standard => self.standard(key, request, metrics, send).await,
        }
    }

    /// Forgets everything: the connection is somebody else now.
    pub(crate) async fn forget(&self) {
        match &self.store {
            Store::Memory(memory) => memory.clear(),
            Store::Redis(redis) => redis.clear().await,
        }
    }

    /// Under which key an answer is looked for and kept, if at all.
    fn rule(&self, request: &Request) -> Option<(String, Rule)> {
        let plain = matches!(request.method, Method::GET | Method::HEAD) && is_plain(&request.headers);
        match (&request.reuse, self.ttl) {
            (Reuse::Never, _) => None,
            (Reuse::For { key, ttl }, _) => Some((format!("for {key}"), Rule::Until(*ttl, None))),
            (Reuse::Connection, _) if !self.by_itself || !plain => None,
            (Reuse::Connection, Some(ttl)) => {
                Some((address_key(request), Rule::Until(ttl, Some(asked_with(&request.headers)))))
            }
            (Reuse::Connection, None) => Some((address_key(request), Rule::Standard)),
        }
    }

    /// Who asks the same at the same time is answered together.
    async fn timed(
        &self,
        kept: &Kept,
        request: &Request,
        deadline: &Deadline,
        metrics: &CacheMetrics,
        send: impl Ask,
    ) -> Result<Response, Failure> {
        loop {
            let mut flight = match self.flights.turn(&kept.question()) {
                Turn::First(lead) => {
                    let outcome = self.looked_up(kept, request, metrics, send).await;
                    lead.tell(&outcome);
                    return outcome;
                }
                Turn::After(flight) => flight,
            };
            let told = deadline.within(&*self.clock, flight.told()).await;
            if let Some(answer) = told.ok_or_else(|| deadline.not_sent(request))? {
                metrics.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(answer);
            }
        }
    }

    async fn looked_up(
        &self,
        Kept { key, ttl, with }: &Kept,
        request: &Request,
        metrics: &CacheMetrics,
        send: impl Ask,
    ) -> Result<Response, Failure> {
        if let Some(entry) = self.get(key, metrics).await.filter(|entry| entry.with == *with)
            && let Some(answer) = entry.within_time(self.clock.now())
        {
            metrics.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(answer);
        }
        metrics.misses.fetch_add(1, Ordering::Relaxed);
        let answer = send.ask(Cow::Borrowed(request)).await?;
        if answer.status.is_success() {
            let entry = Entry { with: with.clone(), ..Entry::timed(&answer, *ttl, self.clock.now()) };
            self.put(key.clone(), entry, *ttl, metrics).await;
        }
        Ok(answer)
    }

    async fn standard(
        &self,
        key: String,
        request: &Request,
        metrics: &CacheMetrics,
        send: impl Ask,
    ) -> Result<Response, Failure> {
        let old = self.get(&key, metrics).await.filter(|entry| entry.policy.is_some());
        if old.is_none() {
            return self.first(key, request, metrics, send).await;
        }
        let Some(asked) = Asked::new(request) else { return send.ask(Cow::Borrowed(request)).await };
        let before = old.as_ref().and_then(|old| old.before(&asked, self.clock.now()));
        if let (Some(old), Some(BeforeRequest::Fresh(parts))) = (&old, &before) {
            metrics.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(old.answer(parts.status, parts.headers.clone()));
        }
        let conditional = match &before {
            Some(BeforeRequest::Stale { request: parts, matches: true }) => {
                conditional(request, &parts.headers)
            }
            _ => None,
        };
        let was_conditional = conditional.is_some();
        let answer = send.ask(conditional.map_or(Cow::Borrowed(request), Cow::Owned)).await?;
        let now = self.clock.now();
        if was_conditional
            && answer.status == StatusCode::NOT_MODIFIED
            && let Some(old) = &old
            && let Some(AfterResponse::NotModified(policy, parts)) = old.after(&asked, &answer, now)
        {
            metrics.unchanged.fetch_add(1, Ordering::Relaxed);
            let renewed = old.answer(parts.status, parts.headers);
            self.keep(key, Entry::standard(&renewed, policy), metrics).await;
            return Ok(renewed);
        }
        metrics.misses.fetch_add(1, Ordering::Relaxed);
        let policy = asked.policy(&answer, now);
        if policy.is_storable() && answer.status != StatusCode::NOT_MODIFIED {
            self.keep(key, Entry::standard(&answer, policy), metrics).await;
        }
        Ok(answer)
    }

    /// An answer to a question that was not asked before.
    async fn first(
        &self,
        key: String,
        request: &Request,
        metrics: &CacheMetrics,
        send: impl Ask,
    ) -> Result<Response, Failure> {
        metrics.misses.fetch_add(1, Ordering::Relaxed);
        let answer = send.ask(Cow::Borrowed(request)).await?;
        // Most APIs say nothing of it, and then there is nothing to keep.
        if KEPT_BY.iter().any(|name| answer.headers.contains_key(name))
            && let Some(asked) = Asked::new(request)
        {
            let policy = asked.policy(&answer, self.clock.now());
            if policy.is_storable() {
                self.keep(key, Entry::standard(&answer, policy), metrics).await;
            }
        }
        Ok(answer)
    }

    /// A request that changes something there (RFC 9111 §4.4).
    async fn change(&self, request: &Request, send: impl Ask) -> Result<Response, Failure> {
        if !self.by_itself {
            return send.ask(Cow::Borrowed(request)).await;
        }
        let keys = [format!("GET {}", request.url), format!("HEAD {}", request.url)];
        let answer = send.ask(Cow::Borrowed(request)).await?;
        for key in keys {
            match &self.store {
                Store::Memory(memory) => memory.remove(&key),
                Store::Redis(redis) => redis.remove(&key).await,
            }
        }
        Ok(answer)
    }

    async fn keep(&self, key: String, entry: Entry, metrics: &CacheMetrics) {
        let lifetime = entry.lifetime(self.clock.now());
        if !lifetime.is_zero() {
            self.put(key, entry, lifetime, metrics).await;
        }
    }

    async fn get(&self, key: &str, metrics: &CacheMetrics) -> Option<Arc<Entry>> {
        match &self.store {
            Store::Memory(memory) => memory.get(key),
            Store::Redis(redis) => redis.get(key, metrics).await.map(Arc::new),
        }
    }

    async fn put(&self, key: String, entry: Entry, lifetime: Duration, metrics: &CacheMetrics) {
        match &self.store {
            Store::Memory(memory) => memory.put(key, entry),
            Store::Redis(redis) => redis.put(&key, &entry, lifetime, metrics).await,
        }
    }
}

/// Where an answer is kept for a time, and for how long.
struct Kept {
    key: String,
    ttl: Duration,
    with: Option<String>,
}

impl Kept {
    /// The same for all whom one answer serves.
    fn question(&self) -> Cow<'_, str> {
        match &self.with {
            None => (&self.key).into(),
            Some(with) => format!("{} {with}", self.key).into(),
        }
    }
}

/// What may make the answers of one address differ, where the far end is not asked what does (`Vary`).
fn asked_with(headers: &HeaderMap) -> String {
    let mut lines: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    lines.sort_unstable();
    let mut hash = Sha256::new();
    for (name, value) in lines {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update((value.len() as u64).to_le_bytes());
        hash.update(value);
    }
    hex::encode(&hash.finalize()[..16])
}

fn address_key(request: &Request) -> String {
    format!("{} {}", request.method, request.url)
}

/// Whether the caller leaves it to us what is asked: neither a part nor a condition.
fn is_plain(headers: &HeaderMap) -> bool {
    [
        header::RANGE,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_MATCH,
        header::IF_UNMODIFIED_SINCE,
    ]
    .iter()
    .all(|name| !headers.contains_key(name))
}

/// The same request for an answer only if it is another one, where there is something to tell it by.
fn conditional(request: &Request, wanted: &HeaderMap) -> Option<Request> {
    let condition: HeaderMap = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE]
        .into_iter()
        .filter_map(|name| wanted.get(&name).map(|value| (name.clone(), value.clone())))
        .collect();
    if condition.is_empty() {
        return None;
    }
    let mut request = request.clone();
    request.headers.extend(condition);
    Some(request)
}

#[cfg(test)]
mod tests;
