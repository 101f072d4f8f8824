//! Waiting for conditions: the only clock that tests synchronise by.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a condition may take to hold on a busy machine. Long, since it costs time only where a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Returns once `holds` says so.
///
/// # Panics
/// It does not within [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    within(PATIENCE, what, holds);
}

/// Returns once `holds` says so.
///
/// # Panics
/// It does not within `time`.
#[track_caller]
pub fn within(time: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + time;
    while !holds() {
        assert!(Instant::now() < until, "within {time:?}: {what}");
        sleep(POLL);
    }
}

/// What `look` finds, once it does.
///
/// # Panics
/// It finds nothing within [`PATIENCE`].
#[track_caller]
pub fn found<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut seen = None;
    within(PATIENCE, what, || {
        seen = look();
        seen.is_some()
    });
    seen.unwrap()
}

/// Watches for `time` that something does not happen.
///
/// # Panics
/// It happens.
#[track_caller]
pub fn never(time: Duration, what: &str, mut happens: impl FnMut() -> bool) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        assert!(!happens(), "{what}");
        sleep(POLL);
    }
}
