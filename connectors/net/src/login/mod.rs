//! A human logs in once, and the connection has tokens from then on: in a browser (authorization code with PKCE), or
//! elsewhere with a code that is shown (RFC 8628). Who listens for the browser is not here.

mod browser;
mod device;
mod pending;
mod random;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use karez_api::{Clock, Fault, Secret};
use reqwest::Url;
use serde::Serialize;

pub use device::DeviceLogin;
use pending::{Pending, Stage};

pub use crate::auth::oauth2::{Account, LoggedIn, OAuthAccount};

/// How long a log-in may take.
pub const LIFETIME: Duration = Duration::from_secs(600);
/// Log-ins that are begun and not over.
const MOST: usize = 64;
/// The cookie that binds a log-in to the browser that began it.
const COOKIE: &str = "karez_login";

/// Log-ins that are begun and not over, or over since a moment ago.
pub struct Logins {
    clock: Arc<dyn Clock>,
    list: Mutex<Vec<Pending>>,
}

/// What a human opens in a browser to log in: an address with this at its end.
#[derive(Debug)]
pub struct Invitation {
    pub ticket: Secret,
    pub expires_in: Duration,
}

/// Where a browser goes from here, and what it is to remember.
#[derive(Debug)]
pub struct Started {
    pub location: Url,
    /// A value for `Set-Cookie`.
    pub cookie: Secret,
}

/// What became of a log-in.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Outcome {
    Waiting,
    Done(LoggedIn),
    Failed {
        why: String,
    },
    /// There is none of that ticket, or it took too long.
    Unknown,
}

impl Logins {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, list: Mutex::default() }
    }

    /// Lets somebody log in: whoever has the ticket may [`Logins::start`]. `redirect_url` is where the server sends
    /// the browser back to.
    ///
    /// # Errors
    /// Too many have begun, or there is no randomness to be had.
    pub fn invite(
        &self,
        of: &OAuthAccount,
        redirect_url: &str,
        account: Account,
    ) -> Result<Invitation, Fault> {
        let ticket = random::secret()?;
        let now = self.clock.instant();
        let mut list = self.list();
        list.retain(|pending| now < pending.until);
        if list.len() >= MOST {
            return Err(Fault::rate_limit("too many log-ins have begun and are not over", Some(LIFETIME)));
        }
        list.push(Pending {
            ticket: random::hash(ticket.expose()),
            of: of.clone(),
            redirect_url: redirect_url.to_owned(),
            account,
            until: now + LIFETIME,
            stage: Stage::Invited,
        });
        Ok(Invitation { ticket, expires_in: LIFETIME })
    }

    /// Sends a browser on its way. Doing so again begins again: the last browser counts.
    ///
    /// # Errors
    /// There is no such ticket, or the server cannot be asked.
    pub async fn start(&self, ticket: &str) -> Result<Started, Fault> {
        let unknown = || Fault::validation("unknown_login", "this log-in is not known any more: begin again");
        let found = self.by_ticket(ticket, |pending| match pending.stage {
            Stage::Invited | Stage::Begun(_) => Some((pending.of.clone(), pending.redirect_url.clone())),
            _ => None,
        });
        let (of, redirect_url) = found.flatten().ok_or_else(unknown)?;
        let (location, begun, secret) = browser::begin(&of, &redirect_url).await?;
        let cookie = browser::cookie(&secret, &redirect_url);
        let kept = self.by_ticket(ticket, |pending| match pending.stage {
            Stage::Invited | Stage::Begun(_) => {
                pending.stage = Stage::Begun(Box::new(begun));
                true
            }
            _ => false,
        });
        match kept {
            Some(true) => Ok(Started { location, cookie }),
            _ => Err(unknown()),
        }
    }

    /// A browser comes back. `query` is what stands behind the `?` of the callback, `cookies` its `Cookie` header.
    ///
    /// # Errors
    /// It is no log-in that began in this browser, or it failed: the message is for the human.
    pub async fn finish(&self, query: &str, cookies: Option<&str>) -> Result<LoggedIn, Fault> {
        let query = browser::read(query)?;
        let state = browser::param(&query, "state").unwrap_or_default();
        let Some(taken) = self.take(state) else {
            let message =
                "this log-in is not known here: it is over, took more than 10 minutes, or began elsewhere";
            return Err(Fault::validation("unknown_login", message));
        };
        let outcome = match browser::is_same(&taken.begun, cookies) {
            true => browser::finish(&taken.of, &taken.begun, &query, taken.account).await,
            false => {
                Err(Fault::validation("other_browser", "this log-in began in another browser: begin again"))
            }
        };
        let stage = match &outcome {
            Ok(done) => Stage::Done(Box::new(done.clone())),
            Err(fault) => Stage::Failed(fault.message().to_owned()),
        };
        let mut list = self.list();
        if let Some(pending) = list.iter_mut().find(|pending| pending.ticket == taken.ticket) {
            pending.stage = stage;
        }
        outcome
    }

    /// What became of the log-in of a ticket.
    #[must_use]
    pub fn outcome(&self, ticket: &str) -> Outcome {
        let outcome = self.by_ticket(ticket, |pending| match &pending.stage {
            Stage::Invited | Stage::Begun(_) | Stage::Finishing => Outcome::Waiting,
            Stage::Done(done) => Outcome::Done((**done).clone()),
            Stage::Failed(why) => Outcome::Failed { why: why.clone() },
        });
        outcome.unwrap_or(Outcome::Unknown)
    }

    /// Begins a log-in for a machine without a browser.
    ///
    /// # Errors
    /// The server cannot be asked, or does not do that.
    pub async fn device(&self, of: &OAuthAccount, account: Account) -> Result<DeviceLogin, Fault> {
        device::begin(of, account).await
    }

    fn by_ticket<T>(&self, ticket: &str, look: impl FnOnce(&mut Pending) -> T) -> Option<T> {
        let (hash, now) = (random::hash(ticket), self.clock.instant());
        let mut list = self.list();
        list.iter_mut().find(|pending| pending.ticket == hash && now < pending.until).map(look)
    }

    /// The log-in of a state, which counts once.
    fn take(&self, state: &str) -> Option<pending::Taken> {
        let (hash, now) = (random::hash(state), self.clock.instant());
        let mut list = self.list();
        list.iter_mut().filter(|pending| now < pending.until).find_map(|pending| pending.take(&hash))
    }

    fn list(&self) -> MutexGuard<'_, Vec<Pending>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
