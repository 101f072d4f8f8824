//! Streams inside streams: a partition for each record of the stream above.

use std::collections::BTreeSet;

use karez_tests::{ApiServer, Daemon, Trouble, eventually, json};

use super::{EACH_SECOND, QUICK, complete, folder, fresh, numbers, once, reading, runs, source, to_file};

/// Three projects; issues of the first and the third; comments of some of those.
fn nested() -> ApiServer {
    let api = ApiServer::start();
    api.grow("projects", 3);
    api.grow_under("issues", 1, 12);
    api.grow_under("issues", 3, 5);
    for issue in [1, 2, 12, 13, 17] {
        api.grow_under("comments", issue, 11);
    }
    api
}

const PROJECTS: &str = "streams:\n  projects:\n    path: /cursor/projects\n    records: $.items\n    key: [id]\n    page: {cursor: $.next, into: query.cursor}\n";
const ISSUES: &str = "  issues:\n    for_each: projects\n    path: \"/cursor/projects/{{parent.id}}/issues\"\n    records: $.items\n    key: [id]\n    page: {cursor: $.next, into: query.cursor}\n";
const COMMENTS: &str = "  comments:\n    for_each: issues\n    path: \"/cursor/issues/{{parent.id}}/comments\"\n    records: $.items\n    key: [id]\n    page: {cursor: $.next, into: query.cursor}\n";
const CHANGED: &str = "    query: {since: \"{{window.from}}\", until: \"{{window.to}}\"}\n    incremental: {cursor: $.updated_at, start: \"2020-01-01\", safety_lag: 0s}\n";

#[test]
fn every_record_of_every_partition_of_depth_two_comes_once_with_its_parents() {
    let api = nested();
    let step = "steps:\n  - set: {stream: {jq: '$meta.stream'}, above: {jq: '$meta.parent'}}\n\
                sink: {files: {path: api.ndjson}}";
    let pipeline = source("http", &format!("{PROJECTS}{ISSUES}{COMMENTS}"), QUICK, step);
    let folder = folder(&api).with("api", &pipeline);
    once(&folder);
    let mut written = folder.records("api.ndjson");
    written.sort_by_key(|record| record["id"].as_u64());
    let expected: Vec<_> = api
        .records("comments")
        .into_iter()
        .map(|mut record| {
            let project = if record["parent"].as_u64() <= Some(12) { 1 } else { 3 };
            record["stream"] = json!("comments");
            record["above"] = json!({"id": record["parent"], "parent": {"id": project}});
            record
        })
        .collect();
    assert_eq!(written, expected);
    // Each partition was asked for, also those without anything in them.
    for issue in 1..=17 {
        assert!(api.count(&format!("/cursor/issues/{issue}/comments")) >= 1, "issue {issue}");
    }
    assert_eq!(api.count("/cursor/projects/2/issues"), 1);
}

#[test]
fn every_stream_that_is_asked_for_is_emitted() {
    let api = nested();
    let keys = format!("{PROJECTS}{ISSUES}emit: [projects, issues]\n");
    let folder = folder(&api).with("api", &to_file("api", &keys, QUICK));
    once(&folder);
    let payloads: BTreeSet<String> = folder
        .records("api.ndjson")
        .iter()
        .map(|record| record["payload"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((folder.records("api.ndjson").len(), payloads.len()), (20, 20));
}

#[test]
fn a_partition_that_is_forbidden_is_left_out_and_read_from_its_beginning_once_it_is_not() {
    let api = nested();
    api.trouble(|asked| (asked.path == "/cursor/projects/1/issues").then(|| Trouble::status(403)));
    let skip = "    errors: [{status: [403], do: skip_partition}]\n";
    let daemon = reading(&api, &format!("{PROJECTS}{ISSUES}{CHANGED}{skip}"), EACH_SECOND);
    complete(&daemon, 13..=17);
    eventually("it is told", || {
        runs(&daemon, "api").get("issues").is_some_and(|run| run["partitions_skipped"] == 1)
    });
    api.sees("/cursor/projects/1/issues", 2);
    api.heal();
    complete(&daemon, 1..=17);
}

#[test]
fn a_partition_that_is_forbidden_stops_everything_where_the_file_does_not_say_otherwise() {
    let api = nested();
    api.trouble(|asked| (asked.path == "/cursor/projects/1/issues").then(|| Trouble::status(403)));
    let daemon = reading(&api, &format!("{PROJECTS}{ISSUES}{CHANGED}"), EACH_SECOND);
    super::tells(&daemon, "403");
    api.heal();
    complete(&daemon, 1..=17);
}

#[test]
fn a_new_partition_is_read_from_its_beginning_though_the_others_are_read_on() {
    let api = nested();
    let keys = format!("{PROJECTS}{ISSUES}{CHANGED}");
    let folder = folder(&api).with("api", &to_file("api", &keys, QUICK));
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=17).collect::<Vec<_>>());
    // Their issues are a day old.
    api.grow("projects", 1);
    api.grow_under("issues", 4, 15);
    let before = api.count("/cursor/projects/1/issues");
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=32).collect::<Vec<_>>());
    let known = &api.asked("/cursor/projects/1/issues")[before..];
    let new = &api.asked("/cursor/projects/4/issues")[0];
    assert_eq!(known.len(), 1);
    assert!(new.query("since").unwrap() < known[0].query("since").unwrap());
}

