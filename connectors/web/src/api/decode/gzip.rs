//! Bodies that are gzip files (RFC 1952), of one member or several. What the client unpacks by `Content-Encoding` is none
//! of this.

use std::io::Write as _;

use bytes::{Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use karez_api::Fault;

use super::fault::{bad, bad_answer};

pub(super) const ACCEPTS: [&str; 13] = [
    "application/gzip",
    "application/x-gzip",
    "application/octet-stream",
    "binary/octet-stream",
    "application/json",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "text/csv",
    "application/csv",
    "application/xml",
    "text/xml",
    "text/plain",
];

/// How every gzip file begins.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Unpacked at once: no more than about a thousand times as much comes of it.
const STEP: usize = 16 << 10;

/// Unpacks a file as its pieces come.
pub(super) struct Unpacker {
    inner: MultiGzDecoder<Vec<u8>>,
    /// The first bytes, until there are enough of them to know what they are.
    first: BytesMut,
    begun: bool,
}

impl Unpacker {
    pub(super) fn new() -> Self {
        Self { inner: MultiGzDecoder::new(Vec::new()), first: BytesMut::new(), begun: false }
    }

    /// What comes out of a piece; `None` is the end.
    pub(super) fn feed(&mut self, piece: Option<Bytes>) -> Result<Bytes, Fault> {
        match piece {
            Some(piece) if self.begun => self.write(&piece)?,
            Some(piece) => {
                self.first.extend_from_slice(&piece);
                if self.first.len() < MAGIC.len() {
                    return Ok(Bytes::new());
                }
                self.begin()?;
            }
            None if self.begun => self.inner.try_finish().map_err(|_| broken())?,
            None => self.begin()?,
        }
        Ok(std::mem::take(self.inner.get_mut()).into())
    }

    fn begin(&mut self) -> Result<(), Fault> {
        let first = std::mem::take(&mut self.first);
        if !first.starts_with(&MAGIC) {
            return Err(bad_answer("a gzip file, as `gzip: true` says", "it begins as none", &first));
        }
        self.begun = true;
        self.write(&first)
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Fault> {
        self.inner.write_all(piece).map_err(|_| broken())
    }
}

/// # Errors
/// It is no gzip file, not a whole one, or has more than `limit` bytes in it.
pub(super) fn unpack(body: &Bytes, limit: usize) -> Result<Bytes, Fault> {
    let mut unpacker = Unpacker::new();
    let mut whole = BytesMut::new();
    let pieces = (0..body.len()).step_by(STEP).map(|at| body.slice(at..body.len().min(at + STEP)));
    for piece in pieces.map(Some).chain([None]) {
        whole.extend_from_slice(&unpacker.feed(piece)?);
        if whole.len() > limit {
            let packed = body.len();
            return Err(bad(format!("the gzip file of {packed} bytes has more than {limit} bytes in it")));
        }
    }
    Ok(whole.freeze())
}

fn broken() -> Fault {
    bad("the answer is not a whole gzip file: it ends too early, or is damaged")
}

#[cfg(test)]
pub(super) fn packed(text: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(body: &[u8], limit: usize) -> Result<Bytes, String> {
        unpack(&Bytes::copy_from_slice(body), limit).map_err(|fault| fault.message().to_owned())
    }

    #[test]
    fn members_one_behind_the_other_are_one_text() {
        let two = [packed(b"first "), packed(b"second")].concat();
        assert_eq!(unpacked(&two, 100).unwrap(), "first second");
        let mut unpacker = Unpacker::new();
        let mut text = Vec::new();
        for byte in two {
            text.extend_from_slice(&unpacker.feed(Some(Bytes::copy_from_slice(&[byte]))).unwrap());
        }
        text.extend_from_slice(&unpacker.feed(None).unwrap());
        assert_eq!(text, b"first second");
    }

    #[test]
    fn what_is_not_a_whole_file_is_none() {
        let whole = packed(b"some text of some length");
        for length in 1..whole.len() {
            let told = unpacked(&whole[..length], 1 << 20).unwrap_err();
            assert!(told.contains("ends too early") || length == 1, "{length}: {told}");
        }
        let mut damaged = whole.clone();
        let crc = damaged.len() - 8;
        damaged[crc] ^= 1;
        assert!(unpacked(&damaged, 1 << 20).unwrap_err().contains("damaged"));
        assert!(unpacked(b"{\"a\":1}", 100).unwrap_err().contains("begin with {\"a\":1}"));
        assert!(unpacked(b"", 100).unwrap_err().contains("empty, not a gzip file"));
    }

    #[test]
    fn a_bomb_is_left_alone_before_it_is_large() {
        let bomb = packed(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100_000, "{}", bomb.len());
        assert!(unpacked(&bomb, 1 << 20).unwrap_err().contains("more than 1048576 bytes in it"));
    }
}
