//! The `http` and `graphql` sources against an API that pages, nests and encodes what it has in every way, changes
//! meanwhile, and misbehaves.

mod forms;
mod increments;
mod kills;
mod lookups;
mod pages;
mod partitions;
mod reports;
mod wrong;

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use karez_tests::{ApiServer, Daemon, Folder, Json, PATIENCE, Receiver, eventually};

const ONCE: [&str; 6] = ["run", "--once", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
/// How long two counters that are read one after another may differ.
const SOON: Duration = Duration::from_secs(3);
/// Engine keys of a source that fails and is tried again soon.
const QUICK: &str = "retry: {initial: 50ms, max_wait: 200ms}";
/// Of one that does so, and asks each second.
const EACH_SECOND: &str = "schedule: {every: 1s}\nretry: {initial: 50ms, max_wait: 200ms}";
/// The plainest paging, of all records.
const BY_CURSOR: &str =
    "path: /cursor/records\nrecords: $.items\nkey: [id]\npage: {cursor: $.next, into: query.cursor}";
/// What is narrowed by time, without anything that is held back.
const SINCE: &str = "path: /cursor/records\nquery: {since: \"{{window.from}}\", until: \"{{window.to}}\"}\nrecords: $.items\nkey: [id]\npage: {cursor: $.next, into: query.cursor}";

/// A folder in which the connection `api` leads to this one.
fn folder(api: &ApiServer) -> Folder {
    Folder::new().with("shared", &format!("connections: {{api: {{url: \"{}\"}}}}\n", api.url("")))
}

/// A pipeline from the source `kind` with these keys, each on a line, and engine keys beside it.
fn source(kind: &str, keys: &str, engine: &str, rest: &str) -> String {
    let lines = |text: &str, indent: &str| -> String {
        text.lines().map(|line| format!("{indent}{line}\n")).collect()
    };
    let (keys, engine) = (lines(keys, "    "), lines(engine, "  "));
    format!("source:\n  {kind}:\n    connection: api\n{keys}{engine}{rest}\n")
}

/// From the source `http` into `NAME.ndjson`.
fn to_file(name: &str, keys: &str, engine: &str) -> String {
    source("http", keys, engine, &format!("sink: {{files: {{path: {name}.ndjson}}}}"))
}

/// From the source `http` to a receiver.
fn to_receiver(receiver: &Receiver, keys: &str, engine: &str) -> String {
    let url = receiver.url("/");
    let sink = format!("sink: {{http: {{url: \"{url}\"}}, retry: {{initial: 20ms, max_wait: 100ms}}}}");
    source("http", keys, engine, &sink)
}

/// A daemon with the pipeline `api` from the source `http` into `api.ndjson`.
fn reading(api: &ApiServer, keys: &str, engine: &str) -> Daemon {
    Daemon::start(folder(api).with("api", &to_file("api", keys, engine)))
}

/// `run --once`, with what it said.
fn once(folder: &Folder) -> String {
    let log = File::create(folder.at("once.log")).unwrap();
    let mut command = folder.command(ONCE);
    command.env("KAREZ_ALLOW_PRIVATE", "127.0.0.0/8").stdout(Stdio::null()).stderr(log);
    let mut run = command.spawn().unwrap();
    let begun = Instant::now();
    let status = loop {
        match run.try_wait().unwrap() {
            Some(status) => break status,
            None if begun.elapsed() > PATIENCE => {
                run.kill().unwrap();
                break run.wait().unwrap();
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let said = folder.read("once.log");
    assert!(status.success(), "{status}: {said}");
    said
}

fn ago(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds)
}

/// As fresh as a window holds that begins now: it ends with a whole second.
fn fresh() -> jiff::Timestamp {
    ago(2)
}

/// The numbers of all records in `NAME.ndjson`, from the smallest.
fn numbers(folder: &Folder, name: &str) -> Vec<u64> {
    let mut numbers = folder.numbers(&format!("{name}.ndjson"), "id");
    numbers.sort_unstable();
    numbers
}

/// Waits until so many are in `api.ndjson` and nothing is on its way; they are all there is, each once.
#[track_caller]
fn arrived(daemon: &Daemon, expected: impl IntoIterator<Item = u64>) {
    let expected: Vec<u64> = expected.into_iter().collect();
    eventually("all records arrive", || numbers(daemon, "api").len() >= expected.len());
    daemon.drained("api");
    assert_eq!(numbers(daemon, "api"), expected);
}

/// As [`arrived`], and what runs tell is what the pipeline was given.
#[track_caller]
fn complete(daemon: &Daemon, expected: impl IntoIterator<Item = u64>) {
    arrived(daemon, expected);
    let given = || daemon.metrics().outcome("api", "in");
    let told = || {
        let runs = runs(daemon, "api");
        let emitted = runs.values().map(|run| run["totals"]["emitted"].as_u64().unwrap());
        emitted.sum::<u64>()
    };
    let (mut counts, begun) = ((given(), told()), Instant::now());
    while counts.0 != counts.1 {
        assert!(
            begun.elapsed() < SOON,
            "the pipeline was given {} records, its runs tell of {}",
            counts.0,
            counts.1
        );
        counts = (given(), told());
    }
}

/// What a pipeline tells of its runs, by stream.
fn runs(daemon: &Daemon, pipeline: &str) -> BTreeMap<String, Json> {
    fn look(value: &Json, found: &mut BTreeMap<String, Json>) {
        match value {
            Json::Object(fields) if fields.contains_key("stream") && fields.contains_key("emitted") => {
                found.insert(value["stream"].as_str().unwrap().to_owned(), value.clone());
            }
            Json::Object(fields) => fields.values().for_each(|value| look(value, found)),
            Json::Array(items) => items.iter().for_each(|value| look(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeMap::new();
    look(&daemon.status(pipeline), &mut found);
    found
}

/// The only one.
#[track_caller]
fn the_run(daemon: &Daemon) -> Json {
    let runs = runs(daemon, "api");
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.into_values().next().unwrap()
}

/// Waits until the pipeline `api` says of itself what holds.
#[track_caller]
fn tells(daemon: &Daemon, what: &str) {
    let mut last = Json::Null;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        last = daemon.status("api");
        if last.to_string().contains(what) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it does not tell {what:?}: {last:#}");
}
