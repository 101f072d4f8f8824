//! One request with its answer, and all of a run: what a fixture file holds.

use std::collections::BTreeMap;

use http::HeaderName;
use karez_api::Millis;
use serde::{Deserialize, Serialize};

use super::Payload;

/// Parts of the names of headers that replay needs: how long an answer is fresh, what comes next, what is left.
const KEPT: [&str; 12] = [
    "content-type",
    "continuation",
    "cursor",
    "etag",
    "last-modified",
    "link",
    "next",
    "page",
    "ratelimit",
    "rate-limit",
    "retry-after",
    "total",
];

/// A request and its answer, without what says who we are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// What was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Payload>,
    pub status: u16,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Payload>,
}

impl Exchange {
    /// Those that are equal here are the same request.
    pub(super) fn key(method: &str, target: &str, request: Option<&Payload>) -> String {
        format!("{method} {target}\n{}", request.map(Payload::text).unwrap_or_default())
    }

    /// `GET /items?page=2`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// What passed in one run of a pipeline's sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// When the run began, in milliseconds since 1970: windows end there.
    pub now: Millis,
    /// It was ended by a limit, not by the sources.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// Where each connection was: addresses of next pages are behind it.
    #[serde(default)]
    pub connections: BTreeMap<String, String>,
    pub exchanges: Vec<Exchange>,
}

impl Fixture {
    /// With the headers only that a replay needs.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        for exchange in &mut self.exchanges {
            exchange.headers.retain(|name, _| is_kept(name));
        }
        self
    }
}

fn is_kept(name: &str) -> bool {
    name == "date" || KEPT.iter().any(|part| name.contains(part))
}

/// Whether a header of an answer may be seen: it is neither a cookie nor a credential; the token of a page is none.
pub(super) fn is_shown(name: &HeaderName) -> bool {
    let pages = ["next", "page", "cursor", "continuation"];
    let of_a_page = pages.iter().any(|part| name.as_str().contains(part));
    !crate::is_private(name) || (of_a_page && !name.as_str().contains("auth"))
}
