//! Tokens in use, with their times on the monotonic clock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::HeaderValue;
use karez_api::{Clock, Millis};

use super::token::Tokens;

/// How long before its end a token is renewed: a tenth of its life, within these bounds.
const LEAST_MARGIN: Duration = Duration::from_secs(30);
const MOST_MARGIN: Duration = Duration::from_secs(300);
/// A server that says less is not believed: nobody could use its tokens.
pub(crate) const SHORTEST_LIFE: Duration = Duration::from_secs(10);

pub(crate) struct Held {
    pub(crate) stamp: u64,
    pub(crate) tokens: Tokens,
    pub(crate) obtained: Instant,
    pub(crate) expires: Option<Instant>,
    /// When it is due in the background.
    pub(crate) renew_at: Option<Instant>,
    used: AtomicBool,
    told: AtomicBool,
    header: OnceLock<Result<HeaderValue, String>>,
}

impl Held {
    /// `jitter` lies between -1 and 1.
    pub(crate) fn new(stamp: u64, tokens: Tokens, clock: &dyn Clock, jitter: f64) -> Self {
        let (now, wall) = (clock.instant(), clock.now());
        let at = |time: Millis| match time.0.checked_sub(wall.0) {
            Some(ahead) => now + Duration::from_millis(ahead),
            None => now.checked_sub(Duration::from_millis(wall.0 - time.0)).unwrap_or(now),
        };
        let expires = tokens.expires_at.map(at);
        let lifetime =
            tokens.expires_at.map(|end| Duration::from_millis(end.0.saturating_sub(tokens.obtained_at.0)));
        let renew_at = expires
            .zip(lifetime)
            .map(|(expires, lifetime)| expires.checked_sub(margin(lifetime, jitter)).unwrap_or(now));
        let obtained = at(tokens.obtained_at).min(now);
        let (used, told, header) = (false.into(), false.into(), OnceLock::new());
        Self { stamp, obtained, expires, renew_at, tokens, used, told, header }
    }

    /// As a header holds the token, which is written once.
    pub(crate) fn header(
        &self,
        write: impl FnOnce() -> Result<HeaderValue, String>,
    ) -> Result<HeaderValue, String> {
        self.header.get_or_init(write).clone()
    }

    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// True for the first use.
    pub(crate) fn is_first_use(&self) -> bool {
        !self.used.load(Ordering::Relaxed) && !self.used.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn was_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// True once: for whoever counts that it expired in use.
    pub(crate) fn tell_expired(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }
}

/// Proportional, so that tokens of a few minutes are not renewed with every use.
fn margin(lifetime: Duration, jitter: f64) -> Duration {
    let margin = (lifetime / 10).clamp(LEAST_MARGIN, MOST_MARGIN).min(lifetime / 2);
    margin.mul_f64(1.0 + 0.1 * jitter.clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_early_by_the_length_of_its_life() {
        for (lifetime, expected) in [(20, 10), (60, 30), (600, 60), (3_600, 300), (86_400, 300)] {
            assert_eq!(
                margin(Duration::from_secs(lifetime), 0.0),
                Duration::from_secs(expected),
                "{lifetime}"
            );
        }
        assert_eq!(margin(Duration::from_secs(3_600), 1.0), Duration::from_secs(330));
        assert_eq!(margin(Duration::from_secs(3_600), -1.0), Duration::from_secs(270));
    }
}
