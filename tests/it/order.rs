//! What arrives once, in which order, and at which of several sinks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use karez_tests::{Daemon, Folder, Receiver, Reply, Request, Seen, eventually, json};

use crate::webhook_to;

#[test]
fn equal_keys_stay_in_order_though_deliveries_fail() {
    // Each seventh order fails before it is taken.
    let tries = Mutex::new(BTreeMap::<u64, u64>::new());
    let receiver = Receiver::start_with(move |seen| {
        let mut tries = tries.lock().unwrap();
        let tries = tries.entry(seen.id()).or_default();
        *tries += 1;
        Reply::Status(if seen.id() % 7 == 0 && *tries < 2 { 500 } else { 200 })
    });
    let pipeline = format!(
        "order_by: $.key\nsink: {{http: {{url: \"{}\"}}, retry: {{initial: 5ms, max_wait: 20ms}}}}",
        receiver.url("/")
    );
    let daemon = Daemon::start(Folder::new().with("orders", &webhook_to("orders", &pipeline)));
    for id in 0..400 {
        daemon.post("/webhooks/orders", &json!({"id": id, "key": id % 20}));
    }
    assert_eq!(daemon.drained("orders").outcome("orders", "delivered"), 400);
    let mut taken: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for seen in receiver.taken() {
        taken.entry(seen.id() % 20).or_default().push(seen.id());
    }
    for (key, ids) in taken {
        assert_eq!(ids, (0..20).map(|n| n * 20 + key).collect::<Vec<_>>(), "key {key}");
    }
}

#[test]
fn a_record_is_known_after_a_restart_and_after_a_kill() {
    let pipeline = webhook_to("orders", "dedup: {key: $.id, ttl: 1h}\nsink: {files: {path: out.ndjson}}");
    let mut daemon = Daemon::start(Folder::new().with("orders", &pipeline));
    let status = |daemon: &Daemon| {
        let answer = daemon.send(&Request::post("/webhooks/orders", json!({"id": 1})));
        answer.json()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(&daemon), "accepted");
    daemon.drained("orders");
    daemon.stop();
    daemon.restart();
    assert_eq!(status(&daemon), "duplicate");
    daemon.kill();
    daemon.restart();
    assert_eq!(status(&daemon), "duplicate");
    daemon.drained("orders");
    assert_eq!(daemon.numbers("out.ndjson", "id"), [1]);
}

#[test]
fn a_delivery_is_split_into_records_that_count_one_by_one() {
    let pipeline = "source: {webhook: {path: /bulk, verify: {none: {reason: test}}}, split: \"$.items[*]\"}\n\
                    dedup: {key: $.id, ttl: 1h}\nsink: {files: {path: out.ndjson}}\n";
    let daemon = Daemon::start(Folder::new().with("bulk", pipeline));
    daemon.post("/webhooks/bulk", &json!({"items": [{"id": 1}, {"id": 2}, {"id": 3}]}));
    daemon.post("/webhooks/bulk", &json!({"items": [{"id": 3}, {"id": 4}]}));
    let metrics = daemon.drained("bulk");
    assert_eq!((metrics.outcome("bulk", "in"), metrics.outcome("bulk", "duplicate")), (5, 1));
    let mut written = daemon.numbers("out.ndjson", "id");
    written.sort_unstable();
    assert_eq!(written, [1, 2, 3, 4]);
}

#[test]
fn a_sink_that_has_confirmed_is_not_bothered_again_because_another_is_down() {
    let up = Receiver::start();
    let mut down = Receiver::start();
    down.refuse();
    let sinks = format!(
        "retry: {{initial: 20ms, max_wait: 200ms}}\nsinks:\n  up: {{http: {{url: \"{}\"}}}}\n  down: {{http: {{url: \"{}\"}}}}",
        up.url("/"),
        down.url("/")
    );
    let mut daemon = Daemon::start(Folder::new().with("orders", &webhook_to("orders", &sinks)));
    for id in 0..20 {
        daemon.post("/webhooks/orders", &json!({"id": id}));
    }
    eventually("one sink has confirmed", || {
        daemon.metrics().value("karez_node_out_total{pipeline=\"orders\",node=\"up\"}") == 20
    });
    daemon.kill();
    down.accept();
    daemon.restart();
    daemon.drained("orders");
    let ids = |receiver: &Receiver| receiver.taken().iter().map(Seen::id).collect::<BTreeSet<_>>();
    assert_eq!(ids(&down), (0..20).collect());
    assert_eq!((up.taken().len(), ids(&up).len()), (20, 20));
}
