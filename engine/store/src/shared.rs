//! What callers and the writer share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use karez_api::StoreError;
use siphasher::sip128::SipHasher13;

use crate::counters::Counters;
use crate::dedup::Dedup;
use crate::folder::{Identity, Paths};
use crate::index::Index;
use crate::ledger::Ledger;
use crate::names::Names;
use crate::queue::Queue;
use crate::reserve::Reserve;
use crate::store::Options;

/// What sled may take beside the values themselves, in bytes: it grows by segments of 512 KiB.
const PROGRESS_ROOM: u64 = 2 << 20;

/// Locks are taken in the order of the fields, and never across an await or a write.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) paths: Paths,
    pub(crate) identity: Identity,
    pub(crate) hasher: SipHasher13,
    pub(crate) counters: Arc<Counters>,
    pub(crate) reserve: Reserve,
    pub(crate) names: RwLock<Names>,
    pub(crate) index: Mutex<Index>,
    pub(crate) dedup: RwLock<Dedup>,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) queue: Queue,
    failed: OnceLock<String>,
    low: AtomicBool,
    damage: AtomicU64,
    /// Bytes of the newest segment that are certainly on disk; what a test may cut down to.
    #[cfg(test)]
    pub(crate) synced: Mutex<(u32, u64)>,
    /// Held by the writer while it changes anything: a test that holds it sees the folder stand still.
    #[cfg(test)]
    pub(crate) still: Mutex<()>,
}

/// What recovery found.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) names: Names,
    pub(crate) index: Index,
    pub(crate) dedup: RwLock<Dedup>,
    pub(crate) ledger: Ledger,
    pub(crate) damage: u64,
    pub(crate) counters: Arc<Counters>,
}

impl Shared {
    pub(crate) fn new(options: Options, paths: Paths, identity: Identity, held: Held) -> Self {
        Self {
            options,
            hasher: identity.hasher(),
            counters: held.counters,
            reserve: Reserve::new(&paths.root),
            paths,
            identity,
            names: RwLock::new(held.names),
            index: Mutex::new(held.index),
            dedup: held.dedup,
            ledger: Mutex::new(held.ledger),
            queue: Queue::new(),
            failed: OnceLock::new(),
            low: AtomicBool::new(false),
            damage: AtomicU64::new(held.damage),
            #[cfg(test)]
            synced: Mutex::default(),
            #[cfg(test)]
            still: Mutex::default(),
        }
    }

    pub(crate) fn names(&self) -> RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn names_mut(&self) -> RwLockWriteGuard<'_, Names> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn dedup(&self) -> RwLockReadGuard<'_, Dedup> {
        self.dedup.read().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn dedup_mut(&self) -> RwLockWriteGuard<'_, Dedup> {
        self.dedup.write().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on everything answers `Failed`.
    pub(crate) fn fail(&self, why: String) -> StoreError {
        tracing::error!(reason = why, "the store failed and takes nothing more");
        StoreError::Failed(self.failed.get_or_init(|| why).clone())
    }

    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.failed.get().map(|why| StoreError::Failed(why.clone()))
    }

    /// Whether the disk is at its floor. Asks the disk.
    pub(crate) fn look_at_disk(&self) -> Option<StoreError> {
        let free = self.free();
        let floor = self.options.disk_floor;
        self.reserve.refill(free, floor);
        let low = free < floor;
        self.low.store(low, Ordering::Relaxed);
        low.then(|| self.full(format_args!("{free} bytes are free, the floor is {floor}")))
    }

    fn free(&self) -> u64 {
        rustix::fs::statvfs(&self.paths.root)
            .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Why `bytes` of keyed state cannot be written now, if so. Its engine does not survive a full disk, so
    /// space is asked for before it is needed, at last of the reserve.
    pub(crate) fn no_space_for(&self, bytes: u64) -> Option<StoreError> {
        let needed = bytes.saturating_mul(2).saturating_add(PROGRESS_ROOM);
        if self.free() >= needed || (self.reserve.release() && self.free() >= needed) {
            return None;
        }
        Some(self.full(format_args!("less than {needed} bytes are free")))
    }

    /// A write found no space: gives back the reserve. Returns what journal entries are answered.
    pub(crate) fn run_out(&self, why: impl std::fmt::Display) -> StoreError {
        self.low.store(true, Ordering::Relaxed);
        self.reserve.release();
        self.full(why)
    }

    fn full(&self, why: impl std::fmt::Display) -> StoreError {
        StoreError::Full(format!("no room in {}: {why}; free some space", self.paths.root.display()))
    }

    pub(crate) fn disk_is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    pub(crate) fn wake_readers(&self) {
        for stream in self.index().streams.values() {
            stream.arrived.notify_waiters();
        }
    }

    pub(crate) fn note_damage(&self) {
        self.damage.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn damage(&self) -> u64 {
        self.damage.load(Ordering::Relaxed)
    }
}
