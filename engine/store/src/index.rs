//! All streams and all segments: what is live where. Shared by callers and the writer behind one short lock.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::Arc;

use karez_api::{Entry, Record};

use crate::stream::{Place, Stream};

/// A segment of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: Arc<File>,
    /// Of its checksums.
    pub(crate) seed: u32,
    pub(crate) bytes: u64,
    pub(crate) live_entries: u64,
    pub(crate) live_bytes: u64,
    /// Something in it could not be read: the file is kept when its time is over.
    pub(crate) damaged: bool,
}

impl Segment {
    pub(crate) fn new(file: Arc<File>, seed: u32, bytes: u64) -> Self {
        Self { file, seed, bytes, live_entries: 0, live_bytes: 0, damaged: false }
    }
}

/// An entry to be handed out.
pub(crate) enum Found {
    Memory(Entry),
    Disk { sequence: u64, place: Place, file: Arc<File>, seed: u32 },
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) streams: HashMap<u64, Stream>,
    pub(crate) segments: BTreeMap<u32, Segment>,
    pub(crate) limits: HashMap<u64, u64>,
    recent_bytes: usize,
}

/// Room for recent records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) stream: usize,
    pub(crate) all: usize,
}

impl Index {
    /// Notes an entry that is on disk now.
    pub(crate) fn insert(&mut self, stream: u64, sequence: u64, place: Place, time: karez_api::Millis) {
        let before = self.streams.entry(stream).or_default().insert(sequence, place, time);
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live_entries += 1;
            segment.live_bytes += u64::from(place.length);
        }
        if let Some(before) = before {
            self.release(before);
        }
    }

    fn release(&mut self, place: Place) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live_entries = segment.live_entries.saturating_sub(1);
            segment.live_bytes = segment.live_bytes.saturating_sub(u64::from(place.length));
        }
    }

    /// Takes out settled entries; returns those that were there.
    pub(crate) fn settle(&mut self, stream: u64, mut sequences: Vec<u64>) -> Vec<u64> {
        sequences.retain(|sequence| {
            let place = self.streams.get_mut(&stream).and_then(|stream| stream.remove(*sequence));
            if let Some(place) = place {
                self.release(place);
            }
            place.is_some()
        });
        sequences.sort_unstable();
        sequences
    }

    pub(crate) fn remove_stream(&mut self, id: u64) {
        self.limits.remove(&id);
        let Some(stream) = self.streams.remove(&id) else {
            return;
        };
        self.recent_bytes -= stream.recent_bytes();
        for (_, place) in stream.after(0) {
            self.release(place);
        }
        stream.arrived.notify_waiters();
    }

    pub(crate) fn keep_recent(&mut self, stream: u64, sequence: u64, record: Record, room: Room) {
        let free = room.all.saturating_sub(self.recent_bytes);
        if let Some(stream) = self.streams.get_mut(&stream) {
            let most = room.stream.min(stream.recent_bytes() + free);
            self.recent_bytes += stream.keep(sequence, record, most);
        }
    }

    /// The next entries after `after`, at least one where there is any.
    pub(crate) fn next(&mut self, stream: u64, after: u64, records: usize, bytes: usize) -> Vec<Found> {
        let Some(stream) = self.streams.get_mut(&stream) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut taken = 0_usize;
        let places: Vec<(u64, Place)> = stream
            .after(after)
            .take(records.max(1))
            .take_while(|(_, place)| {
                let first = taken == 0;
                taken += place.length as usize;
                first || taken <= bytes
            })
            .collect();
        for (sequence, place) in places {
            let (record, freed) = stream.take_recent(sequence);
            self.recent_bytes -= freed;
            found.extend(handed(&self.segments, sequence, place, record));
        }
        found
    }

    pub(crate) fn these(&self, stream: u64, sequences: &[u64]) -> Vec<Found> {
        let Some(stream) = self.streams.get(&stream) else {
            return Vec::new();
        };
        let found = |sequence: &u64| {
            let place = stream.get(*sequence)?;
            handed(&self.segments, *sequence, place, stream.peek_recent(*sequence))
        };
        sequences.iter().filter_map(found).collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.live_bytes).sum()
    }
}

fn handed(
    segments: &BTreeMap<u32, Segment>,
    sequence: u64,
    place: Place,
    record: Option<Record>,
) -> Option<Found> {
    if let Some(record) = record {
        return Some(Found::Memory(Entry { sequence, record }));
    }
    let segment = segments.get(&place.segment)?;
    Some(Found::Disk { sequence, place, file: Arc::clone(&segment.file), seed: segment.seed })
}
