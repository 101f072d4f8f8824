//! What the requests of one caller cost, whichever connection they go through. The connection counts for itself
//! beside it: its counters are everybody's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use crate::Response;

/// Counters that a caller lends to its requests and reads when it likes.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests that went on their way, redirects and repetitions included; not what a cache answered or a circuit
    /// turned away, nor how credentials were fetched.
    pub requests: AtomicU64,
    /// Those of them that say the same as one before: because it failed, or with other credentials.
    pub retries: AtomicU64,
    /// Time that calls waited for their turn, or because the far end asked for it (RFC 9110 §10.2.3).
    pub throttled_ms: AtomicU64,
    /// Answers that nothing has changed (304).
    pub not_modified: AtomicU64,
    /// Bodies of answers, decompressed, whatever their status.
    pub bytes: AtomicU64,
}

/// Whether a request says something for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saying {
    First,
    Again,
}

impl Tally {
    pub(crate) fn sent(&self, saying: Saying) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if saying == Saying::Again {
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
    }
    pub(crate) fn answered(&self, answer: &Response) {
        if answer.status == StatusCode::NOT_MODIFIED {
            self.not_modified.fetch_add(1, Ordering::Relaxed);
        }
        self.received(answer.body.len());
    }
    pub(crate) fn received(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    pub(crate) fn waited(&self, time: Duration) {
        self.throttled_ms.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
