//! An authorization server with the oddities of real ones, and an API that takes its tokens. It counts what is asked
//! of it, and can lose, delay or garble single answers after (or before) it did its part.
//!
//! It judges no client secrets and no signatures: certified servers do that.

mod issue;
mod proof;
mod serve;

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::server::Server;
use crate::{Seen, eventually};
use issue::Issuer;

/// What is odd about all of its answers.
#[derive(Debug, Clone)]
pub struct Oddities {
    /// How long access tokens count. Default 1h.
    pub lifetime: Duration,
    /// Whether each refresh yields a new refresh token and uses the old one up. Default true.
    pub rotates: bool,
    /// Whether a refresh token that was used up revokes all that came of the same log-in. Default true.
    pub reuse_revokes: bool,
    /// Whether the last refresh token counts until its successor was used, for clients that lost an answer. Default false.
    pub grace: bool,
    /// `expires_in` in milliseconds. Default false.
    pub milliseconds: bool,
    /// The tokens stand in `authed_user`. Default false.
    pub nested: bool,
    /// A DPoP proof with a nonce of ours is wanted (RFC 9449 §8). Default false.
    pub dpop: bool,
}

impl Default for Oddities {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(3_600),
            rotates: true,
            reuse_revokes: true,
            grace: false,
            milliseconds: false,
            nested: false,
            dpop: false,
        }
    }
}

/// What happens to one answer of the token address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slip {
    /// It was done, and the connection ends without an answer.
    Lost,
    /// It was done, and the answer waits until [`OAuthServer::release`].
    Held,
    /// It was done, and the answer comes so late.
    Slow(Duration),
    /// It was not done: this OAuth error under status 200.
    ErrorUnder200(&'static str),
    /// It was not done: this OAuth error under status 400.
    Error(&'static str),
    /// It was not done: a page of HTML under status 200.
    Html,
    /// It was not done: this status, and these seconds in `Retry-After` if there are any.
    Status(u16, Option<u64>),
}

/// What was asked so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests to the token address, whatever came of them.
    pub token_calls: usize,
    /// Refreshes that were done, their answers lost or not.
    pub refreshed: usize,
    /// Refresh tokens that came again after they were used up.
    pub reused: usize,
    /// Log-ins of which all tokens were revoked because of that.
    pub families_revoked: usize,
    /// Calls of `/revoke`.
    pub revocations: usize,
    pub api_accepted: usize,
    pub api_refused: usize,
    /// Proofs (DPoP) without the nonce that was wanted.
    pub nonces_missed: usize,
}

struct State {
    issuer: Issuer,
    seen: Vec<Seen>,
    /// For the next answers of the token address, one each.
    slips: Vec<Slip>,
    released: u64,
    held: u64,
    ends: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A server of a test's own: `/authorize`, `/token`, `/revoke`; any other path is the API.
pub struct OAuthServer {
    shared: Arc<Shared>,
    server: Server,
}

impl OAuthServer {
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Oddities::default())
    }

    /// # Panics
    /// There is no port to be had.
    #[must_use]
    pub fn start_with(oddities: Oddities) -> Self {
        let state = State {
            issuer: Issuer::new(oddities),
            seen: Vec::new(),
            slips: Vec::new(),
            released: 0,
            held: 0,
            ends: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        Self { server: Server::start(Arc::clone(&shared) as _), shared }
    }

    /// Like `http://127.0.0.1:4711/token`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// From now on.
    pub fn behave(&self, change: impl FnOnce(&mut Oddities)) {
        change(&mut self.state().issuer.oddities);
    }

    /// The next answers of the token address come so, one each, after those that were told before.
    pub fn slip(&self, slips: impl IntoIterator<Item = Slip>) {
        self.state().slips.extend(slips);
    }

    /// The refresh token of a new log-in, for `grant: refresh_token`.
    #[must_use]
    pub fn log_in(&self) -> String {
        self.state().issuer.log_in()
    }

    /// Access tokens that were given out so far count no more.
    pub fn expire(&self) {
        self.state().issuer.expire();
    }

    /// All tokens of all log-ins count no more: a human has to log in again.
    pub fn revoke(&self) {
        self.state().issuer.revoke_all();
    }

    /// Answers that are held may go.
    pub fn release(&self) {
        let mut state = self.state();
        state.released = state.held;
        self.shared.changed.notify_all();
    }

    /// Waits until so many answers in all were held: what they tell is done, and nobody knows it yet.
    ///
    /// # Panics
    /// They are not.
    #[track_caller]
    pub fn holds(&self, answers: u64) {
        eventually("the authorization server holds an answer", || self.state().held >= answers);
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().issuer.counts
    }

    /// All requests, in the order in which they arrived.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }
}

impl Drop for OAuthServer {
    fn drop(&mut self) {
        self.state().ends = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
