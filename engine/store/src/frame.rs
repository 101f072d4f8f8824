//! Frames: what every file of the log is a row of. Length, kind and two checksums, then a payload.
//!
//! The checksums are seeded with a secret of the folder and cover the frame's place in its file. So bytes that
//! a sender put into a record are never taken for a frame, wherever a search begins, and neither is a frame
//! that stands in the wrong place.

use crate::codec::Reader;

/// Length (4), kind (1), checksum of those and the place (4), checksum of the payload (4).
pub(crate) const HEAD: usize = 13;
/// The largest payload; a longer one is refused before it is written.
pub(crate) const MAX_PAYLOAD: usize = 64 << 20;

/// Appends a frame to `out`, whose first byte stands at `base` in the file; its payload is `parts`, joined.
/// Returns where it stands.
pub(crate) fn push(out: &mut Vec<u8>, base: u64, seed: u32, kind: u8, parts: &[&[u8]]) -> u64 {
    let offset = base + out.len() as u64;
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(total).unwrap_or(u32::MAX).to_le_bytes();
    let head = head_check(seed, offset, length, kind);
    let check = parts.iter().fold(head, |check, part| crc32c::crc32c_append(check, part));
    out.reserve(HEAD + total);
    out.extend_from_slice(&length);
    out.push(kind);
    out.extend_from_slice(&head.to_le_bytes());
    out.extend_from_slice(&check.to_le_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    offset
}

fn head_check(seed: u32, offset: u64, length: [u8; 4], kind: u8) -> u32 {
    let mut head = [0; 13];
    head[..8].copy_from_slice(&offset.to_le_bytes());
    head[8..12].copy_from_slice(&length);
    head[12] = kind;
    crc32c::crc32c_append(seed, &head)
}

/// A frame as it was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes it takes in the file.
    pub(crate) fn length(&self) -> usize {
        HEAD + self.payload.len()
    }
}

enum Look<'a> {
    Whole(Frame<'a>),
    /// The head is right, the payload is not, or is cut off.
    Damaged {
        length: usize,
    },
    Nothing,
}

fn look(bytes: &[u8], offset: u64, seed: u32) -> Look<'_> {
    let mut reader = Reader::new(bytes);
    let head = (|| Some((reader.u32()?, reader.u8()?, reader.u32()?, reader.u32()?)))();
    let Some((length, kind, head, crc)) = head else {
        return Look::Nothing;
    };
    if head_check(seed, offset, length.to_le_bytes(), kind) != head {
        return Look::Nothing;
    }
    let length = length as usize;
    match reader.take(length) {
        Some(payload) if crc32c::crc32c_append(head, payload) == crc => Look::Whole(Frame { kind, payload }),
        _ => Look::Damaged { length: HEAD + length },
    }
}

/// The frame that begins `bytes`, which stand at `offset`; `None` where there is no undamaged one.
pub(crate) fn read(bytes: &[u8], offset: u64, seed: u32) -> Option<Frame<'_>> {
    match look(bytes, offset, seed) {
        Look::Whole(frame) => Some(frame),
        _ => None,
    }
}

/// What a file holds, in order.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part<'a> {
    Frame {
        offset: u64,
        frame: Frame<'a>,
    },
    /// No frame can be read from here to `end`.
    Bad {
        offset: u64,
        end: u64,
    },
}

/// Walks from `at` over bytes of a file of which the first stands at `base`; goes on behind a bad region at the
/// next frame that is whole.
pub(crate) fn scan(bytes: &[u8], base: u64, mut at: usize, seed: u32) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let offset = base + at as u64;
        at = match look(rest, offset, seed) {
            Look::Whole(frame) => {
                at += frame.length();
                return Some(Part::Frame { offset, frame });
            }
            Look::Damaged { length } => next_whole(bytes, base, at + length, seed),
            Look::Nothing => next_whole(bytes, base, at + 1, seed),
        };
        Some(Part::Bad { offset, end: base + at as u64 })
    })
}

fn next_whole(bytes: &[u8], base: u64, from: usize, seed: u32) -> usize {
    let whole =
        |at: &usize| bytes.get(*at..).is_some_and(|rest| read(rest, base + *at as u64, seed).is_some());
    (from..bytes.len()).find(whole).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(payloads: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for payload in payloads {
            push(&mut out, 0, 7, 1, &[payload]);
        }
        out
    }

    fn found(bytes: &[u8]) -> Vec<Vec<u8>> {
        scan(bytes, 0, 0, 7)
            .filter_map(|part| match part {
                Part::Frame { frame, .. } => Some(frame.payload.to_vec()),
                Part::Bad { .. } => None,
            })
            .collect()
    }

    #[test]
    fn a_frame_inside_a_payload_is_never_taken_for_one() {
        let mut inner = Vec::new();
        push(&mut inner, 0, 0, 1, &[b"forged"]);
        let mut bytes = file(&[b"a", &inner, b"b"]);
        bytes[HEAD + 1] ^= 1;
        assert_eq!(found(&bytes), [b"a", b"b"]);
    }

    #[test]
    fn a_frame_in_the_wrong_place_is_none() {
        let bytes = file(&[b"a", b"b"]);
        assert!(found(&bytes[HEAD + 1..]).is_empty());
    }

    proptest! {
        #[test]
        fn one_damaged_byte_costs_one_frame_at_most(at in 0..90_usize, flip in 1..=255_u8) {
            let whole: [&[u8]; 4] = [b"first one", b"second one", b"", b"the last one"];
            let mut bytes = file(&whole);
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let found = found(&bytes);
            prop_assert_eq!(found.len(), 3);
            prop_assert!(found.iter().all(|payload| whole.contains(&payload.as_slice())));
        }

        #[test]
        fn arbitrary_bytes_hold_no_frame(bytes: Vec<u8>) {
            prop_assert!(found(&bytes).is_empty());
        }
    }
}
