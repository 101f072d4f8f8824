//! What makes a file the same file, whatever it is called.
//!
//! An inode number alone is given out again after a file is removed, and a file can be
//! emptied and filled anew; so its birth time and a hash of its first bytes belong to it too.

use std::fs::{File, Metadata};
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

use siphasher::sip::SipHasher24;

/// Bytes at the start of a file that are hashed.
pub(crate) const HEAD: usize = 256;

/// A file as the file system knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    number: u64,
    /// Nanoseconds since 1970; the device's number where the file system has no birth times.
    /// Device numbers can change at a reboot, so they are only the second choice.
    birth: Result<u64, u64>,
}

impl Inode {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let birth = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let birth = birth.and_then(|time| u64::try_from(time.as_nanos()).ok());
        Self { number: metadata.ino(), birth: birth.ok_or(metadata.dev()) }
    }
}

/// The first bytes of a file, as far as it had any when they were hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Up to [`HEAD`].
    pub(crate) length: u16,
    pub(crate) hash: u64,
}

impl Head {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hasher = SipHasher24::new();
        hasher.write(bytes);
        Self { length: u16::try_from(bytes.len()).unwrap_or(u16::MAX), hash: hasher.finish() }
    }

    /// Whether a file that begins with `bytes` can be the one that this was taken from.
    pub(crate) fn begins(self, bytes: &[u8]) -> bool {
        bytes.get(..usize::from(self.length)).is_some_and(|start| Self::of(start) == self)
    }

    pub(crate) fn is_full(self) -> bool {
        usize::from(self.length) == HEAD
    }
}

/// The first bytes of a file, at most [`HEAD`].
pub(crate) fn first_bytes(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEAD];
    let length = read_full(file, &mut bytes, 0)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Reads until the buffer is full or the file ends; returns how many bytes.
pub(crate) fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// The name of a file's lane: inode and first bytes as they were when it was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) inode: Inode,
    pub(crate) head: Head,
    /// Which of several contents that began alike in the same file.
    pub(crate) generation: u32,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-", self.inode.number)?;
        match self.inode.birth {
            Ok(birth) => write!(f, "{birth:x}")?,
            Err(device) => write!(f, "v{device:x}")?,
        }
        write!(f, "-{:x}-{:016x}", self.head.length, self.head.hash)?;
        if self.generation > 0 {
            write!(f, "-{:x}", self.generation)?;
        }
        Ok(())
    }
}

impl Name {
    /// Reads what `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut next = || parts.next();
        let number = u64::from_str_radix(next()?, 16).ok()?;
        let born = next()?;
        let birth = match born.strip_prefix('v') {
            Some(device) => Err(u64::from_str_radix(device, 16).ok()?),
            _ => Ok(u64::from_str_radix(born, 16).ok()?),
        };
        let length = u16::from_str_radix(next()?, 16).ok()?;
        let hash = u64::from_str_radix(next()?, 16).ok()?;
        let generation = match next() {
            Some(generation) => u32::from_str_radix(generation, 16).ok()?,
            None => 0,
        };
        let inode = Inode { number, birth };
        Some(Self { inode, head: Head { length, hash }, generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_as_it_was_written() {
        let head = Head::of(b"{\"id\":1}\n");
        for birth in [Ok(1_795_000_000_123_456_789), Err(0xfd01)] {
            for generation in [0, 1, 17] {
                let name = Name { inode: Inode { number: 77, birth }, head, generation };
                assert_eq!(Name::parse(&name.to_string()), Some(name));
            }
        }
        assert_eq!(Name::parse("nonsense"), None);
    }

    #[test]
    fn a_grown_file_still_begins_as_it_did() {
        let head = Head::of(b"abc");
        assert!(head.begins(b"abcdef"));
        assert!(!head.begins(b"abd"));
        assert!(!head.begins(b"ab"));
    }
}
