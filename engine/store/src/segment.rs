//! Files of the log: their names, their heads, the kinds of frames in them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use karez_api::StoreError;

use crate::codec::{Reader, put_text};
use crate::folder::{FORMAT, Identity, newer, refused};
use crate::frame;

/// What a frame of the log says. The numbers are the format.
pub(crate) mod kind {
    /// Begins a group: how far the file was synced before it.
    pub(crate) const GROUP: u8 = 1;
    /// The first frame of a segment: which store, which format, which segment.
    pub(crate) const HEADER: u8 = 2;
    /// A name and its number.
    pub(crate) const NAME: u8 = 3;
    /// A journal entry, with its dedup key.
    pub(crate) const ENTRY: u8 = 4;
    /// Entries that are settled.
    pub(crate) const SETTLE: u8 = 5;
    /// Dedup keys of a replayable source.
    pub(crate) const KEYS: u8 = 6;
    /// What a sink confirmed, and its mark.
    pub(crate) const DELIVERED: u8 = 7;
    /// Confirmations that are no longer needed.
    pub(crate) const FORGET: u8 = 8;
    /// A stream is gone with all that hangs on it.
    pub(crate) const REMOVE: u8 = 9;
    /// What hung on one pipeline hangs on another.
    pub(crate) const ADOPT: u8 = 10;
    /// How far progress had come.
    pub(crate) const PROGRESS: u8 = 11;
    /// The store was closed in order.
    pub(crate) const CLOSED: u8 = 12;
    /// A stream's next sequence number.
    pub(crate) const NEXT: u8 = 13;
    /// From where an earlier segment was torn; it is cut off there once this is on disk.
    pub(crate) const TEAR: u8 = 14;
}

const ENDING: &str = "log";

pub(crate) fn name(number: u32) -> String {
    format!("{number:010}.{ENDING}")
}

pub(crate) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(name(number))
}

/// The numbers of the segments in a folder, rising without a gap.
///
/// # Errors
/// `Refused` where one is missing in between.
pub(crate) fn list(folder: &Path) -> Result<Vec<u32>, StoreError> {
    let (numbers, missing) = numbers(folder)?;
    match missing.first() {
        None => Ok(numbers),
        Some(gap) => Err(refused(
            &path(folder, *gap),
            "is missing, although older and newer segments exist; restore it from a backup",
        )),
    }
}

/// The numbers of the segments in a folder, rising, and of the first that is missing in each gap.
///
/// # Errors
/// `Refused` where the folder cannot be read.
pub(crate) fn numbers(folder: &Path) -> Result<(Vec<u32>, Vec<u32>), StoreError> {
    let unreadable = |error: io::Error| refused(folder, format_args!("cannot be read: {error}"));
    let mut numbers = Vec::new();
    for item in fs::read_dir(folder).map_err(unreadable)? {
        let file = item.map_err(unreadable)?.file_name();
        let number =
            file.to_str().and_then(|file| file.strip_suffix(ENDING)?.strip_suffix('.')?.parse().ok());
        numbers.extend(number.filter(|number| file == *name(*number)));
    }
    numbers.sort_unstable();
    let gaps = numbers.windows(2).map(|pair| (pair[0].wrapping_add(1), pair[1]));
    let missing = gaps.filter(|(next, found)| next != found).map(|(next, _)| next).collect();
    Ok((numbers, missing))
}

/// Makes an empty segment, open for reading and writing.
pub(crate) fn create(folder: &Path, number: u32) -> io::Result<File> {
    OpenOptions::new().create_new(true).read(true).write(true).open(path(folder, number))
}

/// The first frame, under a seed that everybody knows: a segment of another store can be named as such.
pub(crate) fn header(identity: &Identity, number: u32) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&FORMAT.to_le_bytes());
    payload.extend_from_slice(&number.to_le_bytes());
    put_text(&mut payload, &identity.id);
    let mut out = Vec::new();
    frame::push(&mut out, 0, 0, kind::HEADER, &[&payload]);
    out
}

/// Where the frames behind the header begin; 0 where the header cannot be read.
///
/// # Errors
/// `Refused` where it belongs to another store, another place, or a newer karez.
pub(crate) fn check_header(
    file: &Path,
    bytes: &[u8],
    identity: &Identity,
    number: u32,
) -> Result<usize, StoreError> {
    let Some(frame) = frame::read(bytes, 0, 0).filter(|frame| frame.kind == kind::HEADER) else {
        return Ok(0);
    };
    let mut reader = Reader::new(frame.payload);
    let format = reader.u32();
    if let Some(format) = format.filter(|format| *format > FORMAT) {
        return Err(newer(file, format));
    }
    let (said, id) = (reader.u32(), reader.text());
    if id != Some(&identity.id) {
        let other = id.unwrap_or_default();
        let what =
            format_args!("belongs to store {other}, not to {}; restore the folder as a whole", identity.id);
        return Err(refused(file, what));
    }
    if said != Some(number) {
        return Err(refused(file, "was renamed: its header has another number; give it its name back"));
    }
    Ok(frame.length())
}

/// Where the frames behind a checked header begin.
pub(crate) fn body(bytes: &[u8]) -> usize {
    frame::read(bytes, 0, 0).filter(|frame| frame.kind == kind::HEADER).map_or(0, |frame| frame.length())
}
