//! What happened, counted. Origins obey the conservation law of the delivery contract:
//! in + recovered = delivered + filtered + duplicate + diverted + dead-lettered + dropped
//! + returned + in flight. Nodes count their own records separately.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use karez_api::Diagnosis;
use serde::Serialize;

use crate::requests::{RequestReading, Requests};
use crate::runs::RunBook;

/// How an origin's branch ended; an origin counts once, by the first of these that any branch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    DeadLettered,
    Diverted,
    Delivered,
    Dropped,
    Filtered,
    Duplicate,
}

/// The ends that the branches of one origin had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ends(u8);

impl Ends {
    const ORDER: [End; 6] =
        [End::DeadLettered, End::Diverted, End::Delivered, End::Dropped, End::Filtered, End::Duplicate];

    pub(crate) fn add(&mut self, end: End) {
        self.0 |= 1 << end as u8;
    }

    /// What the origin counts as.
    pub(crate) fn verdict(self) -> Option<End> {
        Self::ORDER.into_iter().find(|end| self.0 & (1 << *end as u8) != 0)
    }
}

/// The counters of one pipeline, in origins.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) received: AtomicU64,
    pub(crate) recovered: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    ends: [AtomicU64; 6],
    pub(crate) returned: AtomicU64,
    pub(crate) missing_order_key: AtomicU64,
    pub(crate) reloads: AtomicU64,
    /// By source.
    requests: Mutex<BTreeMap<Arc<str>, Arc<Requests>>>,
    /// By source.
    runs: Mutex<BTreeMap<Arc<str>, Arc<RunBook>>>,
    /// From receipt to settlement.
    pub(crate) processing: Histogram,
}

impl Counters {
    pub(crate) fn accept(&self, n: usize) {
        self.in_flight.fetch_add(n as u64, Relaxed);
        self.received.fetch_add(n as u64, Relaxed);
    }
    /// They were not accepted after all.
    pub(crate) fn withdraw(&self, n: usize) {
        self.in_flight.fetch_sub(n as u64, Relaxed);
        self.received.fetch_sub(n as u64, Relaxed);
    }
    pub(crate) fn recover(&self, n: u64) {
        self.in_flight.fetch_add(n, Relaxed);
        self.recovered.fetch_add(n, Relaxed);
    }
    /// An origin that ended without ever being in flight.
    pub(crate) fn pass(&self, end: End) {
        self.received.fetch_add(1, Relaxed);
        self.ends[end as usize].fetch_add(1, Relaxed);
    }
    pub(crate) fn end(&self, end: End) {
        self.ends[end as usize].fetch_add(1, Relaxed);
        self.in_flight.fetch_sub(1, Relaxed);
    }
    /// They went back unsettled: to their source, or to a journal that nobody reads any more.
    pub(crate) fn give_back(&self, n: u64) {
        self.returned.fetch_add(n, Relaxed);
        self.in_flight.fetch_sub(n, Relaxed);
    }
    /// What is counted of a source's callers.
    pub(crate) fn requests(&self, source: &Arc<str>) -> Arc<Requests> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(requests.entry(Arc::clone(source)).or_default())
    }

    /// What a source tells of its runs.
    pub(crate) fn runs(&self, source: &Arc<str>) -> Arc<RunBook> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(runs.entry(Arc::clone(source)).or_default())
    }

    /// Why requests of a source are turned away, as far as that is known.
    pub(crate) fn diagnosis(&self, source: &str) -> Option<Diagnosis> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.get(source).and_then(|requests| requests.diagnosis())
    }

    /// A reading of all counters.
    #[must_use]
    pub fn read(&self) -> Reading {
        let end = |end: End| self.ends[end as usize].load(Relaxed);
        Reading {
            received: self.received.load(Relaxed),
            recovered: self.recovered.load(Relaxed),
            delivered: end(End::Delivered),
            filtered: end(End::Filtered),
            duplicate: end(End::Duplicate),
            diverted: end(End::Diverted),
            dead_lettered: end(End::DeadLettered),
            dropped: end(End::Dropped),
            returned: self.returned.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            missing_order_key: self.missing_order_key.load(Relaxed),
            reloads: self.reloads.load(Relaxed),
            requests: self.read_requests(),
            processing: self.processing.read(),
        }
    }
}

