//! Quotas that the far end keeps and tells of with its answers.

use std::time::{Duration, Instant};

use crate::told::{Hint, Refill};

/// Resets that are no further apart are the same one.
const SAME: Duration = Duration::from_millis(500);

pub(super) struct Learned {
    pub(super) name: String,
    limit: Option<f64>,
    remaining: f64,
    refill: Refill,
    at: Instant,
    /// Number of the request whose answer told it: an older one may be answered later.
    told_by: u64,
}

impl Learned {
    /// `flying` other requests are on their way, and may not have been counted there yet.
    pub(super) fn new(hint: Hint, told_by: u64, flying: f64, now: Instant) -> Self {
        let Hint { name, limit, remaining, refill } = hint;
        Self { name, limit, remaining: remaining - flying, refill, at: now, told_by }
    }

    pub(super) fn update(&mut self, hint: Hint, told_by: u64, flying: f64, now: Instant) {
        let older = told_by < self.told_by;
        let fresh = Self::new(hint, told_by.max(self.told_by), flying, now);
        match (self.resets_at(), fresh.resets_at()) {
            // Answers overtake each other: of what is told of one stretch of time, the least counts.
            (Some(known), Some(told)) if apart(known, told) < SAME => {
                self.remaining = self.remaining.min(fresh.remaining);
                self.told_by = fresh.told_by;
            }
            // Of the stretch before.
            (Some(known), Some(told)) if older && told < known => {}
            _ if older && fresh.remaining >= self.remaining => {}
            _ => *self = fresh,
        }
    }

    fn resets_at(&self) -> Option<Instant> {
        match self.refill {
            Refill::After(time) => Some(self.at + time),
            Refill::PerSecond(_) => None,
        }
    }

    /// Nothing is known any more: everything is back.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        matches!(self.refill, Refill::After(time) if now >= self.at + time)
    }

    pub(super) fn pause(&self, reserve: f64, now: Instant) -> Duration {
        let missing = 1.0 + self.limit.unwrap_or_default() * reserve - self.remaining(now);
        match self.refill {
            _ if missing <= 1e-3 => Duration::ZERO,
            Refill::After(time) => (self.at + time).saturating_duration_since(now),
            Refill::PerSecond(rate) => {
                Duration::try_from_secs_f64(missing / rate).unwrap_or(Duration::from_secs(60))
            }
        }
    }

    pub(super) fn take(&mut self, cost: f64) {
        self.remaining -= cost;
    }

    pub(super) fn limit(&self) -> Option<f64> {
        self.limit
    }

    pub(super) fn remaining(&self, now: Instant) -> f64 {
        match self.refill {
            Refill::After(_) => self.remaining,
            Refill::PerSecond(rate) => {
                let back = now.saturating_duration_since(self.at).as_secs_f64() * rate;
                (self.remaining + back).min(self.limit.unwrap_or(f64::INFINITY))
            }
        }
    }
}

fn apart(one: Instant, other: Instant) -> Duration {
    one.saturating_duration_since(other).max(other.saturating_duration_since(one))
}
