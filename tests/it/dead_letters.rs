//! Dead letters by the command line: listed, read, replayed, dropped, with and without a daemon.

use std::time::Duration;

use karez_tests::{Daemon, Folder, Json, Receiver, Reply, Seen, eventually, json};

use crate::webhook_to;

/// Order 1 and 2 are refused until `receiver` is told otherwise.
fn refusing() -> (Receiver, Daemon) {
    let receiver = Receiver::start_with(|seen| Reply::Status(if seen.id() > 0 { 400 } else { 200 }));
    let pipeline =
        format!("steps:\n  - set: {{seen: true}}\nsink: {{http: {{url: \"{}\"}}}}", receiver.url("/"));
    let daemon = Daemon::start(Folder::new().with("orders", &webhook_to("orders", &pipeline)));
    for id in 0..3 {
        daemon.post("/webhooks/orders", &json!({"id": id, "note": "as it came"}));
    }
    assert_eq!(daemon.drained("orders").outcome("orders", "dead_lettered"), 2);
    (receiver, daemon)
}

fn list(folder: &Folder) -> Vec<Json> {
    let list = folder.karez(&["dead-letters", "list", "--format", "json"]).exits(0).json();
    list.as_array().unwrap().clone()
}

/// The letter of an order.
fn id_of(folder: &Folder, order: u64) -> String {
    let ids = list(folder).into_iter().map(|letter| letter["id"].as_str().unwrap().to_owned());
    let is_of = |id: &String| {
        let letter = folder.karez(&["dead-letters", "show", id]).exits(0).json();
        let body: Json = serde_json::from_str(letter["record"]["body"].as_str().unwrap()).unwrap();
        body["id"] == order
    };
    ids.into_iter().find(is_of).unwrap()
}

#[test]
fn a_letter_keeps_the_original_and_what_failed_and_can_be_replayed_or_dropped() {
    let (receiver, daemon) = refusing();
    let text = daemon.karez(&["dead-letters", "list"]).exits(0);
    assert_eq!(text.stdout.lines().filter(|line| line.contains("http_400")).count(), 2, "{}", text.stdout);

    let first = id_of(&daemon, 1);
    let letter = daemon.karez(&["dead-letters", "show", &first]).exits(0).json();
    assert_eq!(letter["origin"]["body"], r#"{"id":1,"note":"as it came"}"#);
    let failed: Json = serde_json::from_str(letter["record"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(failed, json!({"id": 1, "note": "as it came", "seen": true}));
    assert_eq!((&letter["pipeline"], &letter["node"]), (&json!("orders"), &json!("sink")));

    receiver.answer(|_| Reply::Status(200));
    let replayed = daemon.karez(&["dead-letters", "replay", &first]).exits(0);
    assert!(replayed.stdout.contains(&first), "{}", replayed.stdout);
    eventually("the replayed record arrives", || receiver.taken().iter().any(|seen| seen.id() == 1));
    eventually("its letter goes", || list(&daemon).len() == 1);

    let second = id_of(&daemon, 2);
    // One that cannot be dropped does not keep the others.
    assert!(daemon.karez(&["dead-letters", "drop", "nothing", &second]).exits(3).stdout.contains(&second));
    assert!(list(&daemon).is_empty());
    daemon.karez(&["dead-letters", "show", &second]).exits(3);
    let odd = daemon.karez(&["dead-letters", "show", "a b/c?"]).exits(3);
    assert!(odd.stderr.contains("there is no dead letter \"a b/c?\""), "{}", odd.stderr);
    daemon.karez(&["dead-letters", "replay", "nothing"]).exits(3);
    daemon.karez(&["dead-letters", "drop", "nothing"]).exits(3);
    assert_eq!(receiver.taken().iter().map(Seen::id).collect::<Vec<_>>(), [0, 1]);
    daemon.metrics().conserves("orders");
}

#[test]
fn a_letter_can_be_edited_and_sent_from_the_start() {
    let (receiver, daemon) = refusing();
    let edited = r#"{"id": 0, "note": "mended"}"#;
    daemon.karez(&["dead-letters", "replay", &id_of(&daemon, 1), "--from-source", "--edit", edited]).exits(0);
    let mended = json!({"id": 0, "note": "mended", "seen": true});
    eventually("the edited record arrives", || receiver.taken().iter().any(|seen| seen.json() == mended));
    eventually("its letter goes", || list(&daemon).len() == 1);
    let refused = daemon.karez(&["dead-letters", "replay", &id_of(&daemon, 2), "--to", "nowhere"]).exits(3);
    assert!(refused.stderr.contains("nowhere"), "{}", refused.stderr);
    assert_eq!(list(&daemon).len(), 1);
}

#[test]
fn letters_outlive_the_daemon_and_can_be_read_without_it() {
    let (receiver, mut daemon) = refusing();
    daemon.stop();
    let first = id_of(&daemon, 1);
    daemon.karez(&["dead-letters", "show", &first]).exits(0);
    let refused = daemon.karez(&["dead-letters", "replay", &first]).exits(3);
    assert!(refused.stderr.contains("karez run"), "{}", refused.stderr);
    daemon.karez(&["dead-letters", "drop", &first]).exits(0);
    daemon.restart();
    assert_eq!(list(&daemon).len(), 1);
    receiver.answer(|_| Reply::Status(200));
    daemon.karez(&["dead-letters", "replay", &id_of(&daemon, 2)]).exits(0);
    eventually("the replayed record arrives", || receiver.taken().iter().any(|seen| seen.id() == 2));
    karez_tests::never(Duration::from_millis(300), "a dropped letter comes back", || {
        receiver.taken().iter().any(|seen| seen.id() == 1)
    });
}

#[test]
fn a_delivery_of_many_refused_parts_is_kept_once() {
    let source = "source: {webhook: {path: /bulk, verify: {none: {reason: test}}}}\n";
    let steps = "steps:\n  - split: \"$.items[*]\"\n  - validate: {schema: {required: [total]}}\n";
    let pipeline = format!("{source}{steps}sink: {{blackhole: {{}}}}\n");
    let daemon = Daemon::start(Folder::new().with("bulk", &pipeline));
    let items: Vec<Json> = (0..1_000).map(|id| json!({"id": id})).collect();
    daemon.post("/webhooks/bulk", &json!({"items": items, "filling": "x".repeat(500_000)}));
    assert_eq!(daemon.drained("bulk").outcome("bulk", "dead_lettered"), 1);
    let metrics = daemon.metrics();
    assert_eq!(metrics.value("karez_dead_letters"), 1_000);
    assert!(metrics.value("karez_dead_letter_bytes") < 3_000_000, "{metrics:?}");
    let letters =
        daemon.karez(&["dead-letters", "list", "--format", "json", "--limit", "1000"]).exits(0).json();
    let ids: Vec<&str> =
        letters.as_array().unwrap().iter().map(|letter| letter["id"].as_str().unwrap()).collect();
    let (last, rest) = ids.split_last().unwrap();
    for chunk in rest.chunks(200) {
        daemon.karez(&[&["dead-letters", "drop"], chunk].concat()).exits(0);
    }
    let letter = daemon.karez(&["dead-letters", "show", last]).exits(0).json();
    assert!(letter["origin"]["body"].as_str().unwrap().len() > 500_000, "the last one still has it all");
    daemon.karez(&["dead-letters", "drop", last]).exits(0);
    assert_eq!(daemon.metrics().value("karez_dead_letter_bytes"), 0, "the last one takes it along");
}
