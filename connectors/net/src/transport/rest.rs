//! The body of an answer that is read while it comes.

use bytes::Bytes;

use super::body::{End, too_large, torn};
use super::failure::failure;
use super::packed::Unpacker;
use crate::Failure;

/// When so many bytes were unpacked, they are handed on.
const PIECE: usize = 64 << 10;

/// What is still to come of a body, decompressed.
pub(crate) struct Rest {
    /// Method and place of the request, for people.
    pub(crate) to: String,
    answer: reqwest::Response,
    packed: Option<Unpacker>,
    /// What came and was not unpacked yet.
    held: Bytes,
    /// Most bytes of the whole body, and how many came.
    limit: usize,
    read: usize,
    tells_its_end: bool,
}

impl Rest {
    pub(super) fn new(
        to: String,
        answer: reqwest::Response,
        packed: Option<Unpacker>,
        limit: usize,
        tells_its_end: bool,
    ) -> Self {
        Self { to, answer, packed, held: Bytes::new(), limit, read: 0, tells_its_end }
    }

    /// The next piece, which is not empty.
    ///
    /// # Errors
    /// It broke off, is not packed as it says, or there is more than may be read.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if self.held.is_empty() {
                match self.answer.chunk().await {
                    Ok(Some(piece)) => self.held = piece,
                    ended => return self.ended(ended.err()).map(|()| None),
                }
            }
            let piece = match &mut self.packed {
                Some(packed) => packed.next(&mut self.held, PIECE).map_err(|_| torn(&self.to))?,
                None => std::mem::take(&mut self.held),
            };
            self.read = self.read.saturating_add(piece.len());
            if self.read > self.limit {
                return Err(too_large(&self.to, self.limit));
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    /// Whether that is the end of it.
    fn ended(&mut self, error: Option<reqwest::Error>) -> Result<(), Failure> {
        match End::of(self.packed.as_mut(), error) {
            End::Whole => Ok(()),
            End::Broken(_) if !self.tells_its_end => Ok(()),
            End::Broken(error) => Err(failure(&self.to, error)),
            End::Torn | End::Large | End::Enough => Err(torn(&self.to)),
        }
    }
}
