//! Signals, and the moments at which they come.

use std::ops::Range;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::SmallRng;

/// A moment of fault: a case has nothing to wait for, it hits what happens to go on.
pub fn pause_between(random: &mut SmallRng, millis: Range<u64>) {
    std::thread::sleep(Duration::from_millis(random.random_range(millis)));
}
