//! How long to wait before the next attempt, and when to give up.

use std::time::Duration;

use karez_api::{Backoff, Fault, Retry};

/// What one record has behind it at one sink.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct History {
    /// Deliveries tried.
    pub(crate) tries: u32,
    /// Failures that count: others got through meanwhile.
    pub(crate) counted: u32,
    /// The sink's count of successes when this record failed last.
    pub(crate) successes_at_failure: Option<u64>,
    /// Since the first failure.
    pub(crate) first_failure: Option<tokio::time::Instant>,
}

impl History {
    /// Notes a failure of class connection or service. It counts only if the sink took something
    /// else since the last one: an outage is nobody's fault.
    pub(crate) fn count(&mut self, successes: u64) {
        if self.successes_at_failure.is_none_or(|before| successes > before) {
            self.counted += 1;
        }
        self.successes_at_failure = Some(successes);
    }
}

/// Whether the record is given up. Its age counts only where it can tell poison from an outage: while others
/// get through, or where there is nobody else (`age_counts`).
pub(crate) fn is_exhausted(
    retry: &Retry,
    history: &History,
    now: tokio::time::Instant,
    age_counts: bool,
) -> bool {
    retry.max_attempts.is_some_and(|most| history.counted >= most)
        || history
            .first_failure
            .filter(|_| age_counts)
            .zip(retry.max_elapsed)
            .is_some_and(|(first, most)| now.duration_since(first) >= most)
}

/// The wait before the next attempt. What the far end asked for is obeyed up to `max_wait`;
/// else it grows with the tries, with full jitter (`jitter` in 0..1) so that many clients do not come back at once.
pub(crate) fn wait(retry: &Retry, fault: &Fault, tries: u32, jitter: f64) -> Duration {
    if let Some(told) = fault.retry_after() {
        return told.min(retry.max_wait);
    }
    let step = tries.saturating_sub(1);
    let grown = match retry.backoff {
        Backoff::Constant => return retry.initial.min(retry.max_wait),
        Backoff::Linear => retry.initial.saturating_mul(step + 1),
        Backoff::Exponential => retry.initial.saturating_mul(1_u32 << step.min(20)),
    };
    // Never quite nothing: a failing call must not spin.
    grown.min(retry.max_wait).mul_f64(jitter).max(Duration::from_millis(20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use karez_api::OnError;
    use tokio::time::Instant;

    #[test]
    fn waits_grow_as_the_class_says_and_never_beyond_the_limit() {
        let policy = OnError::default();
        let fault = Fault::service("x");
        let seconds = |retry: &Retry, tries| wait(retry, &fault, tries, 1.0).as_secs_f64();
        assert_eq!(seconds(&policy.service, 1), 0.5);
        assert_eq!(seconds(&policy.service, 4), 4.0);
        assert_eq!(seconds(&policy.service, 400), 60.0);
        assert_eq!(seconds(&policy.connection, 4), 2.0);
        assert_eq!(seconds(&policy.auth, 9), 60.0);
    }

    #[test]
    fn retry_after_is_obeyed_up_to_max_wait() {
        let policy = OnError::default();
        let told = |seconds| Fault::rate_limit("slow down", Some(Duration::from_secs(seconds)));
        assert_eq!(wait(&policy.rate_limit, &told(7), 1, 0.0), Duration::from_secs(7));
        assert_eq!(wait(&policy.rate_limit, &told(315_360_000), 1, 0.0), Duration::from_secs(3_600));
    }

    #[test]
    fn a_failure_counts_only_if_others_got_through() {
        let policy = OnError::default().service;
        let now = Instant::now();
        let mut outage = History { first_failure: Some(now), ..History::default() };
        (0..100).for_each(|_| outage.count(7));
        assert_eq!(outage.counted, 1);
        assert!(!is_exhausted(&policy, &outage, now, true));
        let mut poison = History { first_failure: Some(now), ..History::default() };
        (0..8).for_each(|successes| poison.count(successes));
        assert!(is_exhausted(&policy, &poison, now, false));
        let tomorrow = now + Duration::from_secs(24 * 3_600);
        assert!(is_exhausted(&policy, &outage, tomorrow, true));
        assert!(!is_exhausted(&policy, &outage, tomorrow, false));
    }
}
