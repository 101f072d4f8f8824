//! What a connection counts. Calls here are what went over the wire: answers from the cache and calls that
//! were turned away on this side are counted beside them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use karez_api::Class;
use serde::Serialize;

use crate::error_name;

/// Eight steps for each doubling: a figure is at most an eighth too high.
const STEPS: u32 = 8;
const FIRST_STEPS: usize = STEPS as usize;
/// Up to 2^36 µs, which is 19 hours.
const DOUBLINGS: usize = 33;
const CELLS: usize = FIRST_STEPS * (DOUBLINGS + 1);

/// Upper bounds of the buckets that [`Latency`] has, in seconds.
pub const LATENCY_BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counters of one connection.
pub(crate) struct Metrics {
    succeeded: AtomicU64,
    failed: [AtomicU64; Class::ALL.len()],
    turned_away: AtomicU64,
    retries: AtomicU64,
    replays: AtomicU64,
    throttled_micros: AtomicU64,
    pub(crate) cache: CacheMetrics,
    micros: AtomicU64,
    cells: [AtomicU64; CELLS],
}

#[derive(Default)]
pub(crate) struct CacheMetrics {
    pub(crate) hits: AtomicU64,
    pub(crate) unchanged: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) errors: AtomicU64,
}

/// The counters of a connection at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Counted {
    /// Requests over the wire: successful and failed ones.
    pub api_calls: u64,
    pub successful: u64,
    pub failed: u64,
    /// Failed ones by their error's name.
    pub failed_by: std::collections::BTreeMap<&'static str, u64>,
    /// Calls that were not sent: no turn in time, an open circuit, no credentials.
    pub turned_away: u64,
    /// Attempts beyond the first of a call.
    pub retries: u64,
    /// Requests that were sent again with other credentials.
    pub replays: u64,
    /// Time that calls waited for their turn.
    pub throttled_seconds: f64,
    pub cache: CacheCounted,
    pub latency: Latency,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct CacheCounted {
    /// Answers that were used again without a request.
    pub hits: u64,
    /// Answers that the far end said had not changed.
    pub unchanged: u64,
    pub misses: u64,
    /// The cache could not be asked; the far end was.
    pub errors: u64,
}

/// How long requests took, from when they were sent until their answer was complete.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    pub count: u64,
    pub sum_seconds: f64,
    pub average_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    /// Requests that took at most so many seconds, for each of [`LATENCY_BOUNDS`].
    pub buckets: Vec<(f64, u64)>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            succeeded: AtomicU64::default(),
            failed: std::array::from_fn(|_| AtomicU64::default()),
            turned_away: AtomicU64::default(),
            retries: AtomicU64::default(),
            replays: AtomicU64::default(),
            throttled_micros: AtomicU64::default(),
            cache: CacheMetrics::default(),
            micros: AtomicU64::default(),
            cells: std::array::from_fn(|_| AtomicU64::default()),
        }
    }

    pub(crate) fn answered(&self, failed: Option<Class>, took: Duration) {
        let micros = micros(took);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        self.cells[cell(micros)].fetch_add(1, Ordering::Relaxed);
        let counter = match failed {
            None => &self.succeeded,
            Some(class) => &self.failed[Class::ALL.iter().position(|each| *each == class).unwrap_or(0)],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn replayed(&self) {
        self.replays.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn throttled(&self, time: Duration) {
        self.throttled_micros.fetch_add(micros(time), Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counted {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let failed_by =
            Class::ALL.iter().zip(&self.failed).map(|(class, counter)| (error_name(*class), get(counter)));
        let failed_by: std::collections::BTreeMap<_, _> = failed_by.collect();
        let (successful, failed) = (get(&self.succeeded), failed_by.values().sum());
        Counted {
            api_calls: successful + failed,
            successful,
            failed,
            failed_by,
            turned_away: get(&self.turned_away),
            retries: get(&self.retries),
            replays: get(&self.replays),
            throttled_seconds: get(&self.throttled_micros) as f64 / 1e6,
            cache: CacheCounted {
                hits: get(&self.cache.hits),
                unchanged: get(&self.cache.unchanged),
                misses: get(&self.cache.misses),
                errors: get(&self.cache.errors),
            },
            latency: self.latency(),
        }
    }

    fn latency(&self) -> Latency {
        let cells: Vec<u64> = self.cells.iter().map(|cell| cell.load(Ordering::Relaxed)).collect();
        let count: u64 = cells.iter().sum();
        let sum_seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        let percentile = |part: f64| match count {
            0 => 0.0,
            count => highest(&cells, (count as f64 * part).ceil() as u64) / 1e3,
        };
        let within = |bound: f64| {
            let fits = |number: &usize| upper(*number) <= bound * 1e6;
            (0..CELLS).take_while(fits).map(|number| cells[number]).sum()
        };
        Latency {
            count,
            sum_seconds,
            average_ms: if count == 0 { 0.0 } else { sum_seconds * 1e3 / count as f64 },
            p95_ms: percentile(0.95),
            p99_ms: percentile(0.99),
            buckets: LATENCY_BOUNDS.iter().map(|bound| (*bound, within(*bound))).collect(),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The upper bound of the cell that holds the value of that rank, in µs.
fn highest(cells: &[u64], rank: u64) -> f64 {
    let mut seen = 0;
    let found = cells.iter().position(|cell| {
        seen += cell;
        seen >= rank
    });
    upper(found.unwrap_or(CELLS - 1))
}

fn cell(micros: u64) -> usize {
    if micros < u64::from(STEPS) {
        return micros as usize;
    }
    let doubling = micros.ilog2() - STEPS.ilog2();
    let step = (micros >> doubling) as usize - FIRST_STEPS;
    ((doubling as usize + 1) * FIRST_STEPS + step).min(CELLS - 1)
}

/// The largest value that belongs into a cell, in µs.
fn upper(cell: usize) -> f64 {
    let (doubling, step) = (cell / FIRST_STEPS, cell % FIRST_STEPS);
    match doubling {
        0 => step as f64,
        doubling => ((FIRST_STEPS + step + 1) as u64 * (1 << (doubling - 1)) - 1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_has_a_cell_that_is_at_most_an_eighth_too_high() {
        for micros in (0..10_000).chain([1 << 20, 123_456_789, (1 << 36) - 1]) {
            let upper = upper(cell(micros));
            assert!(upper >= micros as f64 && upper <= micros as f64 * 1.125 + 1.0, "{micros}: {upper}");
        }
        assert_eq!(cell(u64::MAX), CELLS - 1);
    }

    #[test]
    fn calls_add_up_and_have_percentiles() {
        let metrics = Metrics::new();
        for n in 1..=100 {
            metrics.answered((n > 90).then_some(Class::Service), Duration::from_millis(n));
        }
        let counted = metrics.read();
        assert_eq!((counted.api_calls, counted.successful, counted.failed), (100, 90, 10));
        assert_eq!(counted.failed_by["ServiceError"], 10);
        let latency = counted.latency;
        assert_eq!(latency.average_ms.round() as u64, 51);
        assert!((95.0..=107.0).contains(&latency.p95_ms), "{}", latency.p95_ms);
        assert!((99.0..=112.0).contains(&latency.p99_ms), "{}", latency.p99_ms);
        let (bound, within) = latency.buckets[4];
        assert_eq!(bound.to_string(), "0.1");
        assert!((90..=100).contains(&within), "{within}");
        assert_eq!(latency.buckets[10].1, 100);
    }
}
