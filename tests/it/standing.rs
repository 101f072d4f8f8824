//! Sources that come and go, stand or fall in a reload, and what of theirs was on its way.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use karez_tests::{Daemon, Folder, Receiver, Reply, Seen, eventually, json};

/// A sink at `receiver` that tries again soon.
fn to(receiver: &Receiver) -> String {
    let url = receiver.url("/");
    format!("sink: {{http: {{url: \"{url}\"}}, retry: {{initial: 20ms, max_wait: 100ms}}}}\n")
}

fn arrived(receiver: &Receiver) -> Vec<u64> {
    let mut ids: Vec<u64> = receiver.taken().iter().map(Seen::id).collect();
    ids.sort_unstable();
    ids
}

fn append(path: &Path, ids: std::ops::Range<u64>) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    ids.for_each(|id| writeln!(file, "{}", json!({"id": id})).unwrap());
}

#[test]
fn a_followed_file_that_leaves_the_pipeline_takes_nothing_with_it() {
    let receiver = Receiver::start_with(|_| Reply::Status(503));
    let follow = |name: &str| format!("  {name}: {{files: {{paths: [{name}.ndjson], follow: true}}}}\n");
    let both = format!("sources:\n{}{}{}", follow("a"), follow("b"), to(&receiver));
    let only_b = format!("sources:\n{}{}", follow("b"), to(&receiver));
    let folder = Folder::new().with("files", &both);
    append(&folder.at("a.ndjson"), 0..50);
    append(&folder.at("b.ndjson"), 100..150);
    let daemon = Daemon::start(folder);
    eventually("all of both is on its way", || daemon.metrics().in_flight("files") == 100);
    daemon.pipeline("files", &only_b);
    eventually("the reload is through", || daemon.metrics().outcome("files", "returned") == 50);
    daemon.metrics().conserves("files");
    receiver.answer(|_| Reply::Status(200));
    daemon.drained("files");
    assert_eq!(arrived(&receiver), (100..150).collect::<Vec<_>>());
    daemon.pipeline("files", &both);
    append(&daemon.at("a.ndjson"), 50..60);
    eventually("what was left behind arrives", || arrived(&receiver).len() >= 110);
    daemon.drained("files");
    assert_eq!(arrived(&receiver), (0..60).chain(100..150).collect::<Vec<_>>());
}

