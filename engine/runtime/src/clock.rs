//! The system's clock: the one place that asks it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use karez_api::{Clock, Millis};

/// Real time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock module")]
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn instant(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// A wall clock that stands, and goes on by what is slept through: what begins at one moment is asked for as of that
/// moment, however long it takes.
#[derive(Debug, Clone)]
pub struct Standing {
    now: Arc<AtomicU64>,
}

impl Standing {
    #[must_use]
    pub fn at(now: Millis) -> Self {
        Self { now: Arc::new(now.0.into()) }
    }
}

impl Clock for Standing {
    fn now(&self) -> Millis {
        Millis(self.now.load(Ordering::SeqCst))
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = self.clone();
        let until = clock.now().0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Box::pin(async move {
            SystemClock.sleep(time).await;
            // Others may have slept longer meanwhile.
            clock.now.fetch_max(until, Ordering::SeqCst);
        })
    }
}
