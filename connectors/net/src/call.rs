//! One call: what is asked, what comes back, and what it means when nothing good comes back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use karez_api::Fault;
use reqwest::Url;

use crate::{Rules, Tally};

/// A request that can be sent again: its body is in memory.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// For the whole call. Default: the connection's.
    pub timeout: Option<Duration>,
    /// Whether the client tries again by itself what may be tried again. Off where the engine retries.
    pub retries: bool,
    pub reuse: Reuse,
    /// Media types that are fine, like `application/json`; another under a good status is an error. None: any.
    pub accepts: Option<&'static [&'static str]>,
    /// Nobody needs the answer's body: of one that is long, slow or without end only the beginning is read.
    pub status_decides: bool,
    /// Most bytes of the answer. Default: the connection's `max_response`.
    pub max_response: Option<u64>,
    /// Where its work is counted beside the connection's own counters: what one run of a source cost.
    pub tally: Option<Arc<Tally>>,
    /// What errors look like at this address; asked before the connection's own rules.
    pub rules: Option<Arc<Rules>>,
}

impl Request {
    /// One that carries nothing yet, for one attempt.
    #[must_use]
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: None,
            retries: false,
            reuse: Reuse::default(),
            accepts: None,
            status_decides: false,
            max_response: None,
            tally: None,
            rules: None,
        }
    }
}

/// Whether an answer of before will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reuse {
    /// As the connection's `cache` says.
    #[default]
    Connection,
    Never,
    /// Under this key, for this long, whatever the answer's headers say.
    For {
        key: String,
        ttl: Duration,
    },
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Nothing was asked of the far end, or it said that nothing changed.
    pub cached: bool,
}

/// What a failed call may have done there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it did not arrive, or was turned away.
    None,
    /// Perhaps something.
    Unknown,
}

/// A call that yielded nothing to go on with.
#[derive(Debug, Clone)]
pub struct Failure {
    pub fault: Fault,
    pub effect: Effect,
    /// The answer, where there was one: for rules about 409 and the like.
    pub response: Option<Box<Response>>,
}
