//! Ten million dedup keys through the window of one source: what a key costs in memory and on disk, and how long
//! looking one up takes, with few and with many of them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use karez_api::{DedupKey, Events, Millis};
use karez_store::{LogAlone, Options};

use crate::stats;

const KEYS: u64 = 10_000_000;
const SHOWN_AT: [u64; 3] = [1_000_000, 5_000_000, KEYS];
/// Keys that are written at once.
const TOGETHER: u64 = 2_000;
/// Look-ups that are timed, of known keys and of unknown ones.
const LOOKED_UP: u64 = 50_000;
const DAY: u64 = 86_400_000;
const WINDOW: Duration = Duration::from_secs(7 * 86_400);

pub(crate) fn run() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let log = LogAlone::open(folder.path(), Options::default()).unwrap();
    let (events, before) = (log.events(), stats::resident_mib(std::process::id()));
    let mut written = Duration::ZERO;
    for first in (0..KEYS).step_by(usize::try_from(TOGETHER).unwrap()) {
        let keys = (first..first + TOGETHER).map(key).collect();
        let begun = Instant::now();
        runtime.block_on(events.remember(keys)).unwrap();
        written += begun.elapsed();
        let count = first + TOGETHER;
        if SHOWN_AT.contains(&count) {
            show(&log, &events, folder.path(), count, written, before);
        }
    }
    drop(events);
    runtime.block_on(log.close()).unwrap();
    let begun = Instant::now();
    let log = LogAlone::open(folder.path(), Options::default()).unwrap();
    let opened = begun.elapsed();
    println!("dedup: {:.2} s to open the log with {} keys", opened.as_secs_f64(), log.usage().dedup_keys);
    expire(&runtime, &log, folder.path());
    runtime.block_on(log.close()).unwrap();
}

/// The window is filled evenly in the time that it spans.
fn key(number: u64) -> DedupKey {
    let at = Millis(20_000 * DAY + number * (7 * DAY / KEYS));
    DedupKey { scope: "p/s".into(), key: format!("delivery-{number:016x}").into(), ttl: WINDOW, at }
}

fn show(log: &LogAlone, events: &Arc<dyn Events>, folder: &Path, count: u64, written: Duration, before: f64) {
    let usage = log.usage();
    let now = key(count).at;
    // Spread over all that there are, without an order that a cache could use.
    let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % count;
    let mut known = time(events, true, (0..LOOKED_UP).map(|n| DedupKey { at: now, ..key(spread(n)) }));
    let mut unknown = time(events, false, (0..LOOKED_UP).map(|n| DedupKey { at: now, ..key(KEYS + 1 + n) }));
    let micros = |times: &mut [Duration], part| stats::percentile(times, part).as_secs_f64() * 1e6;
    println!(
        "dedup: {count} keys: {:.1} bytes of memory a key, {:.1} on disk; {:.0} MiB resident, {before:.0} before; \
         looking up a known one takes {:.1} µs (p50), {:.1} µs (p99), an unknown one {:.1} µs and {:.1} µs; {:.0} keys/s were written",
        usage.dedup_memory as f64 / usage.dedup_keys as f64,
        bytes_in(&folder.join("dedup")) as f64 / usage.dedup_keys as f64,
        stats::resident_mib(std::process::id()),
        micros(&mut known, 0.5),
        micros(&mut known, 0.99),
        micros(&mut unknown, 0.5),
        micros(&mut unknown, 0.99),
        count as f64 / written.as_secs_f64(),
    );
}

fn time(events: &Arc<dyn Events>, expected: bool, keys: impl Iterator<Item = DedupKey>) -> Vec<Duration> {
    let one = |key: DedupKey| {
        let begun = Instant::now();
        let known = events.knows(&key);
        let took = begun.elapsed();
        assert_eq!(known, expected, "{key:?}");
        took
    };
    keys.map(one).collect()
}

/// Twice the window later all of it is gone, from memory and from disk.
fn expire(runtime: &tokio::runtime::Runtime, log: &LogAlone, folder: &Path) {
    let late = |number: u64| DedupKey { at: Millis(key(KEYS).at.0 + 14 * DAY), ..key(KEYS + number) };
    let segment = 20 << 20;
    let enough = segment / 25;
    for first in (0..enough).step_by(usize::try_from(TOGETHER).unwrap()) {
        let keys = (first..first + TOGETHER).map(late).collect();
        runtime.block_on(log.events().remember(keys)).unwrap();
    }
    println!(
        "dedup: {} keys are left 14 days later, {:.0} MiB on disk, {:.0} MiB resident",
        log.usage().dedup_keys,
        bytes_in(&folder.join("dedup")) as f64 / f64::from(1 << 20),
        stats::resident_mib(std::process::id())
    );
}

fn bytes_in(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}
