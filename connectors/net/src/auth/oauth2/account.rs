//! A connection's account: how it is doing, what a log-in brings, and how it is removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use karez_api::{Fault, Millis, Secret};
use serde::Serialize;

use super::client::Fresh;
use super::dpop::DpopKey;
use super::endpoint::Endpoint;
use super::live::Live;
use super::params::Params;
use super::slot::{Found, Unwritten};
use super::token::{Entry, Subject, Tokens};
use crate::auth::AuthStatus;
use crate::spec::Grant;

/// How often a log-in is written again that somebody wrote over: a log-in is what a human wants last.
const MOST_TRIES: usize = 10;

/// What a log-in yields, for people.
#[derive(Debug, Clone, Serialize)]
pub struct LoggedIn {
    pub connection: String,
    /// Who, where the server says so in an id token.
    pub subject: Option<String>,
    pub scope: Option<String>,
    /// Values that were kept, by name.
    pub kept: BTreeMap<String, String>,
    /// In milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Millis>,
    /// Whether it renews itself: the server gave a refresh token.
    pub renews: bool,
}

/// What a log-in brought.
pub(crate) struct Brought {
    pub(crate) fresh: Fresh,
    pub(crate) kept: BTreeMap<String, String>,
    pub(crate) subject: Option<Subject>,
    pub(crate) key: Option<DpopKey>,
}

/// Whether a log-in may change the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    Same,
    Any,
}

/// The account of a connection that somebody logs in to.
#[derive(Clone)]
pub struct OAuthAccount(pub(crate) Arc<Live>);

impl OAuthAccount {
    /// How its tokens are got.
    #[must_use]
    pub fn grant(&self) -> Grant {
        self.0.client.spec.grant
    }

    /// Where its log-ins come back to, where the file says it.
    #[must_use]
    pub fn redirect_url(&self) -> Option<&str> {
        self.0.client.spec.redirect_url.as_deref()
    }

    /// Tells the server that the tokens are not needed any more (RFC 7009), and deletes them. Yields what the server
    /// did not take, which does not keep them here.
    ///
    /// # Errors
    /// They cannot be read or deleted.
    pub async fn log_out(&self) -> Result<Option<Fault>, Fault> {
        self.0.log_out().await
    }
}

impl Live {
    /// Keeps what a log-in brought, and uses it from now on.
    ///
    /// # Errors
    /// It is another account than before, or it cannot be written.
    pub(crate) async fn log_in(&self, brought: Brought, account: Account) -> Result<LoggedIn, Fault> {
        let Brought { fresh, kept, subject, key } = brought;
        let before = Tokens { kept, subject: subject.clone(), ..Tokens::default() };
        let tokens = self.tokens_of(&fresh, &before);
        self.warn_of(&tokens);
        for _ in 0..MOST_TRIES {
            let Found { entry, expect } = self.slot.read().await?;
            self.same_account(&entry, subject.as_ref(), account)?;
            let entry = Entry {
                tokens: Some(tokens.clone()),
                dpop_key: key.as_ref().map(|key| key.pem().clone()),
                ..Entry::default()
            };
            match self.slot.write(&entry, expect).await {
                Err(Unwritten::Conflict) => {}
                Err(Unwritten::Failed(fault)) => return Err(fault),
                Ok(_) => {
                    self.adopt_log_in(tokens.clone(), key);
                    self.learn_expiry().await;
                    return Ok(self.logged_in(tokens));
                }
            }
        }
        Err(Fault::service("the tokens in the vault keep changing: log in again"))
    }

    fn logged_in(&self, tokens: Tokens) -> LoggedIn {
        LoggedIn {
            connection: self.client.name.to_string(),
            subject: tokens.subject.map(|subject| subject.subject),
            scope: tokens.scope,
            kept: tokens.kept,
            expires_at: tokens.expires_at,
            renews: tokens.refresh.is_some(),
        }
    }

    fn same_account(&self, entry: &Entry, now: Option<&Subject>, account: Account) -> Result<(), Fault> {
        let before = entry.tokens.as_ref().and_then(|tokens| tokens.subject.as_ref());
        let (Some(before), Some(now), Account::Same) = (before, now, account) else {
            return Ok(());
        };
        if before.issuer == now.issuer && before.subject == now.subject {
            return Ok(());
        }
        let message = format!(
            "connection {} was logged in as {} and would be {} now: log in as before, or with `--any-account` to change it",
            self.client.name, before.subject, now.subject
        );
        Err(Fault::auth(message).with_code("other_account"))
    }

    async fn log_out(&self) -> Result<Option<Fault>, Fault> {
        let Found { entry, .. } = self.slot.read().await?;
        let tokens = entry.tokens.unwrap_or_default();
        let mut untaken = None;
        // The refresh token first: with it most servers revoke what came of it.
        for (token, hint) in [(&tokens.refresh, "refresh_token"), (&tokens.access, "access_token")] {
            if let Some(token) = token {
                untaken = self.revoke(token, hint, &tokens.kept).await.err().or(untaken);
            }
        }
        self.slot.remove().await?;
        self.forget();
        Ok(untaken)
    }

    async fn revoke(&self, token: &Secret, hint: &str, kept: &BTreeMap<String, String>) -> Result<(), Fault> {
        let url = self.client.find(Endpoint::Revocation, kept).await.map_err(|refusal| refusal.fault())?;
        let Some(url) = url else {
            return Ok(());
        };
        let mut params = Params::default();
        params.set("token", token.expose());
        params.set("token_type_hint", hint);
        let asked = self.client.form(url, params, None).await.map_err(|refusal| refusal.fault())?;
        match asked.answer.status.is_success() {
            true => Ok(()),
            false => {
                Err(Fault::service(format!("the server did not revoke the {hint}: {}", asked.answer.status)))
            }
        }
    }

    pub(crate) fn status(&self) -> AuthStatus {
        let held = self.current();
        let now = self.client.clock.instant();
        let tokens = held.as_ref().map(|held| &held.tokens);
        let (state, why) =
            self.with_trouble(|trouble| match (trouble.needs_login(), trouble.fault(), &held) {
                (Some(why), ..) => ("needs_login", Some(why.to_owned())),
                (_, Some(fault), _) => ("failing", Some(fault.message().to_owned())),
                (_, _, Some(held)) if held.is_expired(now) => ("expired", None),
                (_, _, Some(_)) => ("ready", None),
                (_, _, None) => ("idle", None),
            });
        AuthStatus {
            state,
            why,
            expires_at: tokens.and_then(|tokens| tokens.expires_at),
            refresh_expires_at: tokens.and_then(|tokens| tokens.refresh_expires_at),
            subject: tokens.and_then(|tokens| tokens.subject.as_ref()).map(|subject| subject.subject.clone()),
            scope: tokens.and_then(|tokens| tokens.scope.clone()),
        }
    }
}
