//! Measures durable appends: many tasks, each waiting for its own 1 KiB record with a dedup key, beside a bare loop
//! of fdatasync in the same folder. `cargo run --release -p karez-store --example append -- [FOLDER] [SECONDS]`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring tool talks to a terminal")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use karez_api::{Body, DedupKey, Events, Form, Meta, Millis, NewEntry, Record, RecordId, StreamName};
use karez_store::{Options, Store};
use tokio::task::JoinSet;

const BODY: usize = 1024;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(3);
    let duration = Duration::from_secs(seconds);
    let folder = tempfile::tempdir_in(parent).unwrap();
    bare(folder.path(), duration / 3);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for tasks in [1, 64, 256] {
        runtime.block_on(appends(&folder.path().join(tasks.to_string()), tasks, duration));
    }
    bare(folder.path(), duration / 3);
}

/// The disk alone: 64 KiB written, then fdatasync, in a loop.
fn bare(folder: &Path, duration: Duration) {
    let path = folder.join("bare");
    let file = File::create(&path).unwrap();
    let block = vec![7; 64 * BODY];
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < duration {
        let at = Instant::now();
        file.write_all_at(&block, (times.len() * block.len()) as u64).unwrap();
        file.sync_data().unwrap();
        times.push(at.elapsed());
    }
    fs::remove_file(path).unwrap();
    println!("bare fdatasync of 64 KiB: {}", quantiles(&mut times));
}

async fn appends(folder: &Path, tasks: usize, duration: Duration) {
    let store = Store::open(folder, Options::default()).unwrap();
    let events = store.events();
    let stream = StreamName { pipeline: "bench".into(), source: "source".into() };
    let reader = JoinSet::from_iter([settle_all(Arc::clone(&events), stream.clone())]);
    let before = store.usage();
    let (start, cpu) = (Instant::now(), cpu());
    let until = start + duration;
    let mut running: JoinSet<Vec<Duration>> =
        (0..tasks).map(|task| one_after_another(Arc::clone(&events), stream.clone(), task, until)).collect();
    let mut times = Vec::new();
    while let Some(done) = running.join_next().await {
        times.extend(done.unwrap());
    }
    let seconds = start.elapsed().as_secs_f64();
    let usage = store.usage();
    drop(reader);
    store.close().await.unwrap();
    println!(
        "{tasks} tasks: {:.0} appends/s, {:.1} entries per fsync, {:.1} us of CPU per append, {}",
        times.len() as f64 / seconds,
        times.len() as f64 / (usage.syncs - before.syncs) as f64,
        (self::cpu() - cpu) / times.len() as f64 * 1e6,
        quantiles(&mut times),
    );
}

async fn one_after_another(
    events: Arc<dyn Events>,
    stream: StreamName,
    task: usize,
    until: Instant,
) -> Vec<Duration> {
    let body = Bytes::from(vec![b'x'; BODY]);
    let source: Arc<str> = "source".into();
    let scope: Arc<str> = stream.to_string().into();
    let mut times = Vec::new();
    while Instant::now() < until {
        let at = Instant::now();
        let id = format!("{task}-{}", times.len());
        let received = Millis(1_700_000_000_000 + times.len() as u64);
        let meta = Meta::new(RecordId::text(&*id), Arc::clone(&source), received);
        let record = Record::new(Body::from_bytes(Form::Json, body.clone()), meta);
        let ttl = Duration::from_secs(72 * 3600);
        let key = DedupKey { scope: Arc::clone(&scope), key: id.into(), ttl, at: received };
        events.append(&stream, vec![NewEntry { record, dedup: Some(key) }]).await.unwrap();
        times.push(at.elapsed());
    }
    times
}

/// A pipeline that is done at once.
async fn settle_all(events: Arc<dyn Events>, stream: StreamName) {
    let mut after = 0;
    loop {
        let entries = events.read(&stream, after, 1000, 4 << 20).await.unwrap();
        after = entries.last().map_or(after, |entry| entry.sequence);
        events.settle(&stream, entries.into_iter().map(|entry| entry.sequence).collect());
    }
}

fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let of = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    format!("p50 {:.2?}, p99 {:.2?}", of(0.5), of(0.99))
}

/// CPU time of this process so far, in seconds.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}
