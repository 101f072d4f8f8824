//! One segment, read whole: its frames, what a crash tore, what is damaged.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use karez_api::StoreError;

use crate::codec::Reader;
use crate::folder::{Identity, refused};
use crate::frame::{self, Part};
use crate::outline::Outline;
use crate::segment::{self, kind};

/// A segment's frames, and the regions that are not frames.
pub(crate) struct Read {
    pub(crate) bytes: Bytes,
    pub(crate) frames: Vec<(u64, u8, Range<usize>)>,
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
    for part in frame::scan(&bytes, 0, start, seed) {
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

impl Read {
    /// Up to where the file is good; behind it nobody was told of anything.
    pub(crate) fn end(&self) -> u64 {
        self.torn.unwrap_or(self.bytes.len() as u64)
    }

    /// For a later start; `None` where that must see the damage again.
    pub(super) fn outline(&self) -> Option<Outline> {
        let mut outline = Outline::default();
        for (offset, kind, range) in self.frames.iter().filter(|(offset, ..)| *offset < self.end()) {
            outline.add(*offset, frame::HEAD + range.len(), *kind, &self.bytes[range.clone()]);
        }
        outline.keep();
        self.damage.is_empty().then_some(outline)
    }

    /// The segment whose tear this one notes.
    pub(super) fn noted_tear(&self) -> Option<u32> {
        let note = self.frames.iter().find(|(_, kind, _)| *kind == kind::TEAR);
        note.and_then(|(_, _, range)| Reader::new(&self.bytes[range.clone()]).u32())
    }

    /// Whole frames behind a tear: nobody was told of them, but they are good.
    pub(super) fn salvage(&self, torn: u64) -> Vec<(u8, Vec<u8>)> {
        let behind = self.frames.iter().filter(|(offset, kind, _)| *offset > torn && *kind != kind::GROUP);
        behind.map(|(_, kind, range)| (*kind, self.bytes[range.clone()].to_vec())).collect()
    }
}
