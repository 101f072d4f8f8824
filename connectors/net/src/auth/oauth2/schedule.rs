//! Renews tokens before they expire, so that nobody waits for that. What nobody uses is left to expire, unless the
//! file wants its refresh token kept alive.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use karez_api::Clock;
use tokio::sync::Notify;

use super::live::Live;

/// Where nothing is due: somebody tells when that changes.
const LONG: Duration = Duration::from_secs(3_600);

/// Ends when nobody holds the credentials any more.
pub(super) async fn keep_fresh(live: Weak<Live>, changed: Arc<Notify>, clock: Arc<dyn Clock>) {
    // What is to be kept alive is looked for even where nobody asks for it.
    if let Some(live) = live.upgrade().filter(|live| live.client.spec.keep_alive.is_some()) {
        drop(live.renewed_beyond(None).await);
    }
    loop {
        let due = match live.upgrade() {
            None => return,
            Some(live) => live.due(),
        };
        let wait = due.map_or(LONG, |due| due.saturating_duration_since(clock.instant()));
        if !wait.is_zero() {
            tokio::select! {
                () = changed.notified() => {}
                () = clock.sleep(wait) => {}
            }
            continue;
        }
        let Some(live) = live.upgrade() else { return };
        let stamp = live.current().map(|held| held.stamp);
        // What fails is known to whoever asks for a token, and told where it happens.
        drop(live.renewed_beyond(stamp).await);
    }
}

impl Live {
    /// When to renew, if ever.
    fn due(&self) -> Option<Instant> {
        let held = self.current()?;
        let early = held.renew_at.filter(|_| held.was_used());
        let can_refresh = held.tokens.refresh.is_some();
        let idle = self.client.spec.keep_alive.filter(|_| can_refresh).map(|idle| held.obtained + idle.0);
        let due = match (early, idle) {
            (Some(early), Some(idle)) => early.min(idle),
            (early, idle) => early.or(idle)?,
        };
        if !can_refresh && !self.client.spec.grant.is_repeatable() {
            return None;
        }
        Some(self.held_until().map_or(due, |until| due.max(until)))
    }
}
