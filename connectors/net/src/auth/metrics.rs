//! What is counted of credentials.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Of one connection, since it was opened.
#[derive(Debug, Default)]
pub(crate) struct AuthMetrics {
    /// Tokens were got or renewed.
    pub(crate) refreshes: Counter,
    /// Tokens could not be got, or were refused.
    pub(crate) failures: Counter,
    /// Tokens had expired when they were wanted.
    pub(crate) expirations: Counter,
}

impl AuthMetrics {
    pub(crate) fn read(&self) -> TokensCounted {
        TokensCounted {
            refreshes: self.refreshes.get(),
            failures: self.failures.get(),
            expirations: self.expirations.get(),
        }
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct TokensCounted {
    /// Tokens were got or renewed.
    pub refreshes: u64,
    /// Tokens could not be got, or were refused.
    pub failures: u64,
    /// Tokens had expired when they were wanted.
    pub expirations: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
