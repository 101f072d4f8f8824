//! Positions: shown, and set back so that a source reads again, with and without a daemon.

use karez_tests::{Daemon, Folder, Receiver, Reply, eventually, json};

const ONCE: [&str; 6] = ["run", "--once", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
const REWIND: [&str; 3] = ["rewind", "copy", "--yes"];

/// What was written of two records, in order.
fn written(folder: &Folder) -> Vec<u64> {
    folder.numbers("out.ndjson", "id")
}

fn folder(follow: bool) -> Folder {
    let source = format!("source: {{files: {{paths: [in.ndjson], follow: {follow}}}}}\n");
    let folder = Folder::new().with("copy", &format!("{source}sink: {{files: {{path: out.ndjson}}}}\n"));
    folder.write("in.ndjson", "{\"id\": 1}\n{\"id\": 2}\n");
    folder
}

#[test]
fn a_source_reads_again_from_the_beginning_once_its_positions_are_gone() {
    let folder = folder(false);
    folder.karez(&["rewind", "copy"]).exits(3);
    folder.karez(&ONCE).exits(0);
    let listed = folder.karez(&["positions", "copy", "--format", "json"]).exits(0).json();
    assert_eq!((listed.as_array().unwrap().len(), listed[0]["source"].as_str()), (1, Some("source")));

    let refused = folder.karez(&REWIND[..2]).exits(2);
    let sentence =
        "everything of copy.source, 1 position forgotten, would be read and delivered again; say --yes";
    assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
    let timed = folder.karez(&["rewind", "copy", "--to", "2026-01-31", "--yes"]).exits(3);
    assert!(timed.stderr.contains("only a source that polls can"), "{}", timed.stderr);
    folder.karez(&["rewind", "copy", "--to", "yesterday"]).exits(2);
    folder.karez(&["rewind", "nothing", "--yes"]).exits(3);
    folder.karez(&ONCE).exits(0);
    assert_eq!(written(&folder), [1, 2], "nothing was changed");

    folder.karez(&REWIND).exits(0);
    folder.karez(&ONCE).exits(0);
    assert_eq!(written(&folder), [1, 2, 1, 2]);
}

#[test]
fn a_running_daemon_has_the_source_read_again_at_once() {
    let daemon = Daemon::start(folder(true));
    let saved = || daemon.karez(&["positions", "copy"]).exits(0).stdout.lines().count() == 1;
    eventually("the position is saved", || written(&daemon).len() == 2 && saved());
    daemon.karez(&REWIND[..2]).exits(2);
    daemon.karez(&["rewind", "copy", "--source", "nothing", "--yes"]).exits(3);
    let done = daemon.karez(&REWIND).exits(0);
    assert!(
        done.stdout.contains("everything of copy.source, 1 position forgotten, is read"),
        "{}",
        done.stdout
    );
    eventually("all is read again", || written(&daemon) == [1, 2, 1, 2]);
    daemon.drained("copy").conserves("copy");
    // It goes on to follow the file.
    daemon.write("in.ndjson", "{\"id\": 1}\n{\"id\": 2}\n{\"id\": 3}\n");
    eventually("what is new is read", || written(&daemon) == [1, 2, 1, 2, 3]);
}

/// A pipeline that has read two users from an API.
fn read_once(api: &Receiver, users: &str, schedule: &str) -> Daemon {
    let url = api.url("");
    let source = format!("http: {{url: \"{url}\", allow_private: [127.0.0.1], streams: {{users: {users}}}}}");
    let sink = "sink: {files: {path: out.ndjson}}";
    let pipeline = format!("source:\n  {source}\n  schedule: {schedule}\n{sink}\n");
    let daemon = Daemon::start(Folder::new().with("copy", &pipeline));
    let over = || written(&daemon) == [1, 2] && positions(&daemon).contains("\"done\":true");
    eventually("the run is over", over);
    daemon
}

fn positions(daemon: &Daemon) -> String {
    daemon.karez(&["positions", "copy"]).exits(0).stdout
}

/// A run that is not due for long.
const YEARLY: &str = "{cron: \"0 0 1 1 *\"}";
const SINCE: [&str; 5] = ["rewind", "copy", "--to", "2024-01-01", "--yes"];

fn users() -> Receiver {
    let user = |id: u64| json!({"id": id, "updated": "2024-05-06T07:08:09Z"});
    Receiver::start_with(move |_| Reply::Json(200, json!([user(1), user(2)])))
}

#[test]
fn a_polling_source_reads_again_from_a_time_on_though_its_next_run_is_not_due() {
    let api = users();
    // Without a schedule its pipeline has come to its end.
    for schedule in [YEARLY, "null"] {
        for users in ["{path: /}", "{path: /, incremental: {cursor: $.updated}}"] {
            let daemon = read_once(&api, users, schedule);
            daemon.karez(&SINCE).exits(0);
            eventually("it is read again", || written(&daemon) == [1, 2, 1, 2]);
            eventually("what was asked for is done", || !positions(&daemon).contains("rewind/"));
        }
    }
}

#[test]
fn a_time_that_is_no_place_of_a_stream_does_not_stop_it() {
    let api = users();
    let daemon = read_once(&api, "{path: /, incremental: {cursor: $.id, format: integer}}", YEARLY);
    daemon.karez(&SINCE).exits(0);
    eventually("that is told", || {
        daemon.karez(&["status"]).exits(0).stdout.contains("its cursor is no time")
    });
    eventually("what was asked for is gone", || !positions(&daemon).contains("rewind/"));
    daemon.karez(&REWIND).exits(0);
    eventually("it is read again", || written(&daemon) == [1, 2, 1, 2]);
}
