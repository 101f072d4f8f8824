//! A far end that fails: what is tried again, when, under which key, and what is given up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use karez_tests::{Daemon, Folder, Receiver, Reply, Seen, eventually, json};

use crate::webhook_to;

const QUICK: &str = "retry: {initial: 20ms, max_wait: 100ms}";

/// A daemon that sends events from `/orders` to the receiver.
fn sending(receiver: &Receiver, keys: &str) -> Daemon {
    let sink = format!("sink: {{http: {{url: \"{}\"}}, {keys}}}", receiver.url("/in"));
    Daemon::start(Folder::new().with("orders", &webhook_to("orders", &sink)))
}

fn post(daemon: &Daemon, ids: impl IntoIterator<Item = u64>) {
    ids.into_iter().for_each(|id| daemon.post("/webhooks/orders", &json!({"id": id})));
}

fn ids(seen: &[Seen]) -> BTreeSet<u64> {
    seen.iter().map(Seen::id).collect()
}

#[test]
fn a_receiver_that_recovers_gets_everything_under_the_keys_it_has_seen_before() {
    let receiver = Receiver::start_with(|_| Reply::Status(500));
    let daemon = sending(&receiver, QUICK);
    post(&daemon, 0..30);
    receiver.sees(8);
    receiver.answer(|_| Reply::Status(200));
    let metrics = daemon.drained("orders");
    assert_eq!(metrics.outcome("orders", "delivered"), 30);
    assert_eq!(ids(&receiver.taken()), (0..30).collect());
    let mut keys: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for seen in receiver.seen() {
        keys.entry(seen.id()).or_default().insert(seen.header("idempotency-key").unwrap().to_owned());
    }
    assert!(keys.values().all(|keys| keys.len() == 1), "one key for one record: {keys:?}");
    assert_eq!(keys.values().flatten().collect::<BTreeSet<_>>().len(), 30, "one record for one key");
}

#[test]
fn a_receiver_that_refuses_connections_gets_everything_once_it_is_back() {
    let mut receiver = Receiver::start();
    let daemon = sending(&receiver, QUICK);
    receiver.refuse();
    post(&daemon, 0..10);
    eventually("deliveries are tried again", || daemon.metrics().value(RETRIES) >= 3);
    receiver.accept();
    daemon.drained("orders");
    assert_eq!(ids(&receiver.taken()), (0..10).collect());
}

const RETRIES: &str = "karez_sink_retries_total{pipeline=\"orders\",node=\"sink\"}";

#[test]
fn the_receiver_says_when_to_come_again() {
    for status in [429, 503] {
        let receiver = Receiver::start_with(move |_| Reply::RetryAfter(status, 2));
        let daemon = sending(&receiver, "retry: {initial: 20ms, max_wait: 10s}");
        post(&daemon, [1]);
        let first = receiver.sees(1)[0].at;
        receiver.answer(|_| Reply::Status(200));
        let second = receiver.sees(2)[1].at;
        assert!(second - first >= Duration::from_secs(2), "{status}: {:?}", second - first);
        assert_eq!(daemon.drained("orders").outcome("orders", "delivered"), 1);
    }
}

#[test]
fn a_refused_record_is_dead_lettered_at_once_and_the_others_pass() {
    let receiver = Receiver::start_with(|seen| Reply::Status(if seen.id() == 3 { 422 } else { 200 }));
    let daemon = sending(&receiver, QUICK);
    post(&daemon, 0..10);
    let metrics = daemon.drained("orders");
    assert_eq!(metrics.outcome("orders", "delivered"), 9);
    assert_eq!(metrics.outcome("orders", "dead_lettered"), 1);
    assert_eq!(receiver.seen().iter().filter(|seen| seen.id() == 3).count(), 1, "no retry");
    let letters = daemon.karez(&["dead-letters", "list", "--format", "json"]).exits(0).json();
    assert_eq!(letters[0]["class"], "validation");
    assert_eq!(letters[0]["code"], "http_422");
    assert_eq!(letters[0]["node"], "sink");
}

#[test]
fn a_poison_record_is_given_up_after_its_attempts_while_others_get_through() {
    let receiver = Receiver::start_with(|seen| Reply::Status(if seen.id() == 0 { 500 } else { 200 }));
    let daemon = sending(&receiver, "retry: {initial: 20ms, max_wait: 50ms, max_attempts: 3}");
    let mut next = 0;
    eventually("the poison is given up", || {
        post(&daemon, [next]);
        next += 1;
        daemon.metrics().outcome("orders", "dead_lettered") == 1
    });
    let metrics = daemon.drained("orders");
    assert_eq!(metrics.outcome("orders", "delivered"), next - 1);
    assert_eq!(ids(&receiver.taken()), (1..next).collect());
    let letter = &daemon.karez(&["dead-letters", "list", "--format", "json"]).exits(0).json()[0];
    assert_eq!((&letter["code"], &letter["class"]), (&json!("exhausted"), &json!("service")), "{letter}");
    assert!(letter["attempts"].as_u64() >= Some(3), "{letter}");
}

#[test]
fn what_fails_can_be_diverted_with_its_error() {
    let receiver = Receiver::start_with(|seen| Reply::Status(if seen.id() == 1 { 400 } else { 200 }));
    let sinks = format!(
        "sinks:\n  main: {{http: {{url: \"{}\"}}, on_failure: {{to: note}}}}\n  parked: {{from: note, files: {{path: parked.ndjson}}}}\n\
         steps:\n  - {{id: note, from: [], map: {{id: $.id, why: \"{{{{@meta.error.code}}}} at {{{{@meta.error.node}}}}\"}}}}",
        receiver.url("/")
    )
    .replace(", from: []", "");
    // A branch that only failures enter takes nothing else.
    let sinks = sinks.replace("  main: {", "  main: {from: source, ");
    let daemon = Daemon::start(Folder::new().with("orders", &webhook_to("orders", &sinks)));
    post(&daemon, 0..3);
    let metrics = daemon.drained("orders");
    assert_eq!(metrics.outcome("orders", "delivered"), 2);
    assert_eq!(metrics.outcome("orders", "diverted"), 1);
    assert_eq!(daemon.records("parked.ndjson"), [json!({"id": 1, "why": "http_400 at main"})]);
}

#[test]
fn memory_stays_within_bounds_while_the_far_end_hangs() {
    const COUNT: u64 = 1_200;
    let receiver = Receiver::start_with(|_| Reply::Hang);
    let daemon = sending(&receiver, "timeout: 10m");
    let filler = "x".repeat(100_000);
    post(&daemon, [0]);
    receiver.sees(1);
    let before = daemon.memory();
    for id in 1..COUNT {
        daemon.post("/webhooks/orders", &json!({"id": id, "filler": filler}));
    }
    let grown = daemon.memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MB came, and memory grew by {} MB", COUNT / 10, grown >> 20);
    receiver.answer(|_| Reply::Status(200));
    assert_eq!(daemon.drained("orders").outcome("orders", "delivered"), COUNT);
    assert_eq!(ids(&receiver.taken()), (0..COUNT).collect());
}
