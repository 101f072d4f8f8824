//! A sealed segment in short, in a file beside it: where its entries stand, and its other frames whole. With it
//! a start needs not read what records weigh. It is written without a sync: one that is missing, torn or of
//! another length is passed over, and the segment itself is read.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::codec::{Reader, put_bytes, put_varint};
use crate::entry::PLACE;
use crate::folder::Identity;
use crate::frame;
use crate::segment::{self, kind};

const VERSION: u8 = 1;
const OUTLINE: u8 = 1;
const ENDING: &str = "outline";
/// Stream, sequence, time, and that there is no key: keys of a sealed segment are in their slices.
const ENTRY_HEAD: usize = PLACE + 9;

/// A frame as the outline has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) offset: u64,
    /// Bytes it takes in the segment.
    pub(crate) length: usize,
    pub(crate) kind: u8,
    /// Where its payload stands, that of an entry without key and record.
    pub(crate) payload: Range<usize>,
}

/// Grows with its segment.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    items: Vec<u8>,
    /// Bytes of frames that were written.
    kept: usize,
}

impl Outline {
    /// Notes any frame; those that say nothing for a later start are left out.
    pub(crate) fn add(&mut self, offset: u64, length: usize, kind: u8, payload: &[u8]) {
        match kind {
            kind::ENTRY => {
                if let Some((place, encoded)) = payload.split_at_checked(PLACE) {
                    self.add_entry(offset, length, place, encoded);
                }
            }
            kind::GROUP | kind::KEYS => {}
            _ => self.put(offset, length, kind, payload),
        }
    }

    pub(crate) fn add_entry(&mut self, offset: u64, length: usize, place: &[u8], encoded: &[u8]) {
        let mut head = [0; ENTRY_HEAD];
        head[..PLACE].copy_from_slice(place);
        if let Some(time) = encoded.get(..8) {
            head[PLACE..PLACE + 8].copy_from_slice(time);
        }
        self.put(offset, length, kind::ENTRY, &head);
    }

    fn put(&mut self, offset: u64, length: usize, kind: u8, payload: &[u8]) {
        put_varint(&mut self.items, offset);
        put_varint(&mut self.items, length as u64);
        self.items.push(kind);
        put_bytes(&mut self.items, payload);
    }

    /// What was added since is on disk.
    pub(crate) fn keep(&mut self) {
        self.kept = self.items.len();
    }

    /// What was added since was not written.
    pub(crate) fn cut_back(&mut self) {
        self.items.truncate(self.kept);
    }

    /// Writes the side file of a segment that is `end` bytes long. One that would be too large is not written.
    pub(crate) fn write(&self, folder: &Path, identity: &Identity, number: u32, end: u64) -> io::Result<()> {
        let head = [&[VERSION], end.to_le_bytes().as_slice()].concat();
        if head.len() + self.kept > frame::MAX_PAYLOAD {
            return Ok(());
        }
        let mut out = Vec::new();
        let seed = identity.seed(&name(number));
        frame::push(&mut out, 0, seed, OUTLINE, &[&head, &self.items[..self.kept]]);
        fs::write(path(folder, number), out)
    }
}

/// Reads the side file of a segment; `None` where there is none that fits.
pub(crate) fn read(folder: &Path, identity: &Identity, number: u32) -> Option<(Bytes, Vec<Item>)> {
    let bytes = Bytes::from(fs::read(path(folder, number)).ok()?);
    let length = fs::metadata(segment::path(folder, number)).ok()?.len();
    let frame = frame::read(&bytes, 0, identity.seed(&name(number)))?;
    let mut reader = Reader::new(frame.payload);
    if frame.kind != OUTLINE || reader.u8()? != VERSION || reader.u64()? != length {
        return None;
    }
    let end = frame.length();
    let mut items = Vec::new();
    while !reader.rest().is_empty() {
        let (offset, length, kind) = (reader.varint()?, reader.varint()?, reader.u8()?);
        let payload = reader.bytes()?.len();
        let behind = end - reader.rest().len();
        let length = usize::try_from(length).ok()?;
        items.push(Item { offset, length, kind, payload: behind - payload..behind });
    }
    Some((bytes, items))
}

/// Removes the side file of a segment, if there is one.
pub(crate) fn remove(folder: &Path, number: u32) -> io::Result<()> {
    match fs::remove_file(path(folder, number)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn name(number: u32) -> String {
    format!("{number:010}.{ENDING}")
}

fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(name(number))
}
