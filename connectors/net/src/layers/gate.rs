//! How many calls run at once: a fixed number, or one that follows how fast the far end answers
//! (additive increase, multiplicative decrease on round-trip times, as Vector's adaptive request concurrency does).

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::lock;
use crate::spec::Concurrency;

const MOST: usize = 200;
/// Weight of the newest interval in the mean of round-trip times.
const ALPHA: f64 = 0.4;
/// Answers that take no more than this of the mean are as fast as before.
const EVEN: f64 = 1.01;
const DECREASE: f64 = 0.9;
/// So many deviations above the mean are slow.
const DEVIATIONS: f64 = 2.5;
/// Intervals shorter than this say nothing.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

pub(crate) struct Gate {
    room: Option<Semaphore>,
    limit: AtomicUsize,
    /// Places that go when they are given back: the limit fell below what was in use.
    surplus: AtomicUsize,
    adaptive: Option<Mutex<Pace>>,
}

/// What one interval saw, and what the ones before it did.
#[derive(Default)]
struct Pace {
    begun: Option<Instant>,
    sum: f64,
    answers: u32,
    pressed: bool,
    /// Whether the limit was reached.
    reached: bool,
    mean: f64,
    variance: f64,
}

/// What a call says of the far end's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Good,
    /// Too much: no answer in time, or one that asks for less.
    Pressed,
    /// Neither.
    Silent,
}

/// A place among those that run at once.
pub(crate) struct Place<'a> {
    gate: &'a Gate,
    permit: Option<SemaphorePermit<'a>>,
}

impl Gate {
    pub(crate) fn new(concurrency: Option<&Concurrency>) -> Self {
        let (room, adaptive) = match concurrency {
            None => (None, None),
            Some(Concurrency::Fixed(limit)) => (Some((*limit).max(1) as usize), None),
            Some(Concurrency::Adaptive(_)) => (Some(1), Some(Mutex::default())),
        };
        Self {
            limit: AtomicUsize::new(room.unwrap_or_default()),
            room: room.map(Semaphore::new),
            surplus: AtomicUsize::default(),
            adaptive,
        }
    }

    /// How many may run at once now, where that is limited.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.room.as_ref().map(|_| self.limit.load(Ordering::Relaxed))
    }

    /// A place, if one is free at once.
    pub(crate) fn try_enter(&self) -> Option<Place<'_>> {
        let permit = match &self.room {
            None => None,
            Some(room) => Some(room.try_acquire().ok()?),
        };
        Some(self.place(permit))
    }

    /// A place, in the order of those who wait.
    pub(crate) async fn enter(&self) -> Place<'_> {
        let permit = match &self.room {
            None => None,
            // It is never closed.
            Some(room) => room.acquire().await.ok(),
        };
        self.place(permit)
    }

    fn place<'a>(&'a self, permit: Option<SemaphorePermit<'a>>) -> Place<'a> {
        if let (Some(adaptive), Some(room)) = (&self.adaptive, &self.room)
            && room.available_permits() == 0
        {
            lock(adaptive).reached = true;
        }
        Place { gate: self, permit }
    }

    fn grow(&self) {
        let Some(room) = &self.room else { return };
        if self.limit.load(Ordering::Relaxed) < MOST {
            self.limit.fetch_add(1, Ordering::Relaxed);
            let forgiven = |surplus: usize| surplus.checked_sub(1);
            if self.surplus.fetch_update(Ordering::AcqRel, Ordering::Acquire, forgiven).is_err() {
                room.add_permits(1);
            }
        }
    }

    fn shrink(&self) {
        let Some(room) = &self.room else { return };
        let limit = self.limit.load(Ordering::Relaxed);
        let lower = ((limit as f64 * DECREASE) as usize).max(1);
        self.limit.store(lower, Ordering::Relaxed);
        let gone = limit - lower;
        self.surplus.fetch_add(gone - room.forget_permits(gone), Ordering::AcqRel);
    }
}

