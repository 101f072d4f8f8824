//! Reads the log at start: what is live, what was torn by a crash, what is damaged.
//!
//! Bytes behind the last sync that cannot be read were torn: nobody was told of them. Whole frames behind such a
//! tear are written again, then the tear is cut off. A region that a later group says was synced is damage: it is
//! skipped, the file is kept as it is, and the alarm is raised.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use karez_api::{StoreError, StreamName};

use crate::codec::Reader;
use crate::dedup::{Key, Slices};
use crate::folder::{Identity, Paths, refused, sync_folder};
use crate::frame::{self, Frame, Part};
use crate::index::Segment;
use crate::segment::{self, kind};
use crate::shared::Held;
use crate::stream::Place;
use crate::tape::{Tape, Trouble};
use crate::{entry, ledger};

/// The log as it was found, and the segment to go on in.
pub(crate) struct Recovered {
    pub(crate) held: Held,
    pub(crate) tape: Tape,
    pub(crate) slices: Slices,
    /// How far progress had come when the log last heard of it.
    pub(crate) progress: u64,
}

/// A segment's frames, and the regions that are not frames.
pub(crate) struct Read {
    pub(crate) bytes: Bytes,
    pub(crate) frames: Vec<(u64, u8, std::ops::Range<usize>)>,
    /// Offset and length; synced once, so something was lost.
    pub(crate) damage: Vec<(u64, u64)>,
    /// Where a tear begins, of which nobody was told.
    pub(crate) torn: Option<u64>,
}

/// Reads a segment. `last`: a crash may have torn it.
///
/// # Errors
/// `Refused` where it cannot be read or belongs elsewhere.
pub(crate) fn read(folder: &Path, identity: &Identity, number: u32, last: bool) -> Result<Read, StoreError> {
    let path = segment::path(folder, number);
    let unreadable = |error: io::Error| refused(&path, format_args!("cannot be read: {error}"));
    let bytes = Bytes::from(fs::read(&path).map_err(unreadable)?);
    let start = segment::check_header(&path, &bytes, identity, number)?;
    let seed = identity.seed(&segment::name(number));
    let mut frames = Vec::new();
    let mut bad = Vec::new();
    let mut synced = if last { 0 } else { u64::MAX };
    for part in frame::scan(&bytes, start, seed) {
        match part {
            Part::Bad { offset, end } => bad.push((offset, end - offset)),
            Part::Frame { offset, frame } => {
                if frame.kind == kind::GROUP {
                    synced = synced.max(Reader::new(frame.payload).u64().unwrap_or_default());
                }
                let begin = usize::try_from(offset).unwrap_or(usize::MAX) + frame::HEAD;
                frames.push((offset, frame.kind, begin..begin + frame.payload.len()));
            }
        }
    }
    // A closed log was synced to its end.
    if frames.last().is_some_and(|(_, kind, _)| *kind == kind::CLOSED) {
        synced = u64::MAX;
    }
    let (damage, torn): (Vec<_>, Vec<_>) = bad.into_iter().partition(|(offset, _)| *offset < synced);
    Ok(Read { bytes, frames, damage, torn: torn.first().map(|(offset, _)| *offset) })
}

/// Takes in frames in order.
#[derive(Default)]
pub(crate) struct Replay {
    pub(crate) held: Held,
    pub(crate) progress: u64,
    /// Keys found in the segment at hand.
    keys: Vec<Key>,
}

impl Replay {
    /// `None` where a frame that was written whole does not say what its kind should.
    pub(crate) fn take(&mut self, number: u32, offset: u64, frame: Frame<'_>) -> Option<()> {
        let mut reader = Reader::new(frame.payload);
        match frame.kind {
            kind::NAME => self.held.names.recover(frame.payload)?,
            kind::ENTRY => {
                let (head, _) = entry::head(frame.payload)?;
                let place = Place::new(number, offset, frame.length());
                self.held.index.insert(head.stream, head.sequence, place, head.time);
                self.keys.extend(head.key);
            }
            kind::SETTLE => {
                let stream = reader.u64()?;
                self.held.index.settle(stream, reader.rising()?);
            }
            kind::KEYS => self.keys.extend(std::iter::from_fn(|| Key::take(&mut reader))),
            kind::DELIVERED => {
                let (sink, ids, mark) = ledger::read(frame.payload)?;
                self.held.ledger.deliver(sink, &ids, mark, number);
            }
            kind::FORGET => {
                let (sink, ids, _) = ledger::read(frame.payload)?;
                self.held.ledger.forget(sink, ids);
            }
            kind::REMOVE => {
                let stream = StreamName { pipeline: reader.text()?.into(), source: reader.text()?.into() };
                if let Some(id) = self.held.names.remove(&stream) {
                    self.held.index.remove_stream(id);
                }
            }
            kind::ADOPT => {
                let (from, to) = (reader.text()?, reader.text()?);
                self.held.names.adopt(from, &to.into());
            }
            kind::PROGRESS => self.progress = self.progress.max(reader.u64()?),
            kind::NEXT => {
                let stream = self.held.index.streams.entry(reader.u64()?).or_default();
                stream.next = stream.next.max(reader.u64()?);
            }
            kind::GROUP | kind::CLOSED | kind::TEAR => {}
            _ => return None,
        }
        Some(())
    }

