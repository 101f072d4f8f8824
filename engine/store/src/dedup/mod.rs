//! Dedup keys: by 128-bit keyed hash, in slices of time, so that expiring is dropping a slice.
//!
//! A slice belongs to a class of ttl (powers of two of a minute) and to an eighth of it in time. Exact expiry is
//! decided at look-up, with the asker's own ttl.

mod files;
mod sorted;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use karez_api::DedupKey;
use siphasher::sip128::SipHasher13;
use std::hash::Hasher as _;

use crate::codec::Reader;
pub(crate) use files::Slices;
use sorted::Sorted;

/// What a key costs in memory: 24 bytes, and a table that is between half and fully used.
const BYTES_PER_KEY: usize = 40;
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
    memory: HashMap<[u64; 2], u64>,
    disk: Option<Sorted>,
}

fn halves(hash: u128) -> [u64; 2] {
    let low = u64::try_from(hash & u128::from(u64::MAX)).unwrap_or_default();
    let high = u64::try_from(hash >> 64).unwrap_or_default();
    [low, high]
}

impl Keys {
    fn newest(&self, hash: u128) -> Option<u64> {
        let memory = self.memory.get(&halves(hash)).copied();
        let disk = self.disk.as_ref().and_then(|sorted| sorted.get(hash));
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
        let at = self.slices.entry(key.slice()).or_default().memory.entry(halves(key.hash)).or_default();
        *at = (*at).max(key.at);
    }

    /// Drops what is over; returns the slices whose files can go.
    pub(crate) fn expire(&mut self) -> Vec<Slice> {
        let over: Vec<Slice> = self.slices.keys().copied().filter(|slice| slice.is_over(self.now)).collect();
        for slice in &over {
            self.slices.remove(slice);
        }
        over
    }

    pub(crate) fn is_over(&self, slice: Slice) -> bool {
        slice.is_over(self.now)
    }

    /// Bytes of memory that keys take.
    pub(crate) fn memory(&self) -> usize {
        self.slices.values().map(|keys| keys.memory.capacity() * BYTES_PER_KEY).sum()
    }

    /// The oldest slice whose keys are in memory, unless new ones still go there.
    fn oldest_in_memory(&self) -> Option<Slice> {
        let full = self.slices.iter().filter(|(_, keys)| !keys.memory.is_empty());
        let sealed = full.filter(|(slice, _)| slice.bucket < self.now / width(slice.class));
        sealed.min_by_key(|(slice, _)| slice.bucket * width(slice.class)).map(|(slice, _)| *slice)
    }
}
