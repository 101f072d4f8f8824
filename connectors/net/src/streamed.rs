//! An answer whose body is read while it comes, for those that are too large to be held.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use karez_api::{Class, Clock, Fault};

use crate::layers::Deadline;
use crate::transport::Rest;
use crate::{Effect, Failure, Response, Tally};

/// Most bytes that are handed out at once: what is packed may grow a thousand times in the next hands.
const PIECE: usize = 64 << 10;

/// A good answer that has begun to come. Dropped early, its connection is closed.
pub struct Streamed {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// What came and was not handed out.
    held: Bytes,
    rest: Coming,
    /// Longest time without anything.
    idle: Duration,
    clock: Arc<dyn Clock>,
    tally: Option<Arc<Tally>>,
}

/// What else there is of a body.
enum Coming {
    Nothing,
    More(Box<Rest>),
    /// Why there is no more of it: it must not be taken for its end, however often it is asked for.
    Broken(Failure),
}

impl Streamed {
    pub(crate) fn new(
        (answer, rest): (Response, Option<Rest>),
        idle: Duration,
        clock: Arc<dyn Clock>,
        tally: Option<Arc<Tally>>,
    ) -> Self {
        let Response { status, headers, body, .. } = answer;
        let rest = rest.map_or(Coming::Nothing, |rest| Coming::More(Box::new(rest)));
        Self { status, headers, held: body, rest, idle, clock, tally }
    }

    /// The next piece of the body, decompressed; `None` is its end.
    ///
    /// # Errors
    /// Class connection: it broke off, or nothing came for as long as a call may take. Class validation,
    /// `response_too_large`: there is more of it than may be read. Whoever asks again is told the same.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.held.is_empty() {
            let Some(piece) = self.more().await? else { return Ok(None) };
            if let Some(tally) = &self.tally {
                tally.received(piece.len());
            }
            self.held = piece;
        }
        Ok(Some(self.held.split_to(self.held.len().min(PIECE))))
    }

    async fn more(&mut self) -> Result<Option<Bytes>, Failure> {
        let rest = match &mut self.rest {
            Coming::Nothing => return Ok(None),
            Coming::Broken(failure) => return Err(failure.clone()),
            Coming::More(rest) => rest,
        };
        let deadline = Deadline::after(self.idle, self.clock.instant());
        // Nothing is lost where a caller gives up waiting in here.
        let came = deadline.within(&*self.clock, rest.next()).await;
        let failure = match came {
            Some(Ok(Some(piece))) => return Ok(Some(piece)),
            Some(Ok(None)) => {
                self.rest = Coming::Nothing;
                return Ok(None);
            }
            Some(Err(failure)) => failure,
            None => {
                let message = format!("{} sent nothing more for {:?}", rest.to, self.idle);
                let fault = Fault::new(Class::Connection, "timeout", message);
                Failure { fault, effect: Effect::Unknown, response: None }
            }
        };
        let failure = failure.named();
        self.rest = Coming::Broken(failure.clone());
        Err(failure)
    }
}
