//! An answer that is kept, and what decides about its use.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use http_cache_semantics::{
    AfterResponse, BeforeRequest, CacheOptions, CachePolicy, RequestLike, ResponseLike,
};
use karez_api::Millis;

use crate::{Request, Response};

/// How long an answer is kept after it is stale, so that the far end can say that it has not changed.
const GRACE: Duration = Duration::from_secs(86_400);

/// By what it is decided whether an answer will do.
pub(super) enum Rule {
    /// RFC 9111.
    Standard,
    /// So long after it came, for who asks with the same headers.
    Until(Duration, Option<String>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) policy: Option<CachePolicy>,
    pub(super) until: Option<Millis>,
    /// What was asked with, where that matters.
    pub(super) with: Option<String>,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What was asked, without what says who asked: that is the same for all requests of the connection.
pub(super) struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Entry {
    pub(super) fn timed(answer: &Response, ttl: Duration, now: Millis) -> Self {
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        Self { until: Some(Millis(now.0.saturating_add(ttl))), policy: None, ..Self::of(answer) }
    }

    pub(super) fn standard(answer: &Response, policy: CachePolicy) -> Self {
        Self { policy: Some(policy), until: None, ..Self::of(answer) }
    }

    fn of(answer: &Response) -> Self {
        let mut headers = answer.headers.clone();
        // Belongs to the one exchange in which it was said.
        headers.remove(header::SET_COOKIE);
        let body = answer.body.clone();
        Self { policy: None, until: None, with: None, status: answer.status, headers, body }
    }

    /// The answer, if its time is not over.
    pub(super) fn within_time(&self, now: Millis) -> Option<Response> {
        self.until.filter(|until| now < *until).map(|_| self.answer(self.status, self.headers.clone()))
    }

    pub(super) fn answer(&self, status: StatusCode, headers: HeaderMap) -> Response {
        Response { status, headers, body: self.body.clone(), cached: true }
    }

    pub(super) fn before(&self, asked: &Asked, now: Millis) -> Option<BeforeRequest> {
        self.policy.as_ref().map(|policy| policy.before_request(asked, system(now)))
    }

    pub(super) fn after(&self, asked: &Asked, answer: &Response, now: Millis) -> Option<AfterResponse> {
        self.policy.as_ref().map(|policy| policy.after_response(asked, answer, system(now)))
    }

    /// How long it is worth keeping.
    pub(super) fn lifetime(&self, now: Millis) -> Duration {
        let fresh = self.policy.as_ref().map_or(Duration::ZERO, |policy| policy.time_to_live(system(now)));
        let can_be_asked =
            self.headers.contains_key(header::ETAG) || self.headers.contains_key(header::LAST_MODIFIED);
        if can_be_asked { fresh + GRACE } else { fresh }
    }

    /// Bytes in memory, about.
    pub(super) fn size(&self) -> usize {
        let headers = |headers: &HeaderMap| -> usize {
            headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum()
        };
        // The policy holds the headers once more.
        512 + 2 * headers(&self.headers) + self.body.len()
    }
}

impl Asked {
    pub(super) fn new(request: &Request) -> Option<Self> {
        let uri = request.url.as_str().parse().ok()?;
        let public = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
            let secret = value.is_sensitive() || matches!(*name, header::AUTHORIZATION | header::COOKIE);
            (!secret).then(|| (name.clone(), value.clone()))
        };
        let headers = request.headers.iter().filter_map(public).collect();
        Some(Self { method: request.method.clone(), uri, headers })
    }

    pub(super) fn policy(&self, answer: &Response, now: Millis) -> CachePolicy {
        // Freshness is never guessed: an API that says nothing may change at any time.
        let options = CacheOptions { shared: false, cache_heuristic: 0.0, ..CacheOptions::default() };
        CachePolicy::new_options(self, &Unset(answer, without_cookies(&answer.headers)), system(now), options)
    }
}

impl RequestLike for Asked {
    fn uri(&self) -> Uri {
        self.uri.clone()
    }
    fn is_same_uri(&self, other: &Uri) -> bool {
        self.uri == *other
    }
    fn method(&self) -> &Method {
        &self.method
    }
    fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

impl ResponseLike for Response {
    fn status(&self) -> StatusCode {
        self.status
    }
    fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

/// An answer without its cookies.
struct Unset<'a>(&'a Response, HeaderMap);

impl ResponseLike for Unset<'_> {
    fn status(&self) -> StatusCode {
        self.0.status
    }
    fn headers(&self) -> &HeaderMap {
        &self.1
    }
}

fn without_cookies(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove(header::SET_COOKIE);
    headers
}

fn system(now: Millis) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(now.0)
}
