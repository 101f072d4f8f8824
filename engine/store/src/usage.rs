//! The figures of an open store.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::counters::SyncTimes;
use crate::shared::Shared;

/// What a store takes, what it has done since it was opened, and what it has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Segments of the log on disk.
    pub segments: u64,
    /// Bytes of them.
    pub log_bytes: u64,
    /// Bytes of unsettled entries in them.
    pub live_bytes: u64,
    /// Dedup keys that are kept, in memory and on disk.
    pub dedup_keys: u64,
    /// Bytes of memory that dedup keys take.
    pub dedup_memory: u64,
    /// Journal entries that were stored.
    pub appended: u64,
    /// Groups that were written to the log; everything in a group shares a sync.
    pub groups: u64,
    /// Bytes that were written to the log.
    pub written_bytes: u64,
    /// Syncs of the log that were begun; one that failed is the last.
    pub syncs: u64,
    /// How long those that succeeded took.
    pub sync_times: SyncTimes,
    /// Regions of the log that could not be read.
    pub damage: u64,
}

impl Usage {
    pub(crate) fn of(shared: &Shared) -> Self {
        let (segments, log_bytes, live_bytes) = {
            let index = shared.index();
            (index.segments.len() as u64, index.bytes(), index.live_bytes())
        };
        let (dedup_keys, dedup_memory) = {
            let dedup = shared.dedup();
            (dedup.len(), dedup.memory() as u64)
        };
        let counters = &shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            segments,
            log_bytes,
            live_bytes,
            dedup_keys,
            dedup_memory,
            appended: read(&counters.appended),
            groups: read(&counters.groups),
            written_bytes: read(&counters.written_bytes),
            syncs: read(&counters.syncs),
            sync_times: counters.sync_times(),
            damage: shared.damage(),
        }
    }
}
