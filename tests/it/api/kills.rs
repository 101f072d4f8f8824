//! `kill -9`, and crashes between any two steps: nothing is lost, and what is repeated is one page at most.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use karez_tests::{ApiServer, Daemon, Folder, Launch, Receiver, Reply, Seen, Trouble, binary, eventually};

use super::{BY_CURSOR, QUICK, SINCE, arrived, complete, folder, numbers, to_file, to_receiver};

const PAGES: u64 = 200;
const PAGE: u64 = 10;
const KILLS: u64 = 6;

/// Two hundred pages that come so slowly that there is time to die in between.
fn slow() -> ApiServer {
    let api = ApiServer::with(PAGES * PAGE);
    api.trouble(|_| Some(Trouble::Late(Duration::from_millis(4))));
    api
}

/// Each keeps its place, whatever kind of position that is.
fn streams() -> [(&'static str, String); 3] {
    let window = "incremental: {cursor: $.updated_at, start: \"2020-01-01\", safety_lag: 0s";
    [
        ("paged", BY_CURSOR.to_owned()),
        ("in windows", format!("{SINCE}\n{window}}}")),
        ("in order", format!("{SINCE}\n{window}, order: asc}}")),
    ]
}

/// Kills it at moments that are as good as random, each after some more progress.
fn killed(api: &ApiServer, daemon: &mut Daemon) {
    for n in 1..=KILLS {
        let enough = api.seen().len() + 5 + (n as usize * 7) % 19;
        eventually("some pages are read", || api.seen().len() >= enough);
        // Between a request and what comes of it, at another point each time.
        std::thread::sleep(Duration::from_micros(n * 1_700 % 9_000));
        daemon.kill();
        daemon.restart();
    }
}

#[test]
fn a_file_holds_every_record_once_however_often_the_process_is_killed() {
    for (name, keys) in streams() {
        let api = slow();
        let mut daemon = Daemon::start(folder(&api).with("api", &to_file("api", &keys, QUICK)));
        killed(&api, &mut daemon);
        eventually(&format!("all records arrive, {name}"), || {
            numbers(&daemon, "api").len() as u64 >= PAGES * PAGE
        });
        daemon.drained("api");
        assert_eq!(numbers(&daemon, "api"), (1..=PAGES * PAGE).collect::<Vec<_>>(), "{name}");
        let asked = api.seen().len() as u64;
        assert!(asked <= PAGES + 1 + 3 * KILLS, "{name}: {asked} requests: it began again");
    }
}

#[test]
fn a_receiver_gets_every_record_and_a_page_again_at_most_for_each_time_the_process_is_killed() {
    for (name, keys) in streams() {
        let api = slow();
        // So slow that some of a page is always on its way.
        let receiver = Receiver::start_with(|_| {
            std::thread::sleep(Duration::from_millis(1));
            Reply::Status(200)
        });
        let mut daemon = Daemon::start(folder(&api).with("api", &to_receiver(&receiver, &keys, QUICK)));
        killed(&api, &mut daemon);
        let mut times = BTreeMap::<u64, u64>::new();
        eventually(&format!("all records arrive, {name}"), || {
            times = BTreeMap::new();
            receiver.taken().iter().for_each(|seen| *times.entry(seen.id()).or_default() += 1);
            times.len() as u64 == PAGES * PAGE
        });
        daemon.drained("api");
        let again: u64 = times.values().map(|times| times - 1).sum();
        assert!(again <= KILLS * PAGE, "{name}: {again} records came again after {KILLS} kills");
        let keys: BTreeSet<_> = receiver.taken().iter().map(key).collect();
        assert_eq!(keys.len() as u64, PAGES * PAGE, "{name}: what came again came under the key that it had");
    }
}

#[test]
fn partitions_that_are_read_at_once_lose_and_repeat_nothing_however_often_the_process_is_killed() {
    const PARALLEL: u64 = 4;
    let api = ApiServer::start();
    api.grow("projects", 12);
    (1..=12).for_each(|project| api.grow_under("issues", project, 15));
    (1..=180).for_each(|issue| api.grow_under("comments", issue, issue % 23));
    let count = api.records("comments").len() as u64;
    api.trouble(|_| Some(Trouble::Late(Duration::from_millis(4))));
    let list = |path: &str| {
        format!(
            "\n    path: \"/cursor/{path}\"\n    records: $.items\n    key: [id]\n    page: {{cursor: $.next, into: query.cursor}}"
        )
    };
    let keys = format!(
        "parallel: {PARALLEL}\nstreams:\n  projects:{}\n  issues:\n    for_each: projects{}\n  comments:\n    for_each: issues{}",
        list("projects"),
        list("projects/{{parent.id}}/issues"),
        list("issues/{{parent.id}}/comments"),
    );
    let receiver = Receiver::start();
    let mut to_files = Daemon::start(folder(&api).with("api", &to_file("api", &keys, QUICK)));
    killed(&api, &mut to_files);
    complete(&to_files, 1..=count);
    let mut to_http = Daemon::start(folder(&api).with("api", &to_receiver(&receiver, &keys, QUICK)));
    killed(&api, &mut to_http);
    let ids = || receiver.taken().iter().map(Seen::id).collect::<BTreeSet<_>>().len() as u64;
    eventually("all records arrive", || ids() == count);
    to_http.drained("api");
    let again = receiver.taken().len() as u64 - count;
    assert!(again <= KILLS * PAGE * PARALLEL, "{again} records came again after {KILLS} kills");
    assert_eq!(receiver.taken().iter().map(key).collect::<BTreeSet<_>>().len() as u64, count);
}

#[test]
fn a_page_of_thousands_is_written_once_though_the_process_is_killed_in_the_middle_of_it() {
    let api = ApiServer::with(20_000);
    let keys = BY_CURSOR.replace("records: $.items", "query: {limit: 5000}\nrecords: $.items");
    let mut daemon = Daemon::start(folder(&api).with("api", &to_file("api", &keys, QUICK)));
    for kill in 1..=4 {
        eventually("some of a page is written", || numbers(&daemon, "api").len() > kill * 3_500);
        daemon.kill();
        daemon.restart();
    }
    complete(&daemon, 1..=20_000);
}

#[test]
fn a_reload_in_the_middle_of_a_run_loses_and_repeats_nothing() {
    for (name, keys) in streams() {
        let api = slow();
        let daemon = Daemon::start(folder(&api).with("api", &to_file("api", &keys, QUICK)));
        for version in 1..=6 {
            let enough = api.seen().len() + 12;
            eventually("some pages are read", || api.seen().len() >= enough);
            // Now the steps change, now the source itself.
            let engine =
                if version % 2 == 0 { format!("{QUICK}\ntimeout: {version}m") } else { QUICK.into() };
            let step = format!("steps:\n  - set: {{version: {version}}}\nsink:");
            daemon.pipeline("api", &to_file("api", &keys, &engine).replace("sink:", &step));
        }
        // A page may be told of that was on its way to the pipeline when its source was closed.
        arrived(&daemon, 1..=PAGES * PAGE);
        assert!(daemon.records("api.ndjson").iter().any(|record| record["version"] == 6), "{name}");
    }
}

fn key(seen: &Seen) -> String {
    seen.header("idempotency-key").unwrap().to_owned()
}

/// Dies at this point when it is passed for the so-many-th time.
fn crashing(folder: Folder, point: &str, skip: u32) -> Daemon {
    let failpoints = binary().with_file_name("karez-failpoints");
    let mut launch = Launch { binary: Some(failpoints), ..Launch::default() };
    launch.set("FAILPOINTS", &format!("{point}={skip}*off->panic"));
    // It may be gone before it is ready.
    let mut daemon = Daemon::prepare(folder, launch);
    daemon.spawn();
    daemon
}

#[test]
fn a_crash_between_any_two_steps_loses_nothing_and_repeats_a_page_at_most() {
    const POINTS: [&str; 7] = [
        "crash::before_deliver",
        "crash::after_deliver",
        "crash::settled",
        "crash::before_save",
        "crash::after_save",
        "crash::before_ack",
        "crash::after_ack",
    ];
    let keys = format!(
        "{SINCE}\nincremental: {{cursor: $.updated_at, start: \"2020-01-01\", safety_lag: 0s, order: asc}}"
    );
    for point in POINTS {
        for skip in [0, 3] {
            let api = ApiServer::with(30 * PAGE);
            api.trouble(|_| Some(Trouble::Late(Duration::from_millis(4))));
            let receiver = Receiver::start();
            let files = to_file("api", &keys, QUICK);
            let mut to_files = crashing(folder(&api).with("api", &files), point, skip);
            let pipeline = to_receiver(&receiver, &keys, QUICK);
            let mut to_http = crashing(folder(&api).with("api", &pipeline), point, skip);
            for daemon in [&mut to_files, &mut to_http] {
                eventually(&format!("it dies at {point}"), || !daemon.is_running());
                daemon.end();
                daemon.launch().unset("FAILPOINTS");
                daemon.restart();
            }
            complete(&to_files, 1..=30 * PAGE);
            let taken = || receiver.taken().iter().map(Seen::id).collect::<BTreeSet<_>>().len() as u64;
            eventually(&format!("all arrive after {point}"), || taken() == 30 * PAGE);
            to_http.drained("api");
            let again = receiver.taken().len() as u64 - 30 * PAGE;
            assert!(again <= PAGE, "{point} after {skip}: {again} records came again");
            assert_eq!(receiver.taken().iter().map(key).collect::<BTreeSet<_>>().len() as u64, 30 * PAGE);
        }
    }
}
