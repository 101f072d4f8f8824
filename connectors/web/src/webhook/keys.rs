//! The keys of senders that publish them: fetched one at a time, kept, and fetched again seldom
//! enough that nobody can make this machine trouble another one. What they prove is in `verify`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use karez_api::{Clock, Millis, Tasks};
use reqwest::Url;
use tokio::sync::{Mutex as Turn, oneshot};
use tracing::warn;

use super::fetch::Fetcher;
use super::verify::{Fetched, Known, Missing};

/// How long an address is left alone once it was tried, in milliseconds.
const PAUSE: u64 = 60_000;

/// Most addresses that are tried within that time: requests may name many.
const MOST_TRIES: usize = 10;

/// How long a set of keys is kept before it is fetched again, in milliseconds.
const SET_AGE: u64 = 3_600_000;

pub(super) struct Keys {
    fetcher: Arc<Fetcher>,
    clock: Arc<dyn Clock>,
    tasks: Arc<dyn Tasks>,
    known: Mutex<Arc<Known>>,
    /// What was tried within the pause. Held while something is fetched, so that each is fetched once.
    tries: Turn<Vec<(Millis, Url)>>,
    /// The set that the file names.
    set: Option<Missing>,
    /// When that is fetched again without being asked for.
    next_refresh: AtomicU64,
}

/// A key that cannot be had now.
pub(super) struct Unavailable;

impl Keys {
    pub(super) fn new(
        fetcher: Arc<Fetcher>,
        clock: Arc<dyn Clock>,
        tasks: Arc<dyn Tasks>,
        set: Option<Missing>,
    ) -> Self {
        let (known, tries, next_refresh) = Default::default();
        Self { fetcher, clock, tasks, known, tries, set, next_refresh }
    }

    pub(super) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has the set of the file fetched when it is due, while requests are judged by the one that is known.
    pub(super) fn refresh(self: &Arc<Self>) {
        let Some(set) = &self.set else {
            return;
        };
        let now = self.clock.now().0;
        let due = self.next_refresh.load(Ordering::Relaxed);
        let next = now.saturating_add(SET_AGE);
        let is_ours =
            || self.next_refresh.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if now >= due && is_ours() {
            let (keys, set) = (Arc::clone(self), set.clone());
            self.tasks.spawn(
                "webhook keys",
                Box::pin(async move {
                    if keys.fetch(&set, &keys.known()).await.is_err() {
                        keys.next_refresh.store(now.saturating_add(PAUSE), Ordering::Relaxed);
                    }
                }),
            );
        }
    }

    /// What is known once `missing` was fetched. By a task of its own: a sender that hangs up ends its request, but
    /// not what others wait for.
    ///
    /// # Errors
    /// It cannot be had, or was tried too short a time ago. What was known stays known.
    pub(super) async fn with(
        self: &Arc<Self>,
        missing: Missing,
        seen: Arc<Known>,
    ) -> Result<Arc<Known>, Unavailable> {
        let (tell, told) = oneshot::channel();
        let keys = Arc::clone(self);
        self.tasks.spawn(
            "webhook keys",
            Box::pin(async move {
                let fetched = keys.fetch(&missing, &seen).await;
                // Whoever asked may be gone.
                drop(tell.send(fetched));
            }),
        );
        told.await.unwrap_or(Err(Unavailable))
    }

    /// Unless somebody else has fetched it since `seen`.
    async fn fetch(&self, missing: &Missing, seen: &Known) -> Result<Arc<Known>, Unavailable> {
        let mut tries = self.tries.lock().await;
        let (known, address) = (self.known(), &missing.address);
        if known.fetched_at(address) > seen.fetched_at(address) {
            return Ok(known);
        }
        let now = self.clock.now();
        tries.retain(|(at, _)| now.0.saturating_sub(at.0) < PAUSE);
        if tries.len() >= MOST_TRIES || tries.iter().any(|(_, tried)| tried == address) {
            return Err(Unavailable);
        }
        tries.push((now, address.clone()));
        let bytes = self.fetcher.get(address.clone()).await;
        let fetched = bytes.and_then(|bytes| Fetched::read(missing, &bytes, now));
        match fetched {
            Ok(fetched) => {
                let known = Arc::new(known.with(address.clone(), fetched));
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&known);
                Ok(known)
            }
            Err(error) => {
                warn!(%error, %address, "keys of a sender cannot be fetched");
                Err(Unavailable)
            }
        }
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
