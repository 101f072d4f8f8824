//! Signals, and the moments at which they come.

use std::ops::Range;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::SmallRng;

/// A moment of fault: a case has nothing to wait for, it hits what happens to go on.
pub fn pause_between(random: &mut SmallRng, millis: Range<u64>) {
    std::thread::sleep(Duration::from_millis(random.random_range(millis)));
}

/// Waits until no thread of a stopped process runs any more; one that is in the kernel may still be waiting there.
///
/// # Panics
/// One still runs after ten seconds.
pub fn stands_still(pid: u32) {
    let until = Instant::now() + Duration::from_secs(10);
    while threads(pid).iter().any(|state| !matches!(state, 'T' | 'D')) {
        assert!(Instant::now() < until, "process {pid} was told to stand still and does not");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The state of each thread, as in proc(5).
fn threads(pid: u32) -> Vec<char> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stat = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    stat.filter_map(|stat| stat.rsplit(')').next()?.trim_start().chars().next()).collect()
}
