//! One log-in on its way.

use std::time::Instant;

use karez_api::Secret;

use crate::auth::oauth2::{Account, DpopKey, LoggedIn, OAuthAccount};

pub(super) struct Pending {
    /// The hash of the ticket.
    pub(super) ticket: Vec<u8>,
    pub(super) of: OAuthAccount,
    pub(super) redirect_url: String,
    pub(super) account: Account,
    pub(super) until: Instant,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    Invited,
    Begun(Box<Begun>),
    Finishing,
    Done(Box<LoggedIn>),
    Failed(String),
}

/// What has to fit when the browser comes back.
pub(super) struct Begun {
    /// The hashes of what the server and the browser bring back.
    pub(super) state: Vec<u8>,
    pub(super) cookie: Vec<u8>,
    pub(super) nonce: Option<Secret>,
    pub(super) verifier: Option<Secret>,
    pub(super) redirect_url: String,
    pub(super) key: Option<DpopKey>,
}

pub(super) struct Taken {
    pub(super) ticket: Vec<u8>,
    pub(super) of: OAuthAccount,
    pub(super) account: Account,
    pub(super) begun: Box<Begun>,
}

impl Pending {
    /// Yields it where the state is its own, once.
    pub(super) fn take(&mut self, state: &[u8]) -> Option<Taken> {
        match std::mem::replace(&mut self.stage, Stage::Finishing) {
            Stage::Begun(begun) if begun.state == state => {
                Some(Taken { ticket: self.ticket.clone(), of: self.of.clone(), account: self.account, begun })
            }
            other => {
                self.stage = other;
                None
            }
        }
    }
}
