//! Looks into refused requests, seldom: whoever floods a webhook with forged ones must not get much looked into.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ::http::request::Parts;
use bytes::Bytes;
use karez_api::{Clock, Diagnosis};

use super::answer::Refusal;
use super::verify::{Asked, Case, Known};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);

/// Of one mounted webhook.
pub(super) struct Watch {
    /// Requests that were read are looked into apart from those whose head was enough: of the latter anybody sends many.
    heads: Slot,
    whole: Slot,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { heads: Slot::new(now), whole: Slot::new(now) }
    }

    /// What is wrong with a refused request, if it is time to say so. `body` is absent where it was not read.
    pub(super) fn look_into(
        &self,
        case: &Case,
        refusal: &Refusal,
        (parts, body): (&Parts, Option<&Bytes>),
        known: impl FnOnce() -> Arc<Known>,
        clock: &dyn Clock,
    ) -> Option<Diagnosis> {
        if !["signature", "timestamp"].contains(&refusal.reason) {
            return None;
        }
        let slot = if body.is_some() { &self.whole } else { &self.heads };
        let refused = slot.take(clock.instant())?;
        let at = clock.now();
        let explanation =
            case.explain(refusal, &Asked { parts, body: body.cloned(), known: &known(), now: at });
        let message = refusal.message();
        Some(Diagnosis { message, hint: explanation.hint, certain: explanation.certain, refused, at })
    }
}

/// When the next look is due, and how many were refused since the last.
struct Slot {
    begun: Instant,
    /// In milliseconds since it began.
    due: AtomicU64,
    refused: AtomicU64,
}

impl Slot {
    fn new(begun: Instant) -> Self {
        Self { begun, due: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    fn take(&self, now: Instant) -> Option<u64> {
        let refused = self.refused.fetch_add(1, Relaxed) + 1;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (due, now) = (self.due.load(Relaxed), millis(now.saturating_duration_since(self.begun)));
        let next = now.saturating_add(millis(EVERY));
        if now < due || self.due.compare_exchange(due, next, Relaxed, Relaxed).is_err() {
            return None;
        }
        self.refused.fetch_sub(refused, Relaxed);
        Some(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_looked_into_once_in_a_while() {
        let begun = Instant::now();
        let slot = Slot::new(begun);
        let at = |millis| slot.take(begun + Duration::from_millis(millis));
        assert_eq!(at(0), Some(1));
        assert_eq!((1..100).filter_map(at).count(), 0);
        assert_eq!(at(9_999), None);
        assert_eq!(at(10_000), Some(101));
        assert_eq!(at(10_001), None);
        assert_eq!(at(25_000), Some(2));
    }
}