#[test]
fn each_partition_goes_on_from_its_own_time() {
    let api = nested();
    let keys = format!("{PROJECTS}{ISSUES}{CHANGED}");
    let mut daemon = reading(&api, &keys, EACH_SECOND);
    complete(&daemon, 1..=17);
    for n in 0..3 {
        api.touch("issues", 18 + n, n % 3 + 1, jiff::Timestamp::now());
        complete(&daemon, 1..=18 + n);
        daemon.kill();
        daemon.restart();
    }
    complete(&daemon, 1..=20);
}

#[test]
fn a_partition_that_is_gone_is_not_asked_for_again() {
    let api = nested();
    let daemon = reading(&api, &format!("{PROJECTS}{ISSUES}{CHANGED}"), EACH_SECOND);
    complete(&daemon, 1..=17);
    api.trouble(|asked| {
        let gone = || Trouble::edit(|body| drop(body["items"].as_array_mut().unwrap().remove(1)));
        (asked.path == "/cursor/projects").then(gone)
    });
    let projects = api.count("/cursor/projects");
    api.sees("/cursor/projects", projects + 2);
    let asked = api.count("/cursor/projects/2/issues");
    api.sees("/cursor/projects", projects + 4);
    assert!(api.count("/cursor/projects/2/issues") <= asked + 1);
    complete(&daemon, 1..=17);
}

#[test]
fn values_of_the_file_are_partitions_too() {
    let api = nested();
    let keys = "for_each: {values: [1, 3]}\npath: \"/cursor/projects/{{parent.value}}/issues\"\nrecords: $.items\n\
                key: [id]\npage: {cursor: $.next, into: query.cursor}";
    let folder = folder(&api).with("api", &to_file("api", keys, QUICK));
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=17).collect::<Vec<_>>());
    assert_eq!(api.count("/cursor/projects/2/issues"), 0);
}

#[test]
fn only_changed_parents_are_asked_for_what_is_below_them_where_the_file_says_so() {
    let api = nested();
    let projects = format!("{PROJECTS}{CHANGED}");
    let issues =
        ISSUES.replace("for_each: projects", "for_each: {stream: projects, key: [id], changed_only: true}");
    let folder = folder(&api).with("api", &to_file("api", &format!("{projects}{issues}{CHANGED}"), QUICK));
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=17).collect::<Vec<_>>());
    api.touch("projects", 3, 0, fresh());
    api.touch("issues", 18, 3, fresh());
    let before: Vec<usize> = (1..=3).map(|id| api.count(&format!("/cursor/projects/{id}/issues"))).collect();
    once(&folder);
    assert_eq!(numbers(&folder, "api"), (1..=18).collect::<Vec<_>>());
    let after: Vec<usize> = (1..=3).map(|id| api.count(&format!("/cursor/projects/{id}/issues"))).collect();
    assert_eq!((after[0], after[1]), (before[0], before[1]));
    assert_eq!(after[2], before[2] + 1);
}

#[test]
fn no_more_partitions_are_read_at_once_than_the_file_says() {
    let api = ApiServer::start();
    api.grow("projects", 12);
    (1..=12).for_each(|project| api.grow_under("issues", project, 2));
    // Each request finds those that came before it unanswered, if they are on their way together.
    api.trouble(|asked| {
        asked.path.ends_with("/issues").then(|| Trouble::Late(std::time::Duration::from_millis(100)))
    });
    let keys = format!("{PROJECTS}{ISSUES}parallel: 3\n");
    let daemon = Daemon::start(folder(&api).with("api", &to_file("api", &keys, QUICK)));
    complete(&daemon, 1..=24);
    let mut at: Vec<_> =
        (1..=12).map(|id| api.asked(&format!("/cursor/projects/{id}/issues"))[0].at).collect();
    at.sort_unstable();
    for (first, fourth) in at.iter().zip(&at[3..]) {
        assert!(*fourth - *first >= std::time::Duration::from_millis(95), "{:?}", *fourth - *first);
    }
    let whole = *at.last().unwrap() - at[0];
    assert!(whole < std::time::Duration::from_millis(1_000), "not one after another: {whole:?}");
}