impl Place<'_> {
    /// Tells how the call went.
    pub(crate) fn done(&self, load: Load, took: Duration, now: Instant) {
        if let Some(adaptive) = &self.gate.adaptive {
            match lock(adaptive).observe(load, took.as_secs_f64(), now) {
                Change::More => self.gate.grow(),
                Change::Less => self.gate.shrink(),
                Change::None => {}
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let gone = |surplus: usize| surplus.checked_sub(1);
        if self.gate.surplus.fetch_update(Ordering::AcqRel, Ordering::Acquire, gone).is_ok() {
            permit.forget();
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    More,
    Less,
    None,
}

impl Pace {
    fn observe(&mut self, load: Load, took: f64, now: Instant) -> Change {
        match load {
            Load::Good => {
                self.sum += took;
                self.answers += 1;
            }
            Load::Pressed => self.pressed = true,
            Load::Silent => {}
        }
        let begun = *self.begun.get_or_insert(now);
        let interval = Duration::try_from_secs_f64(self.mean).unwrap_or_default().max(SHORTEST_INTERVAL);
        match now.saturating_duration_since(begun) >= interval && (self.answers > 0 || self.pressed) {
            true => self.decide(now),
            false => Change::None,
        }
    }

    fn decide(&mut self, now: Instant) -> Change {
        let current = (self.answers > 0).then(|| self.sum / f64::from(self.answers));
        let first = self.mean == 0.0;
        let slow = current.is_some_and(|current| {
            !first && current >= self.mean + DEVIATIONS * self.variance.sqrt() && current > self.mean * EVEN
        });
        let steady = current.is_some_and(|current| first || current <= self.mean * EVEN);
        let change = match () {
            () if self.pressed || slow => Change::Less,
            () if self.reached && steady => Change::More,
            () => Change::None,
        };
        if let Some(current) = current {
            let delta = if first { 0.0 } else { current - self.mean };
            self.mean = if first { current } else { self.mean + ALPHA * delta };
            self.variance = (1.0 - ALPHA) * (self.variance + ALPHA * delta * delta);
        }
        *self = Self { begun: Some(now), mean: self.mean, variance: self.variance, ..Self::default() };
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Adaptive;

    fn adaptive() -> Gate {
        Gate::new(Some(&Concurrency::Adaptive(Adaptive::Adaptive)))
    }

    /// A round in which as many calls run as may, each of which takes so long.
    fn round(gate: &Gate, load: Load, took: Duration, now: &mut Instant) {
        let places: Vec<Place<'_>> = std::iter::from_fn(|| gate.try_enter()).collect();
        assert_eq!(Some(places.len()), gate.limit());
        *now += took;
        for place in places {
            place.done(load, took, *now);
        }
    }

    #[test]
    fn more_run_at_once_while_answers_stay_fast_and_fewer_when_they_do_not() {
        let (gate, mut now) = (adaptive(), Instant::now());
        let fast = Duration::from_millis(100);
        assert_eq!(gate.limit(), Some(1));
        for _ in 0..20 {
            round(&gate, Load::Good, fast, &mut now);
        }
        let grown = gate.limit().unwrap();
        assert!(grown >= 15, "{grown}");
        round(&gate, Load::Good, fast * 5, &mut now);
        round(&gate, Load::Good, fast * 20, &mut now);
        assert!(gate.limit().unwrap() < grown, "{:?}", gate.limit());
    }

    #[test]
    fn a_far_end_that_asks_for_less_gets_less() {
        let (gate, mut now) = (adaptive(), Instant::now());
        for _ in 0..30 {
            round(&gate, Load::Good, Duration::from_millis(10), &mut now);
        }
        for _ in 0..60 {
            round(&gate, Load::Pressed, Duration::from_millis(20), &mut now);
        }
        assert_eq!(gate.limit(), Some(1));
    }

    #[test]
    fn a_limit_that_is_not_reached_does_not_grow() {
        let (gate, mut now) = (adaptive(), Instant::now());
        round(&gate, Load::Good, Duration::from_millis(10), &mut now);
        round(&gate, Load::Good, Duration::from_millis(10), &mut now);
        let limit = gate.limit().unwrap();
        assert!(limit > 1);
        for _ in 0..20 {
            let place = gate.try_enter().unwrap();
            now += Duration::from_millis(10);
            place.done(Load::Good, Duration::from_millis(10), now);
        }
        assert_eq!(gate.limit(), Some(limit));
    }

    #[tokio::test]
    async fn no_more_than_the_fixed_number_run_at_once_in_the_order_they_came() {
        let gate = Gate::new(Some(&Concurrency::Fixed(1)));
        let first = gate.enter().await;
        assert!(gate.try_enter().is_none());
        let second = gate.enter();
        tokio::pin!(second);
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        drop(first);
        assert!(gate.try_enter().is_none(), "it is the turn of who waited");
        assert!(futures_util::poll!(second.as_mut()).is_ready());
    }
}