    pub(crate) fn take_all(&mut self, number: u32, read: &Read) {
        for (offset, kind, range) in &read.frames {
            let frame = Frame { kind: *kind, payload: &read.bytes[range.clone()] };
            if self.take(number, *offset, frame).is_none() {
                tracing::error!(segment = number, offset, "a frame of the log says nothing known, skipped");
                self.held.damage += 1;
            }
        }
    }
}

/// Recovers the log and begins a new segment.
///
/// # Errors
/// `Refused`, naming the file and what to do; nothing was changed.
pub(crate) fn recover(paths: &Paths, identity: &Identity) -> Result<Recovered, StoreError> {
    let numbers = segment::list(&paths.log)?;
    if numbers.is_empty() && identity.ready {
        return Err(refused(
            &paths.log,
            "holds no segments, although the store was in use; restore it from a backup",
        ));
    }
    let mut slices = Slices::new(&paths.dedup, identity);
    let mut replay = Replay::default();
    let found = slices.recover(&replay.held.dedup);
    replay.held.damage +=
        found.map_err(|error| refused(&paths.dedup, format_args!("cannot be read: {error}")))?;
    let cut_before = noted_tear(paths, identity, &numbers)?;
    let io = |error: io::Error| refused(&paths.log, format_args!("cannot be written: {error}"));
    let mut again = Vec::new();
    let mut tear = None;
    for number in &numbers {
        let may_be_torn = Some(number) == numbers.last() || Some(*number) == cut_before;
        let read = read(&paths.log, identity, *number, may_be_torn)?;
        add_segment(paths, &mut replay, *number, &read)?;
        replay.keys.clear();
        replay.take_all(*number, &read);
        insert_keys(&replay);
        if let Some(torn) = read.torn.filter(|_| Some(*number) == cut_before) {
            // A crash came between noting the tear and cutting it off.
            cut(&segment::path(&paths.log, *number), torn).map_err(io)?;
        } else if let Some(torn) = read.torn {
            tracing::warn!(
                segment = number,
                offset = torn,
                "the log was torn by a crash, cut off what nobody was told of"
            );
            again = salvage(&read, torn);
            tear = Some((*number, torn));
        }
    }
    let held = &mut replay.held;
    for (id, stream) in &held.index.streams {
        if !stream.is_empty() {
            held.names.name_if_lost(*id);
        }
    }
    if let Some((number, _)) = tear {
        again.push((kind::TEAR, number.to_le_bytes().to_vec()));
    }
    let next = numbers.last().map_or(1, |number| number + 1);
    slices.append(&replay.keys, &replay.held.dedup).map_err(io)?;
    let tape = begin(paths, identity, next, &mut replay, again)?;
    if let Some((number, torn)) = tear {
        cut(&segment::path(&paths.log, number), torn).map_err(io)?;
    }
    let Replay { held, progress, .. } = replay;
    Ok(Recovered { held, tape, slices, progress })
}

/// The segment whose tear the last one notes.
fn noted_tear(paths: &Paths, identity: &Identity, numbers: &[u32]) -> Result<Option<u32>, StoreError> {
    let Some(last) = numbers.last() else {
        return Ok(None);
    };
    let read = read(&paths.log, identity, *last, true)?;
    let note = read.frames.iter().find(|(_, kind, _)| *kind == kind::TEAR);
    Ok(note.and_then(|(_, _, range)| Reader::new(&read.bytes[range.clone()]).u32()))
}

fn insert_keys(replay: &Replay) {
    let mut dedup = replay.held.dedup.write().unwrap_or_else(PoisonError::into_inner);
    for key in &replay.keys {
        dedup.insert(*key);
    }
}

fn add_segment(paths: &Paths, replay: &mut Replay, number: u32, read: &Read) -> Result<(), StoreError> {
    let path = segment::path(&paths.log, number);
    let file =
        File::open(&path).map_err(|error| refused(&path, format_args!("cannot be opened: {error}")))?;
    let mut segment = Segment::new(Arc::new(file));
    segment.damaged = !read.damage.is_empty();
    replay.held.index.segments.insert(number, segment);
    for (offset, length) in &read.damage {
        tracing::error!(file = %path.display(), offset, length, "the log is damaged here, what stood there is lost; the file is kept");
        replay.held.damage += 1;
    }
    Ok(())
}

/// Whole frames behind a tear: nobody was told of them, but they are good.
fn salvage(read: &Read, torn: u64) -> Vec<(u8, Vec<u8>)> {
    let behind = read.frames.iter().filter(|(offset, kind, _)| *offset > torn && *kind != kind::GROUP);
    behind.map(|(_, kind, range)| (*kind, read.bytes[range.clone()].to_vec())).collect()
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
    let tape = Tape::begin(paths, identity, number, &frames).map_err(|trouble| {
        let (Trouble::Fatal(error) | Trouble::NoSpace(error)) = trouble;
        refused(&paths.log, format_args!("no new segment can be begun: {error}"))
    })?;
    replay.held.index.segments.insert(number, Segment::new(Arc::clone(&tape.file)));
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
