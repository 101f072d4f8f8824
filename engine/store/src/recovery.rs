//! Reads the log at start: what is live, what was torn by a crash, what is damaged.
//!
//! Bytes behind the last sync that cannot be read were torn: nobody was told of them. Whole frames behind such a
//! tear are written again, then the tear is cut off. A region that a later group says was synced is damage: it is
//! skipped, the file is kept as it is, and the alarm is raised.

mod read;
mod replay;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use karez_api::StoreError;

use crate::dedup::Slices;
use crate::folder::{Identity, Paths, refused, sync_folder};
use crate::index::Segment;
use crate::outline::{self, Outline};
use crate::segment::{self, kind};
use crate::shared::Held;
use crate::tape::{Tape, Trouble};

pub(crate) use read::{Read, read};
pub(crate) use replay::Replay;

/// The log as it was found, and the segment to go on in.
pub(crate) struct Recovered {
    pub(crate) held: Held,
    pub(crate) tape: Tape,
    pub(crate) slices: Slices,
    /// How far progress had come when the log last heard of it.
    pub(crate) progress: u64,
}

/// Recovers the log and begins a new segment. `dedup_memory`: what keys may take, in bytes.
///
/// # Errors
/// `Refused`, naming the file and what to do; nothing was changed.
pub(crate) fn recover(
    paths: &Paths,
    identity: &Identity,
    dedup_memory: usize,
) -> Result<Recovered, StoreError> {
    let numbers = segment::list(&paths.log)?;
    if numbers.is_empty() && identity.ready {
        let what = "holds no segments, although the store was in use; restore it from a backup";
        return Err(refused(&paths.log, what));
    }
    let mut slices = Slices::new(&paths.dedup, identity);
    let mut replay = Replay::default();
    let damaged = slices.recover(&replay.held.dedup, dedup_memory);
    replay.held.damage +=
        damaged.map_err(|error| refused(&paths.dedup, format_args!("cannot be read: {error}")))?;
    let found = Found::read_all(paths, identity, &numbers, &mut replay)?;
    name_lost_streams(&mut replay);
    let io = |error: io::Error| refused(&paths.log, format_args!("cannot be written: {error}"));
    slices.append(&replay.keys, &replay.held.dedup).map_err(io)?;
    let next = numbers.last().map_or(1, |number| number + 1);
    let tape = begin(paths, identity, next, &mut replay, found.again)?;
    for (number, torn) in found.tears {
        cut(&segment::path(&paths.log, number), torn).map_err(io)?;
    }
    for (number, outline, end) in found.outlines {
        if let Err(error) = outline.write(&paths.log, identity, number, end) {
            tracing::debug!(%error, "a segment's outline could not be written");
        }
    }
    let Replay { held, progress, .. } = replay;
    Ok(Recovered { held, tape, slices, progress })
}

/// What is to be done with the segments that were found.
#[derive(Default)]
struct Found {
    /// Frames to be written again.
    again: Vec<(u8, Vec<u8>)>,
    /// Where to cut, once they are.
    tears: Vec<(u32, u64)>,
    /// Outlines that were missing, and the length of their segments.
    outlines: Vec<(u32, Outline, u64)>,
}

impl Found {
    fn read_all(
        paths: &Paths,
        identity: &Identity,
        numbers: &[u32],
        replay: &mut Replay,
    ) -> Result<Self, StoreError> {
        let mut found = Self::default();
        let Some((last, sealed)) = numbers.split_last() else {
            return Ok(found);
        };
        let last_read = read(&paths.log, identity, *last, true)?;
        let cut_before = last_read.noted_tear();
        for number in sealed {
            if let Some((bytes, items)) = outline::read(&paths.log, identity, *number) {
                add_segment(paths, identity, replay, *number, &[])?;
                replay.take_outline(*number, &bytes, &items);
                continue;
            }
            let read = read(&paths.log, identity, *number, Some(*number) == cut_before)?;
            found.take(paths, identity, *number, &read, replay)?;
            if let Some(torn) = read.torn {
                // A crash came between noting the tear and cutting it off.
                found.tears.push((*number, torn));
            }
        }
        found.take(paths, identity, *last, &last_read, replay)?;
        if let Some(torn) = last_read.torn {
            let offset = torn;
            tracing::warn!(
                segment = last,
                offset,
                "the log was torn by a crash, cut off what nobody was told of"
            );
            found.again = last_read.salvage(torn);
            found.again.push((kind::TEAR, last.to_le_bytes().to_vec()));
            found.tears.push((*last, torn));
        }
        Ok(found)
    }

    fn take(
        &mut self,
        paths: &Paths,
        identity: &Identity,
        number: u32,
        read: &Read,
        replay: &mut Replay,
    ) -> Result<(), StoreError> {
        add_segment(paths, identity, replay, number, &read.damage)?;
        replay.keys.clear();
        replay.take_all(number, read);
        let mut dedup = replay.held.dedup.write().unwrap_or_else(PoisonError::into_inner);
        for key in &replay.keys {
            dedup.insert(*key);
        }
        self.outlines.extend(read.outline().map(|outline| (number, outline, read.end())));
        Ok(())
    }
}

fn add_segment(
    paths: &Paths,
    identity: &Identity,
    replay: &mut Replay,
    number: u32,
    damage: &[(u64, u64)],
) -> Result<(), StoreError> {
    let path = segment::path(&paths.log, number);
    let cannot = |error: io::Error| refused(&path, format_args!("cannot be opened: {error}"));
    let file = File::open(&path).map_err(cannot)?;
    let bytes = file.metadata().map_err(cannot)?.len();
    let mut segment = Segment::new(Arc::new(file), identity.seed(&segment::name(number)), bytes);
    segment.damaged = !damage.is_empty();
    replay.held.index.segments.insert(number, segment);
    for (offset, length) in damage {
        tracing::error!(file = %path.display(), offset, length, "the log is damaged here, what stood there is lost; the file is kept");
        replay.held.damage += 1;
    }
    Ok(())
}

fn name_lost_streams(replay: &mut Replay) {
    let held = &mut replay.held;
    for (id, _) in held.index.streams.iter().filter(|(_, stream)| !stream.is_empty()) {
        held.names.name_if_lost(*id);
    }
}

/// The new segment: names and numbers first, so that the oldest can go, then what was salvaged.
fn begin(
    paths: &Paths,
    identity: &Identity,
    number: u32,
    replay: &mut Replay,
    again: Vec<(u8, Vec<u8>)>,
) -> Result<Tape, StoreError> {
    let mut frames: Vec<(u8, Vec<u8>)> =
        replay.held.names.snapshot().into_iter().map(|payload| (kind::NAME, payload)).collect();
    for (id, stream) in &replay.held.index.streams {
        frames.push((kind::NEXT, [id.to_le_bytes(), stream.next.to_le_bytes()].concat()));
    }
    frames.extend(replay.held.ledger.marks().into_iter().map(|payload| (kind::DELIVERED, payload)));
    frames.push((kind::PROGRESS, replay.progress.to_le_bytes().to_vec()));
    frames.extend(again);
    let tape = Tape::begin(paths, identity, &replay.held.counters, number, &frames).map_err(|trouble| {
        let (Trouble::Fatal(error) | Trouble::NoSpace(error)) = trouble;
        refused(&paths.log, format_args!("no new segment can be begun: {error}"))
    })?;
    replay.held.index.segments.insert(number, tape.segment());
    let read = read(&paths.log, identity, number, true)?;
    replay.take_all(number, &read);
    Ok(tape)
}

fn cut(path: &Path, torn: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(torn)?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), sync_folder)
}
