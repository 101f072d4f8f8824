//! Bodies that are packed with gzip (RFC 9110 §8.4.1.3), unpacked here rather than in the library: it forgets how long a
//! packed body was to be, and what broke off looked whole.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::{HeaderMap, HeaderValue, header};

/// So much is unpacked before the limit is looked at: a thousand times as much may come of it.
const STEP: usize = 1 << 10;

/// What we can unpack, where the caller asks for nothing else. A part of something packed is no use.
pub(super) fn ask(headers: &mut HeaderMap) {
    if !headers.contains_key(header::ACCEPT_ENCODING) && !headers.contains_key(header::RANGE) {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

pub(super) struct Unpacker {
    decoder: MultiGzDecoder<Vec<u8>>,
    has_begun: bool,
}

impl Unpacker {
    /// One, if the answer is packed; its headers are those of what comes of it then.
    pub(super) fn of(headers: &mut HeaderMap) -> Option<Self> {
        let coding = headers.get(header::CONTENT_ENCODING)?.to_str().ok()?;
        if !["gzip", "x-gzip"].iter().any(|name| coding.eq_ignore_ascii_case(name)) {
            return None;
        }
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
        Some(Self { decoder: MultiGzDecoder::new(Vec::new()), has_begun: false })
    }

    /// False where there is more than `limit`.
    ///
    /// # Errors
    /// It is not what gzip writes.
    pub(super) fn take(&mut self, piece: &[u8], limit: usize) -> io::Result<bool> {
        self.has_begun |= !piece.is_empty();
        for step in piece.chunks(STEP) {
            self.decoder.write_all(step)?;
            if self.decoder.get_ref().len() > limit {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What comes of the beginning of `piece`, and no more of it than `enough` bytes take; it may be nothing.
    ///
    /// # Errors
    /// It is not what gzip writes.
    pub(super) fn next(&mut self, piece: &mut Bytes, enough: usize) -> io::Result<Bytes> {
        while !piece.is_empty() && self.decoder.get_ref().len() < enough {
            self.has_begun = true;
            self.decoder.write_all(&piece.split_to(piece.len().min(STEP)))?;
        }
        // Nothing of what came waits in there for what is still to come.
        self.decoder.flush()?;
        Ok(std::mem::take(self.decoder.get_mut()).into())
    }

    /// Nothing has come: an answer without a body may name its packing, too.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_begun
    }

    /// Whether all has come, which it says itself.
    pub(super) fn has_ended(&mut self) -> bool {
        self.has_begun && self.decoder.try_finish().is_ok()
    }

    /// What was unpacked so far, at most `limit` bytes of it.
    pub(super) fn unpacked(mut self, limit: usize) -> Vec<u8> {
        let mut unpacked = std::mem::take(self.decoder.get_mut());
        unpacked.truncate(limit);
        unpacked
    }
}
