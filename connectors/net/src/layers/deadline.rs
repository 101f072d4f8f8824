//! The end of a call's time. What is on its way then may have done something, what is not has done nothing.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::poll;
use karez_api::{Class, Clock, Fault};

use crate::transport::place;
use crate::{Effect, Failure, Request};

/// When a call ends, and how long that is after its beginning.
pub(crate) struct Deadline {
    pub(super) at: Instant,
    timeout: Duration,
}

impl Deadline {
    pub(crate) fn after(timeout: Duration, now: Instant) -> Self {
        Self { at: now + timeout, timeout }
    }

    /// What comes of it, if that is in time.
    pub(crate) async fn within<T>(&self, clock: &dyn Clock, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        // What is there already needs no timer.
        if let std::task::Poll::Ready(done) = poll!(work.as_mut()) {
            return Some(done);
        }
        tokio::select! {
            biased;
            done = work => Some(done),
            () = clock.sleep(self.at.saturating_duration_since(clock.instant())) => None,
        }
    }

    pub(super) fn not_sent(&self, request: &Request) -> Failure {
        self.over(request, "could not be sent", Effect::None)
    }

    pub(super) fn not_answered(&self, request: &Request) -> Failure {
        self.over(request, "was not answered", Effect::Unknown)
    }

    fn over(&self, request: &Request, what: &str, effect: Effect) -> Failure {
        let message = format!("{} {what} within {:?}", place(&request.method, &request.url), self.timeout);
        Failure { fault: Fault::new(Class::Connection, "timeout", message), effect, response: None }
    }
}
