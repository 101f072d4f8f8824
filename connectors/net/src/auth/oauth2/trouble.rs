//! What keeps tokens from being renewed, and how long nobody asks again. Nothing hammers a token endpoint.

use std::time::{Duration, Instant};

use karez_api::Fault;

/// Why there are no new tokens.
#[derive(Debug, Clone)]
pub(crate) enum Stop {
    /// Only a human helps.
    NeedsLogin(String),
    /// The file or the registration there is wrong.
    Refused(Fault),
    /// It may pass by itself.
    Passing(Fault),
}

/// How soon to look whether somebody logged in: that asks the vault, not the server.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
const FIRST_PAUSE_WHEN_REFUSED: Duration = Duration::from_secs(60);
const LONGEST_PAUSE_WHEN_REFUSED: Duration = Duration::from_secs(900);

#[derive(Default)]
pub(crate) struct Trouble {
    failures: u32,
    until: Option<Instant>,
    fault: Option<Fault>,
    needs_login: Option<String>,
}

impl Trouble {
    /// The fault of last time, while it is too early to ask again.
    pub(crate) fn holds(&self, now: Instant) -> Option<Fault> {
        let until = self.until.filter(|until| now < *until)?;
        let fault = self.fault.clone()?;
        Some(match self.needs_login {
            Some(_) => fault,
            None => fault.with_retry_after(Some(until - now)),
        })
    }

    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    pub(crate) fn needs_login(&self) -> Option<&str> {
        self.needs_login.as_deref()
    }

    pub(crate) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// `jitter` lies between 0 and 1. Yields the fault as callers get it.
    pub(crate) fn record(&mut self, connection: &str, stop: Stop, now: Instant, jitter: f64) -> Fault {
        let (fault, pause) = match stop {
            Stop::NeedsLogin(why) => {
                let message = format!(
                    "connection {connection} needs a log-in: {why}; run `karez connect {connection}`"
                );
                self.needs_login = Some(why);
                (Fault::auth(message).with_code("needs_login"), LOOK_AGAIN)
            }
            Stop::Refused(fault) => {
                self.needs_login = None;
                (fault, self.pause(FIRST_PAUSE_WHEN_REFUSED, LONGEST_PAUSE_WHEN_REFUSED, jitter))
            }
            Stop::Passing(fault) => {
                self.needs_login = None;
                let asked_for = fault.retry_after().unwrap_or_default();
                (fault, self.pause(FIRST_PAUSE, LONGEST_PAUSE, jitter).max(asked_for))
            }
        };
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + pause);
        self.fault = Some(fault.clone());
        fault
    }

    /// Doubled with each failure, and between half of that and all of it.
    fn pause(&self, first: Duration, longest: Duration, jitter: f64) -> Duration {
        let doubled = first.saturating_mul(1 << self.failures.min(16)).min(longest);
        doubled.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_obey_the_server() {
        let (now, mut trouble) = (Instant::now(), Trouble::default());
        let mut pause = |fault: Fault, jitter: f64| {
            trouble.record("crm", Stop::Passing(fault), now, jitter);
            trouble.until().unwrap() - now
        };
        let seconds = Duration::from_secs;
        assert_eq!(pause(Fault::service("down"), 1.0), seconds(1));
        assert_eq!(pause(Fault::service("down"), 1.0), seconds(2));
        assert_eq!(pause(Fault::service("down"), 0.0), seconds(2));
        assert_eq!(pause(Fault::rate_limit("slow", Some(seconds(60))), 1.0), seconds(60));
        for _ in 0..20 {
            pause(Fault::service("down"), 1.0);
        }
        assert_eq!(pause(Fault::service("down"), 1.0), seconds(300));
    }

    #[test]
    fn who_asks_too_early_is_told_what_is_known() {
        let (now, mut trouble) = (Instant::now(), Trouble::default());
        trouble.record("crm", Stop::NeedsLogin("invalid_grant".into()), now, 0.0);
        let held = trouble.holds(now).unwrap();
        assert_eq!(held.code(), "needs_login");
        assert_eq!(held.message(), "connection crm needs a log-in: invalid_grant; run `karez connect crm`");
        assert!(trouble.holds(now + LOOK_AGAIN).is_none());
    }
}
