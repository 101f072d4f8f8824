//! The books of one connection: what was taken from which quota, and when the next turn comes.

use std::time::{Duration, Instant};

use http::StatusCode;
use karez_api::Clock;

use super::Charge;
use super::count::Count;
use super::learned::Learned;
use crate::Response;
use crate::spec::Limits;
use crate::told::{hints, retry_after};

/// After an answer 429 that does not say how long: this, and twice as long each time.
const FIRST_PENALTY: Duration = Duration::from_secs(1);
const LONGEST_PENALTY: Duration = Duration::from_secs(60);
/// However long a far end wants to be left alone, it is asked again after this.
const LONGEST_CLOSED: Duration = Duration::from_secs(3_600);
/// Quotas that one far end may tell of; more are junk.
const MOST_LEARNED: usize = 16;

pub(super) struct Book {
    counts: Vec<Count>,
    /// What the far end told: for the whole connection, then for each quota of the file that is about a part of it.
    scopes: Vec<Scope>,
    reserve: f64,
    /// Requests so far.
    sent: u64,
}

#[derive(Default)]
struct Scope {
    learned: Vec<Learned>,
    closed_until: Option<Instant>,
    /// Answers 429 without a good one in between.
    strikes: u32,
    flying: f64,
}

pub(super) enum Next {
    Now,
    After(Duration),
}

/// What is left of a quota.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct QuotaLeft {
    /// `quotas[0]` for those of the file, else the far end's own name.
    pub name: String,
    pub remaining: f64,
    pub limit: Option<f64>,
}

impl Book {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let reserve = f64::from(limits.reserve.unwrap_or(0).min(99)) / 100.0;
        Self {
            counts: limits.quotas.iter().map(|quota| Count::new(quota, 1.0 - reserve, now)).collect(),
            scopes: (0..=limits.quotas.len()).map(|_| Scope::default()).collect(),
            reserve,
            sent: 0,
        }
    }

    pub(super) fn next(&mut self, charge: Charge, now: Instant) -> Next {
        let kept = self.charged(charge).map(|count| count.pause(now)).max().unwrap_or_default();
        let told = self.scopes[charge.scope].pause(self.reserve, now);
        match kept.max(told) {
            pause if pause.is_zero() => Next::Now,
            pause => Next::After(pause),
        }
    }

    /// Takes a turn, if it is one. Yields the request's number.
    pub(super) fn take(&mut self, charge: Charge, now: Instant) -> Option<u64> {
        let Next::Now = self.next(charge, now) else { return None };
        self.charged(charge).for_each(Count::take);
        let scope = &mut self.scopes[charge.scope];
        scope.flying += 1.0;
        scope.learned.iter_mut().for_each(|learned| learned.take(1.0));
        self.sent += 1;
        Some(self.sent)
    }

    pub(super) fn settle(&mut self, charge: Charge, now: Instant) {
        self.charged(charge).for_each(|count| count.settle(now));
        self.scopes[charge.scope].flying -= 1.0;
    }

    /// Yields whether there is anything to wait for now.
    pub(super) fn learn(
        &mut self,
        charge: Charge,
        number: u64,
        answer: &Response,
        clock: &dyn Clock,
    ) -> bool {
        // Most answers say nothing, and cost nothing.
        let limited = answer.status == StatusCode::TOO_MANY_REQUESTS || speaks(answer);
        let scope = &mut self.scopes[charge.scope];
        if !limited {
            scope.strikes = 0;
            return false;
        }
        let now = clock.instant();
        scope.learn(number, answer, clock, now);
        if let Some(pause) = scope.penalty(answer, clock) {
            scope.closed_until = scope.closed_until.max(Some(now + pause.min(LONGEST_CLOSED)));
        }
        true
    }

    pub(super) fn left(&mut self, now: Instant) -> Vec<QuotaLeft> {
        let kept = self.counts.iter_mut().enumerate().map(|(number, count)| {
            let (remaining, limit) = count.left(now);
            QuotaLeft { name: format!("quotas[{number}]"), remaining, limit: Some(limit) }
        });
        let told =
            self.scopes.iter().flat_map(|scope| &scope.learned).filter(|learned| !learned.is_over(now));
        let told = told.map(|learned| QuotaLeft {
            name: learned.name.clone(),
            remaining: learned.remaining(now).max(0.0),
            limit: learned.limit(),
        });
        kept.chain(told).collect()
    }

    pub(super) fn forget(&mut self) {
        for scope in &mut self.scopes {
            scope.learned.clear();
            scope.closed_until = None;
            scope.strikes = 0;
        }
    }

    fn charged(&mut self, charge: Charge) -> impl Iterator<Item = &mut Count> {
        self.counts
            .iter_mut()
            .enumerate()
            .filter(move |(number, _)| charge.rules & 1 << number != 0)
            .map(|(_, count)| count)
    }
}

impl Scope {
    fn pause(&mut self, reserve: f64, now: Instant) -> Duration {
        self.learned.retain(|learned| !learned.is_over(now));
        let closed = self.closed_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        self.learned.iter().map(|learned| learned.pause(reserve, now)).max().unwrap_or_default().max(closed)
    }

    fn learn(&mut self, number: u64, answer: &Response, clock: &dyn Clock, now: Instant) {
        // The request that was answered is counted there.
        let flying = self.flying - 1.0;
        for hint in hints(&answer.headers, clock.now()) {
            match self.learned.iter().position(|learned| learned.name == hint.name) {
                Some(known) => self.learned[known].update(hint, number, flying, now),
                None if self.learned.len() < MOST_LEARNED => {
                    self.learned.push(Learned::new(hint, number, flying, now));
                }
                None => {}
            }
        }
    }

    /// How long nothing is sent after this answer. What `Retry-After` says goes before all else.
    fn penalty(&mut self, answer: &Response, clock: &dyn Clock) -> Option<Duration> {
        let refused = answer.status == StatusCode::TOO_MANY_REQUESTS;
        let told = retry_after(&answer.headers, clock.now());
        if !refused {
            self.strikes = 0;
            let asks = matches!(answer.status.as_u16(), 403 | 503);
            return told.filter(|_| asks);
        }
        // Several answers to requests of one moment are one strike.
        let closed = self.closed_until.is_some_and(|until| clock.instant() < until);
        let strikes = self.strikes;
        self.strikes += u32::from(!closed);
        let spent = || {
            let pauses = self.learned.iter().map(|learned| learned.pause(0.0, clock.instant()));
            pauses.max().filter(|pause| !pause.is_zero())
        };
        told.or_else(spent).or_else(|| {
            (!closed).then(|| FIRST_PENALTY.saturating_mul(1 << strikes.min(10)).min(LONGEST_PENALTY))
        })
    }
}

/// Whether an answer says anything about how often we may come.
fn speaks(answer: &Response) -> bool {
    answer.headers.keys().any(|name| {
        let name = name.as_str();
        name == "retry-after"
            || name.contains("ratelimit")
            || name.starts_with("x-rate-limit")
            || name == "x-shopify-shop-api-call-limit"
            || name == "sforce-limit-info"
    })
}
