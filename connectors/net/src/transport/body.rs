//! The body of an answer, decompressed, while it is no longer than it may be; and what it means that it broke off.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Version, header};
use karez_api::Fault;

use super::packed::Unpacker;
use crate::{Effect, Failure};

/// What the far end says of the body's length; it may lie, so no more than this is believed.
const BELIEVED: usize = 1 << 20;

/// How reading came to its end.
pub(super) enum End {
    Whole,
    Broken(reqwest::Error),
    /// It is not what it says it is packed with, or a part is missing.
    Torn,
    /// There is more than may be read.
    Large,
    /// Nobody wanted to wait for more.
    Enough,
}

impl End {
    /// Nothing more comes. What is packed says itself where its end is, however the connection ended.
    pub(super) fn of(packed: Option<&mut Unpacker>, error: Option<reqwest::Error>) -> Self {
        match (error, packed) {
            (None, None) => Self::Whole,
            (None, Some(packed)) if packed.is_empty() => Self::Whole,
            (error, Some(packed)) => match (packed.has_ended(), error) {
                (true, _) => Self::Whole,
                (false, Some(error)) => Self::Broken(error),
                (false, None) => Self::Torn,
            },
            (Some(error), None) => Self::Broken(error),
        }
    }
}

/// What was read so far.
pub(super) struct Body {
    limit: usize,
    expected: usize,
    packed: Option<Unpacker>,
    /// Most answers are one piece, which is not copied.
    first: Bytes,
    more: BytesMut,
}

impl Body {
    /// `headers` are those of what is read from here on.
    pub(super) fn new(headers: &mut HeaderMap, limit: usize) -> Self {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let expected = length.unwrap_or(0).min(BELIEVED).min(limit);
        let packed = Unpacker::of(headers);
        Self { limit, expected, packed, first: Bytes::new(), more: BytesMut::new() }
    }

    /// Reads on; what was read stays when this is dropped.
    pub(super) async fn read(&mut self, answer: &mut reqwest::Response) -> End {
        loop {
            let piece = match answer.chunk().await {
                Ok(Some(piece)) => piece,
                ended => return End::of(self.packed.as_mut(), ended.err()),
            };
            let fits = match &mut self.packed {
                Some(packed) => packed.take(&piece, self.limit),
                None => Ok(self.take(&piece)),
            };
            match fits {
                Ok(true) => {}
                Ok(false) => return End::Large,
                Err(_) => return End::Torn,
            }
        }
    }

    /// False where there is more than may be read.
    fn take(&mut self, piece: &Bytes) -> bool {
        let room = self.limit - self.first.len().max(self.more.len());
        let part = piece.slice(..piece.len().min(room));
        if self.first.is_empty() && self.more.is_empty() {
            self.first = part;
        } else {
            if self.more.is_empty() {
                self.more.reserve(self.expected.max(self.first.len() + part.len()));
                self.more.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.more.extend_from_slice(&part);
        }
        piece.len() <= room
    }

    pub(super) fn finish(self) -> Bytes {
        match self.packed {
            Some(packed) => packed.unpacked(self.limit).into(),
            None if self.more.is_empty() => self.first,
            None => self.more.freeze(),
        }
    }
}

/// Whether an answer that broke off can be told from a whole one (RFC 9112 §8): not where its end is
/// the end of its connection, which many servers do not close in the way that TLS asks for.
pub(super) fn tells_its_end(answer: &reqwest::Response) -> bool {
    answer.version() > Version::HTTP_11
        || answer.headers().contains_key(header::CONTENT_LENGTH)
        || answer.headers().contains_key(header::TRANSFER_ENCODING)
        || answer.headers().contains_key(header::CONTENT_ENCODING)
}

pub(super) fn too_large(to: &str, limit: usize) -> Failure {
    let message = format!("{to} answered with more than {limit} bytes, the most that `max_response` allows");
    let fault = Fault::validation("response_too_large", message);
    Failure { fault, effect: Effect::Unknown, response: None }
}

pub(super) fn torn(to: &str) -> Failure {
    let fault = Fault::connection(format!("{to} failed: the packed answer (gzip) is not whole"));
    Failure { fault, effect: Effect::Unknown, response: None }
}