#[test]
fn a_webhook_that_leaves_and_returns_finds_its_journal_counted_once() {
    let receiver = Receiver::start_with(|_| Reply::Status(503));
    let hook = |name: &str| {
        format!("  {name}: {{webhook: {{path: /{name}, verify: {{none: {{reason: test}}}}}}}}\n")
    };
    let both = format!("sources:\n{}{}{}", hook("a"), hook("b"), to(&receiver));
    let daemon = Daemon::start(Folder::new().with("hooks", &both));
    (0..5).for_each(|id| daemon.post("/webhooks/a", &json!({"id": id})));
    (5..10).for_each(|id| daemon.post("/webhooks/b", &json!({"id": id})));
    daemon.pipeline("hooks", &format!("sources:\n{}{}", hook("b"), to(&receiver)));
    eventually("it is gone", || daemon.metrics().outcome("hooks", "returned") == 5);
    daemon.metrics().conserves("hooks");
    daemon.pipeline("hooks", &both);
    eventually("it is back", || daemon.metrics().outcome("hooks", "recovered") == 5);
    receiver.answer(|_| Reply::Status(200));
    let metrics = daemon.drained("hooks");
    assert_eq!((metrics.outcome("hooks", "in"), metrics.outcome("hooks", "delivered")), (10, 10));
    assert_eq!(arrived(&receiver), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_journal_that_is_switched_off_comes_before_what_the_file_gives_next() {
    let receiver = Receiver::start_with(|_| Reply::Status(503));
    let source = |journal: bool| {
        let source = format!("source: {{files: {{paths: [in.ndjson], follow: true}}, journal: {journal}}}");
        format!("{source}\norder_by: {{literal: all}}\n{}", to(&receiver))
    };
    let folder = Folder::new().with("files", &source(true));
    append(&folder.at("in.ndjson"), 0..40);
    let daemon = Daemon::start(folder);
    eventually("all of it is journaled", || daemon.metrics().in_flight("files") == 40);
    daemon.pipeline("files", &source(false));
    eventually("the reload is through", || {
        daemon.metrics().value("karez_pipeline_reloads_total{pipeline=\"files\"}") == 1
    });
    append(&daemon.at("in.ndjson"), 40..80);
    receiver.answer(|_| Reply::Status(200));
    eventually("all of it arrives", || receiver.taken().len() >= 80);
    daemon.drained("files");
    assert_eq!(receiver.taken().iter().map(Seen::id).collect::<Vec<_>>(), (0..80).collect::<Vec<_>>());
}

#[test]
fn what_a_journaled_file_cannot_prepare_is_a_dead_letter_of_its_source() {
    let source = "source: {files: {paths: [in.ndjson]}, journal: true, dedup: {key: $.id}}\n";
    let folder = Folder::new().with("files", &format!("{source}sink: {{files: {{path: out.ndjson}}}}\n"));
    folder.write("in.ndjson", "{\"id\":1}\n{\"no\":2}\nnot json\n{\"id\":1}\n{\"id\":3}\n");
    folder.karez(&["run", "--once"]).exits(1);
    assert_eq!(folder.numbers("out.ndjson", "id"), [1, 3]);
    let letters = folder.karez(&["dead-letters", "list", "--format", "json"]).exits(0).json();
    let codes: Vec<&str> =
        letters.as_array().unwrap().iter().map(|letter| letter["code"].as_str().unwrap()).collect();
    assert_eq!(codes.len(), 2, "{codes:?}");
    assert!(codes.contains(&"missing_dedup_key"), "{codes:?}");
    assert!(letters.as_array().unwrap().iter().all(|letter| letter["node"] == "source"));
}

#[test]
fn a_key_of_the_whole_pipeline_counts_across_its_sources() {
    let file = |name: &str| format!("  {name}: {{files: {{paths: [{name}.ndjson]}}}}\n");
    let dedup = "dedup: {key: $.id, scope: pipeline}\n";
    let sink = "sink: {files: {path: out.ndjson}}\n";
    let folder = Folder::new().with("files", &format!("sources:\n{}{}{dedup}{sink}", file("a"), file("b")));
    append(&folder.at("a.ndjson"), 0..300);
    append(&folder.at("b.ndjson"), 200..500);
    folder.karez(&["run", "--once"]).exits(0);
    let mut written = folder.numbers("out.ndjson", "id");
    written.sort_unstable();
    assert_eq!(written, (0..500).collect::<Vec<_>>());
}

#[test]
fn a_sink_that_waits_for_a_log_in_is_tried_again_on_the_operator_s_word() {
    let receiver = Receiver::start_with(|_| Reply::Status(401));
    let source = "source: {webhook: {path: /orders, verify: {none: {reason: test}}}}\n";
    let daemon = Daemon::start(Folder::new().with("orders", &format!("{source}{}", to(&receiver))));
    daemon.post("/webhooks/orders", &json!({"id": 1}));
    receiver.sees(1);
    eventually("it pauses", || daemon.status("orders").to_string().contains("\"paused\""));
    receiver.answer(|_| Reply::Status(200));
    let said = daemon.karez(&["unblock", "orders"]).exits(0);
    assert_eq!(said.stdout, "unblocked orders\n");
    receiver.sees(2);
    assert_eq!(daemon.drained("orders").outcome("orders", "delivered"), 1);
}

#[test]
fn a_step_that_takes_longer_than_it_may_refuses_its_record() {
    let steps = "steps:\n  - {timeout: 1ms, jq: '[range(.n)] | length'}\n";
    let source = "source: {files: {paths: [in.ndjson]}, concurrency: 1, timeout: 5s}\n";
    let folder =
        Folder::new().with("slow", &format!("{source}{steps}sink: {{files: {{path: out.ndjson}}}}\n"));
    folder.write("in.ndjson", "{\"n\":200000}\n");
    folder.karez(&["run", "--once"]).exits(1);
    let letters = folder.karez(&["dead-letters", "list", "--format", "json"]).exits(0).json();
    assert_eq!((&letters[0]["code"], &letters[0]["class"]), (&json!("timeout"), &json!("validation")));
}
