//! Quotas that we keep ourselves. A request counts from when it is sent until after it was answered: the
//! far end counted it somewhere in between, so a limit that is kept here is never exceeded there.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::spec::Quota;

/// Longest pause where the next turn comes with the end of a call: that tells itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Count {
    kind: Kind,
    cost: f64,
    /// What requests that are on their way cost.
    flying: f64,
}

enum Kind {
    Bucket {
        level: f64,
        filled: Instant,
        interval: f64,
        burst: f64,
    },
    /// Ends of the requests of the last `length`.
    Window {
        ended: VecDeque<Instant>,
        length: Duration,
        most: f64,
    },
}

impl Count {
    /// `share` is the part of the quota that is ours.
    pub(super) fn new(quota: &Quota, share: f64, now: Instant) -> Self {
        let cost = f64::from(quota.cost.unwrap_or(1).max(1));
        let interval = quota.rate.map_or(f64::INFINITY, |rate| rate.interval);
        let kind = match quota.window {
            Some(window) => {
                let most = quota.requests.map_or(window.0.as_secs_f64() / interval, f64::from);
                // At least one: a share of less would be never.
                let most = ((most * share + 1e-9).floor()).max(cost);
                Kind::Window { ended: VecDeque::new(), length: window.0, most }
            }
            None => {
                let burst = f64::from(quota.burst.unwrap_or(1)).max(cost);
                Kind::Bucket { level: burst, filled: now, interval: interval / share, burst }
            }
        };
        Self { kind, cost, flying: 0.0 }
    }

    /// How long until the next request; zero for now.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        self.refresh(now);
        match &self.kind {
            Kind::Bucket { level, interval, .. } => {
                // A thousandth of a token is the rounding of many small refills.
                let missing = self.cost - level;
                if missing <= 1e-3 { Duration::ZERO } else { seconds(missing * interval) }
            }
            Kind::Window { ended, length, most } => {
                let used = self.flying + ended.len() as f64 * self.cost;
                match ended.front() {
                    _ if used + self.cost <= *most => Duration::ZERO,
                    Some(oldest) => {
                        (*oldest + *length).saturating_duration_since(now).max(Duration::from_micros(1))
                    }
                    None => LOOK_AGAIN,
                }
            }
        }
    }

    pub(super) fn take(&mut self) {
        self.flying += self.cost;
        if let Kind::Bucket { level, .. } = &mut self.kind {
            *level -= self.cost;
        }
    }

    pub(super) fn settle(&mut self, now: Instant) {
        self.refresh(now);
        self.flying -= self.cost;
        if let Kind::Window { ended, .. } = &mut self.kind {
            ended.push_back(now);
        }
    }

    /// What may be asked for at once now, of how much.
    pub(super) fn left(&mut self, now: Instant) -> (f64, f64) {
        self.refresh(now);
        match &self.kind {
            Kind::Bucket { level, burst, .. } => (level.max(0.0), *burst),
            Kind::Window { ended, most, .. } => {
                ((most - self.flying - ended.len() as f64 * self.cost).max(0.0), *most)
            }
        }
    }

    fn refresh(&mut self, now: Instant) {
        match &mut self.kind {
            Kind::Bucket { level, filled, interval, burst } => {
                // What is on its way may not have been counted there yet, and so does not come back yet.
                let most = (*burst - self.flying).max(self.cost);
                let fresh = now.saturating_duration_since(*filled).as_secs_f64() / *interval;
                *level = (*level + fresh).min(most);
                *filled = now.max(*filled);
            }
            Kind::Window { ended, length, .. } => {
                while ended.front().is_some_and(|oldest| *oldest + *length < now) {
                    ended.pop_front();
                }
            }
        }
    }
}

fn seconds(time: f64) -> Duration {
    Duration::try_from_secs_f64(time).unwrap_or(Duration::MAX / 4).max(Duration::from_micros(1))
}
