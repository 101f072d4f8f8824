//! Dedup keys: by 128-bit keyed hash, in slices of time, so that expiring is dropping a slice.
//!
//! A slice belongs to a class of ttl (powers of two of a minute) and to an eighth of it in time. Exact expiry is
//! decided at look-up, with the asker's own ttl.

mod files;
mod filter;
mod sorted;

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::time::Duration;

use karez_api::DedupKey;
use siphasher::sip128::SipHasher13;

use crate::codec::Reader;
pub(crate) use files::Slices;
use sorted::Sorted;

/// What room for a key costs in memory: 25 bytes in a table of which at most seven eighths are used.
const BYTES_PER_KEY: usize = 29;
const MINUTE: u64 = 60_000;

/// A key as callers prepare it: hashed under every number its scope has.
#[derive(Debug, Clone)]
pub(crate) struct Hashed {
    pub(crate) key: Key,
    /// Under numbers that the scope inherited from an adopted pipeline: looked up, never written.
    pub(crate) inherited: Vec<u128>,
    pub(crate) ttl: u64,
}

/// A key as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) hash: u128,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) class: u8,
}

impl Key {
    pub(crate) const BYTES: usize = 25;

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.to_le_bytes());
        out.extend_from_slice(&self.at.to_le_bytes());
        out.push(self.class);
    }

    pub(crate) fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let (hash, at, class) = (reader.u128()?, reader.u64()?, reader.u8()?);
        Some(Self { hash, at, class: class.min(MAX_CLASS) })
    }

    fn slice(&self) -> Slice {
        Slice { class: self.class, bucket: self.at / width(self.class) }
    }
}

const MAX_CLASS: u8 = 40;

fn class_of(ttl: Duration) -> u8 {
    let minutes = ttl.as_secs().div_ceil(60).max(1).next_power_of_two();
    u8::try_from(minutes.trailing_zeros()).unwrap_or(MAX_CLASS).min(MAX_CLASS)
}

fn width(class: u8) -> u64 {
    (MINUTE << class) / 8
}

/// Hashes a key under the numbers of its scope; `None` where the scope has none.
pub(crate) fn hashed(hasher: SipHasher13, scope: &[u64], key: &DedupKey) -> Option<Hashed> {
    let hash = |id: &u64| {
        let mut hasher = hasher;
        hasher.write(&id.to_le_bytes());
        hasher.write(key.key.as_bytes());
        use siphasher::sip128::Hasher128 as _;
        hasher.finish128().as_u128()
    };
    let (first, more) = scope.split_first()?;
    Some(Hashed {
        key: Key { hash: hash(first), at: key.at.0, class: class_of(key.ttl) },
        inherited: more.iter().map(hash).collect(),
        ttl: u64::try_from(key.ttl.as_millis()).unwrap_or(u64::MAX),
    })
}

/// A part of time, of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slice {
    /// When it began, in widths of its class; first in order, so that the oldest of a class come first.
    pub(crate) class: u8,
    pub(crate) bucket: u64,
}

impl Slice {
    fn is_over(self, now: u64) -> bool {
        let end = (u128::from(self.bucket) + 1) * u128::from(width(self.class));
        end + u128::from(MINUTE << self.class) <= u128::from(now)
    }
}

#[derive(Debug, Default)]
struct Keys {
    memory: HashMap<Halves, u64, BuildHasherDefault<FirstHalf>>,
    disk: Vec<Sorted>,
}

/// A hash in two, so that it is aligned to 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Halves(u64, u64);

impl Halves {
    fn of(hash: u128) -> Self {
        let low = u64::try_from(hash & u128::from(u64::MAX)).unwrap_or_default();
        let high = u64::try_from(hash >> 64).unwrap_or_default();
        Self(low, high)
    }

    fn join(self) -> u128 {
        u128::from(self.1) << 64 | u128::from(self.0)
    }
}

impl Hash for Halves {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// It is a keyed hash already, which no sender can steer: half of it will do.
#[derive(Debug, Default)]
struct FirstHalf(u64);

impl Hasher for FirstHalf {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

impl Keys {
    fn table(&self) -> usize {
        self.memory.capacity() * BYTES_PER_KEY
    }

    fn newest(&self, hash: u128) -> Option<u64> {
        let memory = self.memory.get(&Halves::of(hash)).copied();
        let disk = self.disk.iter().filter_map(|sorted| sorted.get(hash)).max();
        memory.max(disk)
    }
}

/// All keys that count.
#[derive(Debug, Default)]
pub(crate) struct Dedup {
    slices: BTreeMap<Slice, Keys>,
    /// The latest time seen in a key: what expiry goes by, so that it needs no clock.
    now: u64,
}

impl Dedup {
    /// Whether the key counts at its own time.
    pub(crate) fn knows(&self, hashed: &Hashed) -> bool {
        let counts = |hash: u128| {
            self.slices
                .values()
                .any(|keys| keys.newest(hash).is_some_and(|at| at.saturating_add(hashed.ttl) > hashed.key.at))
        };
        counts(hashed.key.hash) || hashed.inherited.iter().copied().any(counts)
    }

    pub(crate) fn insert(&mut self, key: Key) {
        self.now = self.now.max(key.at);
        if key.slice().is_over(self.now) {
            return;
        }
        let at = self.slices.entry(key.slice()).or_default().memory.entry(Halves::of(key.hash)).or_default();
        *at = (*at).max(key.at);
    }

    /// Drops what is over.
    fn expire(&mut self) {
        let now = self.now;
        self.slices.retain(|slice, _| !slice.is_over(now));
    }

    pub(crate) fn is_over(&self, slice: Slice) -> bool {
        slice.is_over(self.now)
    }

    /// Keys held, in memory and on disk; one that came again in another slice counts again.
    pub(crate) fn len(&self) -> u64 {
        let held = |keys: &Keys| keys.memory.len() + keys.disk.iter().map(Sorted::len).sum::<usize>();
        self.slices.values().map(|keys| held(keys) as u64).sum()
    }

    /// Bytes of memory that keys take, with what finds those on disk.
    pub(crate) fn memory(&self) -> usize {
        let disk = self.slices.values().flat_map(|keys| &keys.disk);
        self.tables() + disk.map(Sorted::memory).sum::<usize>()
    }

    /// Bytes of memory that keys take which are not on disk.
    pub(crate) fn tables(&self) -> usize {
        self.slices.values().map(Keys::table).sum()
    }

    fn largest_table(&self) -> Option<Slice> {
        let full = self.slices.iter().filter(|(_, keys)| !keys.memory.is_empty());
        full.max_by_key(|(_, keys)| keys.table()).map(|(slice, _)| *slice)
    }
}
