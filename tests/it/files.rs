//! Files to files: read once or followed, resumed where a kill left them.

use std::fmt::Write as _;
use std::fs::{OpenOptions, rename};
use std::io::Write as _;
use std::process::{Child, Stdio};

use karez_tests::{Daemon, Folder, PATIENCE, eventually, within};

const ONCE: [&str; 6] = ["run", "--once", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

fn lines(ids: std::ops::Range<u64>) -> String {
    ids.fold(String::new(), |mut text, id| {
        writeln!(text, "{{\"id\":{id},\"text\":\"some text that makes the line longer\"}}").unwrap();
        text
    })
}

fn once(folder: &Folder) -> Child {
    folder.command(ONCE).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_run_that_is_killed_half_way_goes_on_where_it_was_and_writes_each_record_once() {
    const COUNT: u64 = 60_000;
    let pipeline = "source: {files: {paths: [in.ndjson]}}\nsteps:\n  - map: {id: $.id}\nsink: {files: {path: out.ndjson}}\n";
    let folder = Folder::new().with("copy", pipeline);
    folder.write("in.ndjson", lines(0..COUNT));
    let size = || std::fs::metadata(folder.at("out.ndjson")).map_or(0, |file| file.len());
    for part in 1..=3 {
        let mut run = once(&folder);
        let enough = size() + 20_000;
        within(PATIENCE, "some of it is written", || size() >= enough || run.try_wait().unwrap().is_some());
        assert!(run.try_wait().unwrap().is_none(), "it was done before it was killed in part {part}");
        run.kill().unwrap();
        run.wait().unwrap();
    }
    let report = folder.karez(&ONCE).exits(0);
    assert!(report.stderr.contains("copy: in "), "{}", report.stderr);
    assert_eq!(folder.numbers("out.ndjson", "id"), (0..COUNT).collect::<Vec<_>>());
    // Everything is read: another run finds nothing.
    folder.karez(&ONCE).exits(0);
    assert_eq!(folder.numbers("out.ndjson", "id").len() as u64, COUNT);
}

#[test]
fn a_run_that_dead_letters_says_so_by_its_exit_code() {
    let pipeline = "source: {files: {paths: [in.ndjson]}}\nsink: {files: {path: out.ndjson}}\n";
    let folder = Folder::new().with("copy", pipeline);
    folder.write("in.ndjson", "{\"id\": 1}\n{\"id\": \n{\"id\": 3}\n");
    let report = folder.karez(&ONCE).exits(1);
    assert!(report.stderr.contains("dead-lettered 1"), "{}", report.stderr);
    assert_eq!(folder.numbers("out.ndjson", "id"), [1, 3]);
    let letters = folder.karez(&["dead-letters", "list", "--format", "json"]).exits(0).json();
    let letter = folder.karez(&["dead-letters", "show", letters[0]["id"].as_str().unwrap()]).exits(0).json();
    assert_eq!(letter["origin"]["body"], "{\"id\": ", "the original bytes");
}

#[test]
fn tables_become_records_and_records_become_tables() {
    let pipeline = "source: {files: {paths: [in.csv], format: csv}}\nsteps:\n  - filter: \"@.kind == 'a'\"\n\
                    sink: {files: {path: out.csv, format: csv, columns: [name, kind]}}\n";
    let folder = Folder::new().with("table", pipeline);
    folder.write("in.csv", "kind,name\na,\"Ada, Countess\"\nb,Bob\na,\"say \"\"hi\"\"\"\n");
    folder.karez(&ONCE).exits(0);
    assert_eq!(folder.read("out.csv"), "name,kind\n\"Ada, Countess\",a\n\"say \"\"hi\"\"\",a\n");
}

#[test]
fn a_followed_file_is_read_through_rotation_and_kills() {
    let pipeline = "source: {files: {paths: [\"in/*.ndjson\"], follow: true, poll: 20ms}}\nsink: {files: {path: out.ndjson}}\n";
    let folder = Folder::new().with("follow", pipeline);
    folder.write("in/log.ndjson", lines(0..500));
    let mut daemon = Daemon::start(folder);
    let append = |daemon: &Daemon, text: &str| {
        let mut file = OpenOptions::new().append(true).open(daemon.at("in/log.ndjson")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let written = |daemon: &Daemon| {
        let mut ids = daemon.numbers("out.ndjson", "id");
        ids.sort_unstable();
        ids
    };
    let complete = |daemon: &Daemon, count: u64| {
        eventually("all lines arrive", || written(daemon).len() as u64 >= count);
        assert_eq!(written(daemon), (0..count).collect::<Vec<_>>());
    };
    complete(&daemon, 500);
    append(&daemon, &lines(500..1_000));
    rename(daemon.at("in/log.ndjson"), daemon.at("in/log-1.ndjson")).unwrap();
    daemon.write("in/log.ndjson", lines(1_000..1_500));
    complete(&daemon, 1_500);
    daemon.kill();
    append(&daemon, &lines(1_500..2_000));
    rename(daemon.at("in/log.ndjson"), daemon.at("in/log-2.ndjson")).unwrap();
    daemon.write("in/log.ndjson", lines(2_000..2_500));
    daemon.restart();
    complete(&daemon, 2_500);
    // A line counts once it is whole.
    let line = lines(2_500..2_501);
    append(&daemon, &line[..10]);
    append(&daemon, &line[10..]);
    complete(&daemon, 2_501);
    daemon.drained("follow");
}
