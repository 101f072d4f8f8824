//! Where reading a file is resumed, written in a fixed width so that a batch's positions share one buffer.

use bytes::{BufMut, Bytes, BytesMut};
use karez_api::Position;

use super::identity::Head;

const VERSION: u8 = 1;
/// Bytes of one encoded place.
pub(crate) const WIDTH: usize = 28;

/// A place between two records of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Bytes before it.
    pub(crate) offset: u64,
    /// Line breaks before it.
    pub(crate) line: u64,
    /// Where in its structure the file stands: see the JSON format.
    pub(crate) state: u8,
    pub(crate) head: Head,
}

impl Place {
    pub(crate) fn write(&self, buffer: &mut BytesMut) {
        buffer.put_u8(VERSION);
        buffer.put_u64(self.offset);
        buffer.put_u64(self.line);
        buffer.put_u8(self.state);
        buffer.put_u16(self.head.length);
        buffer.put_u64(self.head.hash);
    }

    /// Reads what [`Place::write`] wrote; nothing for any other bytes.
    pub(crate) fn read(position: &Position) -> Option<Self> {
        let bytes: &[u8; WIDTH] = position.0.as_ref().try_into().ok()?;
        let wide = |at: usize| bytes[at..at + 8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        (bytes[0] == VERSION).then(|| Self {
            offset: wide(1),
            line: wide(9),
            state: bytes[17],
            head: Head { length: u16::from_be_bytes([bytes[18], bytes[19]]), hash: wide(20) },
        })
    }
}

/// The encoded places of a batch as slices of one buffer.
pub(crate) fn positions(buffer: BytesMut) -> Vec<Position> {
    let all: Bytes = buffer.freeze();
    (0..all.len() / WIDTH).map(|n| Position(all.slice(n * WIDTH..(n + 1) * WIDTH))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_back_as_they_were_written() {
        let place = |offset: u64| Place { offset, line: 7, state: 3, head: Head::of(b"abc") };
        let mut buffer = BytesMut::new();
        for offset in [0, 1, u64::MAX] {
            place(offset).write(&mut buffer);
        }
        let read: Vec<_> = positions(buffer).iter().map(Place::read).collect();
        assert_eq!(read, [0, 1, u64::MAX].map(|offset| Some(place(offset))));
        assert_eq!(Place::read(&Position(Bytes::from_static(b"old"))), None);
    }
}
