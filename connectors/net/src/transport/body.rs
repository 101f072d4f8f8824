//! The body of an answer, decompressed, while it is no longer than it may be; and what it means that it broke off.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Version, header};
use karez_api::Fault;

use crate::{Effect, Failure};

/// What the far end says of the body's length; it may lie, so no more than this is believed.
const BELIEVED: usize = 1 << 20;

/// How reading came to its end.
pub(super) enum End {
    Whole,
    Broken(reqwest::Error),
    /// There is more than may be read.
    Large,
    /// Nobody wanted to wait for more.
    Enough,
}

/// What was read so far.
pub(super) struct Body {
    limit: usize,
    expected: usize,
    /// Most answers are one piece, which is not copied.
    first: Bytes,
    more: BytesMut,
}

impl Body {
    pub(super) fn new(headers: &HeaderMap, limit: usize) -> Self {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let expected = length.unwrap_or(0).min(BELIEVED).min(limit);
        Self { limit, expected, first: Bytes::new(), more: BytesMut::new() }
    }

    /// Reads on; what was read stays when this is dropped.
    pub(super) async fn read(&mut self, answer: &mut reqwest::Response) -> End {
        loop {
            match answer.chunk().await {
                Ok(Some(piece)) => {
                    let room = self.limit - self.first.len().max(self.more.len());
                    self.take(piece.slice(..piece.len().min(room)));
                    if piece.len() > room {
                        return End::Large;
                    }
                }
                Ok(None) => return End::Whole,
                Err(error) => return End::Broken(error),
            }
        }
    }

    fn take(&mut self, piece: Bytes) {
        if self.first.is_empty() && self.more.is_empty() {
            self.first = piece;
            return;
        }
        if self.more.is_empty() {
            self.more.reserve(self.expected.max(self.first.len() + piece.len()));
            self.more.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.more.extend_from_slice(&piece);
    }

    pub(super) fn finish(self) -> Bytes {
        if self.more.is_empty() { self.first } else { self.more.freeze() }
    }
}

/// Whether an answer that broke off can be told from a whole one (RFC 9112 §8): not where its end is
/// the end of its connection, which many servers do not close in the way that TLS asks for.
pub(super) fn tells_its_end(answer: &reqwest::Response) -> bool {
    answer.version() > Version::HTTP_11
        || answer.headers().contains_key(header::CONTENT_LENGTH)
        || answer.headers().contains_key(header::TRANSFER_ENCODING)
}

pub(super) fn too_large(to: &str, limit: usize) -> Failure {
    let message = format!("{to} answered with more than {limit} bytes, the most that `max_response` allows");
    let fault = Fault::validation("response_too_large", message);
    Failure { fault, effect: Effect::Unknown, response: None }
}