impl Counters {
    fn read_requests(&self) -> BTreeMap<Arc<str>, RequestReading> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let readings = requests.iter().map(|(source, requests)| (Arc::clone(source), requests.read()));
        readings.filter(|(_, reading)| !reading.is_empty()).collect()
    }
}

/// Counters of a pipeline at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Reading {
    /// Source records since start (`in` of the conservation law).
    #[serde(rename = "in")]
    pub received: u64,
    /// What the journal held at start.
    pub recovered: u64,
    pub delivered: u64,
    pub filtered: u64,
    pub duplicate: u64,
    pub diverted: u64,
    pub dead_lettered: u64,
    pub dropped: u64,
    /// Given back unsettled to a source that can replay.
    pub returned: u64,
    pub in_flight: u64,
    /// Records whose `order_by` matched nothing.
    pub missing_order_key: u64,
    pub reloads: u64,
    /// Requests to sources that are called, by source.
    pub requests: BTreeMap<Arc<str>, RequestReading>,
    /// Time from receipt to settlement.
    pub processing: HistogramReading,
}

/// Upper bounds of the histogram's buckets, in seconds.
pub const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// A histogram of durations with fixed buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    pub fn observe(&self, time: Duration, n: u64) {
        let seconds = time.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        self.buckets[bucket].fetch_add(n, Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros.saturating_mul(n), Relaxed);
    }

    #[must_use]
    pub fn read(&self) -> HistogramReading {
        HistogramReading {
            buckets: self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect(),
            sum_seconds: self.sum_micros.load(Relaxed) as f64 / 1e6,
        }
    }
}

/// A histogram at one moment: counts per bucket (the last one is beyond all bounds), not cumulated.
#[derive(Debug, Clone, Serialize)]
pub struct HistogramReading {
    pub buckets: Vec<u64>,
    pub sum_seconds: f64,
}

/// Counters of one node, in records.
#[derive(Debug, Default)]
pub(crate) struct NodeCounters {
    pub(crate) entered: AtomicU64,
    pub(crate) left: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) attempts: AtomicU64,
    pub(crate) retries: AtomicU64,
    /// Sinks: records that wait.
    pub(crate) waiting: AtomicU64,
    /// Sinks: how often the circuit opened.
    pub(crate) opened: AtomicU64,
    /// Sinks: what holds deliveries back at the moment.
    pub(crate) hold: Mutex<Hold>,
}

/// What holds a sink's deliveries back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// `closed`, `open`, `probing` or `paused`.
    pub circuit: &'static str,
    /// Why the last delivery failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl NodeCounters {
    pub(crate) fn set_hold(&self, hold: Hold) {
        *self.hold.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = hold;
    }
    pub(crate) fn hold(&self) -> Hold {
        self.hold.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
    pub(crate) fn add(&self, entered: u64, left: u64, failed: u64) {
        self.entered.fetch_add(entered, Relaxed);
        self.left.fetch_add(left, Relaxed);
        self.failed.fetch_add(failed, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_counts_once_by_its_gravest_end() {
        let verdict = |ends: &[End]| {
            let mut all = Ends::default();
            ends.iter().for_each(|end| all.add(*end));
            all.verdict()
        };
        assert_eq!(verdict(&[]), None);
        assert_eq!(verdict(&[End::Filtered, End::Delivered]), Some(End::Delivered));
        assert_eq!(verdict(&[End::Delivered, End::DeadLettered]), Some(End::DeadLettered));
        assert_eq!(verdict(&[End::Dropped, End::Duplicate]), Some(End::Dropped));
        assert_eq!(verdict(&[End::Diverted, End::Delivered]), Some(End::Diverted));
    }

    #[test]
    fn a_histogram_keeps_every_observation() {
        let histogram = Histogram::default();
        for millis in [0, 1, 3, 40, 2_000, 700_000] {
            histogram.observe(Duration::from_millis(millis), 2);
        }
        let reading = histogram.read();
        assert_eq!(reading.buckets.iter().sum::<u64>(), 12);
        assert_eq!(reading.buckets.last(), Some(&2));
    }
}
