//! What is unsettled in one stream, where it stands on disk, and the recent records themselves.
//!
//! A place costs 16 bytes and lies in a chunk of neighbours; a chunk goes when its last entry settles. So a
//! backlog of a million entries takes 16 MiB, whatever the records weigh.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use karez_api::{Entry, Millis, Record, StreamStats};
use tokio::sync::Notify;

const CHUNK: u64 = 128;
/// What a record in memory costs beside its body.
const OVERHEAD: usize = 512;

/// Where an entry's frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    /// Of the whole frame; never 0.
    pub(crate) length: u32,
    /// Receipt, in milliseconds after that of the chunk's first entry.
    age: i32,
}

impl Place {
    pub(crate) fn new(segment: u32, offset: u64, length: usize) -> Self {
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Self { segment, offset: narrow(offset), length: narrow(length as u64), age: 0 }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.segment == other.segment && self.offset == other.offset
    }
}

#[derive(Debug)]
struct Chunk {
    base: u64,
    live: usize,
    places: Box<[Place]>,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) next: u64,
    chunks: BTreeMap<u64, Chunk>,
    entries: u64,
    bytes: u64,
    recent: VecDeque<(Entry, usize)>,
    recent_bytes: usize,
    pub(crate) arrived: Arc<Notify>,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            next: 1,
            chunks: BTreeMap::new(),
            entries: 0,
            bytes: 0,
            recent: VecDeque::new(),
            recent_bytes: 0,
            arrived: Arc::new(Notify::new()),
        }
    }
}

fn split(sequence: u64) -> (u64, usize) {
    (sequence / CHUNK, usize::try_from(sequence % CHUNK).unwrap_or_default())
}

impl Stream {
    /// Notes an entry. Returns the place it had before, if it was there already (it was copied forward).
    pub(crate) fn insert(&mut self, sequence: u64, mut place: Place, time: Millis) -> Option<Place> {
        let (number, index) = split(sequence);
        let chunk = self.chunks.entry(number).or_insert_with(|| Chunk {
            base: time.0,
            live: 0,
            places: vec![Place::default(); usize::try_from(CHUNK).unwrap_or_default()].into(),
        });
        let age = i128::from(time.0) - i128::from(chunk.base);
        place.age = i32::try_from(age.clamp(i32::MIN.into(), i32::MAX.into())).unwrap_or_default();
        let before = std::mem::replace(&mut chunk.places[index], place);
        self.next = self.next.max(sequence.saturating_add(1));
        self.bytes += u64::from(place.length);
        if before.length > 0 {
            self.bytes -= u64::from(before.length);
            return Some(before);
        }
        chunk.live += 1;
        self.entries += 1;
        None
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<Place> {
        let (number, index) = split(sequence);
        self.chunks.get(&number).map(|chunk| chunk.places[index]).filter(|place| place.length > 0)
    }

    /// Takes out a settled entry.
    pub(crate) fn remove(&mut self, sequence: u64) -> Option<Place> {
        let (number, index) = split(sequence);
        let chunk = self.chunks.get_mut(&number)?;
        let place = std::mem::take(&mut chunk.places[index]);
        if place.length == 0 {
            return None;
        }
        chunk.live -= 1;
        if chunk.live == 0 {
            self.chunks.remove(&number);
        }
        self.entries -= 1;
        self.bytes -= u64::from(place.length);
        Some(place)
    }

    /// Unsettled entries after `after`, in order.
    pub(crate) fn after(&self, after: u64) -> impl Iterator<Item = (u64, Place)> + '_ {
        let first = after.saturating_add(1);
        self.chunks.range(first / CHUNK..).flat_map(move |(number, chunk)| {
            let places = (number * CHUNK..).zip(chunk.places.iter());
            places
                .filter(move |(sequence, place)| place.length > 0 && *sequence >= first)
                .map(|(sequence, place)| (sequence, *place))
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub(crate) fn stats(&self) -> StreamStats {
        let oldest = self.chunks.values().next().and_then(|chunk| {
            let ages = chunk.places.iter().filter(|place| place.length > 0).map(|place| place.age);
            ages.min().map(|age| Millis(chunk.base.saturating_add_signed(age.into())))
        });
        StreamStats { unsettled: self.entries, unsettled_bytes: self.bytes, next: self.next, oldest }
    }

    /// Keeps a record that was just written, while there is room. Returns what it weighs, 0 if it was not kept.
    pub(crate) fn keep(&mut self, sequence: u64, record: Record, room: usize) -> usize {
        let weight = record.body().weight() + OVERHEAD;
        if self.recent_bytes + weight > room {
            return 0;
        }
        self.recent_bytes += weight;
        self.recent.push_back((Entry { sequence, record }, weight));
        weight
    }

    /// The recent record of this number; it and those before it leave memory. Second: the bytes that became free.
    pub(crate) fn take_recent(&mut self, sequence: u64) -> (Option<Record>, usize) {
        let mut freed = 0;
        while let Some((entry, _)) = self.recent.front() {
            if entry.sequence > sequence {
                break;
            }
            let Some((entry, weight)) = self.recent.pop_front() else {
                break;
            };
            freed += weight;
            self.recent_bytes -= weight;
            if entry.sequence == sequence {
                return (Some(entry.record), freed);
            }
        }
        (None, freed)
    }

    /// The recent record of this number, left where it is.
    pub(crate) fn peek_recent(&self, sequence: u64) -> Option<Record> {
        let at = self.recent.binary_search_by_key(&sequence, |(entry, _)| entry.sequence).ok()?;
        self.recent.get(at).map(|(entry, _)| entry.record.clone())
    }

    pub(crate) fn recent_bytes(&self) -> usize {
        self.recent_bytes
    }
}
