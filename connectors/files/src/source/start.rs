//! Where a file is begun that is not read from its start.

use std::fs::File;
use std::io;

use super::identity::{Head, read_full};
use super::position::Place;

/// How far back the start of an unfinished last line is looked for.
const WINDOW: u64 = 64 << 10;

/// The start of the line that is being written at the end of the file.
pub(crate) fn last_line(file: &File, length: u64, head: Head) -> io::Result<Place> {
    let from = length.saturating_sub(WINDOW);
    let mut bytes = vec![0; usize::try_from(length - from).unwrap_or_default()];
    let read = read_full(file, &mut bytes, from)?;
    let end = memchr::memrchr(b'\n', &bytes[..read]).map_or(length, |at| from + at as u64 + 1);
    // Lines before are not counted: that would mean reading them all.
    Ok(Place { offset: end, line: 0, state: 0, head })
}
