//! What the log has done since it was opened, in numbers that cost next to nothing to keep.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long syncs took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncTimes {
    /// Syncs that took no longer than the bound of the same place in [`SyncTimes::BOUNDS`], and longer than the
    /// one before it; the last are those beyond all bounds.
    pub counts: [u64; SyncTimes::BOUNDS.len() + 1],
    /// All of them together.
    pub total: Duration,
}

impl SyncTimes {
    /// Upper bounds, in seconds.
    pub const BOUNDS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
}

/// Written by the writer only, read by everybody.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) syncs: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) appended: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    sync_nanoseconds: AtomicU64,
    sync_times: [AtomicU64; SyncTimes::BOUNDS.len() + 1],
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    /// A sync that succeeded.
    pub(crate) fn note_sync(&self, took: Duration) {
        let bucket = SyncTimes::BOUNDS.partition_point(|bound| *bound < took.as_secs_f64());
        Self::add(&self.sync_times[bucket], 1);
        Self::add(&self.sync_nanoseconds, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn sync_times(&self) -> SyncTimes {
        SyncTimes {
            counts: self.sync_times.each_ref().map(|count| count.load(Ordering::Relaxed)),
            total: Duration::from_nanos(self.sync_nanoseconds.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_counted_at_the_first_bound_it_does_not_exceed() {
        let counters = Counters::default();
        for millis in [0, 1, 1, 30, 5000] {
            counters.note_sync(Duration::from_millis(millis));
        }
        let times = counters.sync_times();
        assert_eq!(times.counts, [1, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
        assert_eq!(times.total, Duration::from_millis(5032));
    }
}
