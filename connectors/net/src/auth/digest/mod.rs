//! HTTP digest (RFC 7616): the first refusal says what is asked for; from then on it is answered ahead, and counted.

mod challenge;
mod response;

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use http::header;
use karez_api::{Fault, Path, Problem, Secret};
use uuid::Uuid;

use super::{Credentials, Stamp, sensitive};
use crate::spec::Digest;
use crate::{Request, Response};
use challenge::{Challenge, next_nonce};
use response::Asked;

pub(crate) struct DigestCredentials {
    username: String,
    password: Secret,
    known: Mutex<Known>,
}

/// What the far end asked for last.
#[derive(Default)]
struct Known {
    challenge: Option<Challenge>,
    /// Requests with its nonce.
    count: u32,
    /// Goes up with each challenge; 0 before the first.
    turn: u64,
    /// The same for as long as the nonce, which `-sess` builds on.
    cnonce: String,
}

impl Known {
    fn learn(&mut self, challenge: Challenge) {
        let turn = self.turn + 1;
        *self =
            Self { challenge: Some(challenge), count: 0, turn, cnonce: Uuid::new_v4().simple().to_string() };
    }
}

impl DigestCredentials {
    pub(super) fn new(spec: &Digest) -> Self {
        Self { username: spec.username.clone(), password: spec.password.clone(), known: Mutex::default() }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Credentials for DigestCredentials {
    async fn apply(&self, request: &mut Request) -> Result<Stamp, Fault> {
        let mut known = self.known();
        let known = &mut *known;
        let Some(challenge) = &known.challenge else {
            // Credentials of the caller's own would hide that ours are wanted.
            request.headers.remove(header::AUTHORIZATION);
            return Ok(Stamp(known.turn));
        };
        known.count = known.count.saturating_add(1);
        let uri = match request.url.query() {
            Some(query) => format!("{}?{query}", request.url.path()),
            None => request.url.path().to_owned(),
        };
        let value = challenge.answer(&Asked {
            username: &self.username,
            password: self.password.expose(),
            method: request.method.as_str(),
            uri: &uri,
            body: &request.body,
            cnonce: &known.cnonce,
            count: known.count,
        });
        request.headers.insert(header::AUTHORIZATION, sensitive(&value).map_err(Fault::auth)?);
        Ok(Stamp(known.turn))
    }

    async fn refused(&self, stamp: Stamp, answer: &Response) -> Result<bool, Fault> {
        let mut known = self.known();
        if stamp.0 != known.turn {
            return Ok(true);
        }
        let Some(challenge) = Challenge::read(&answer.headers) else {
            return Ok(false);
        };
        // A nonce that was good before has run out, whether the far end says so or not; one that never was means
        // that the password is wrong.
        let first = known.challenge.is_none();
        let ran_out = challenge.stale || known.count > 1;
        known.learn(challenge);
        Ok(first || ran_out)
    }

    fn accepted(&self, stamp: Stamp, answer: &Response) {
        let Some(nonce) = next_nonce(&answer.headers) else {
            return;
        };
        let mut known = self.known();
        if stamp.0 == known.turn
            && let Some(challenge) = known.challenge.clone()
        {
            known.learn(Challenge { nonce, ..challenge });
        }
    }
}

pub(super) fn check(spec: &Digest, at: &Path, problems: &mut Vec<Problem>) {
    if spec.username.chars().any(char::is_control) {
        let what = "a user name has no ends of line and the like";
        problems.push(Problem::error("bad-name", at.field("username"), what));
    }
}

#[cfg(test)]
mod tests;
