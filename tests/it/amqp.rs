//! A real broker at either end, killed and started again.

use std::collections::{BTreeMap, BTreeSet};

use karez_tests::rabbit::{Broker, Look, alone, shared};
use karez_tests::{Daemon, Folder, Json, Load, Receiver, Seen, eventually, found, json};

use crate::webhook_to;

const QUICK: &str = "{initial: 50ms, max_wait: 500ms}";

fn publish(look: &Look, queue: &str, ids: std::ops::Range<u64>) {
    let messages: Vec<(String, Json)> = ids.map(|id| (format!("m{id}"), json!({"id": id}))).collect();
    look.publish(queue, messages.iter().map(|(id, body)| (id.as_str(), body)));
}

/// A pipeline from a queue that it declares.
fn consuming(broker: &Broker, queue: &str, rest: &str) -> String {
    let url = broker.url();
    format!(
        "source: {{amqp: {{url: \"{url}\", queue: {queue}, declare: {{}}, prefetch: 50}}, retry: {QUICK}}}\n{rest}\n"
    )
}

fn written(daemon: &Daemon) -> Vec<u64> {
    let mut ids = daemon.numbers("out.ndjson", "id");
    ids.sort_unstable();
    ids
}

#[test]
fn a_queue_is_read_to_its_end_though_broker_and_daemon_are_killed() {
    let mut broker = alone();
    let rest = "dedup: {key: $.id, ttl: 1h}\nsink: {files: {path: out.ndjson}}";
    let folder = Folder::new().with("queue", &consuming(&broker, "killed", rest));
    let look = broker.look();
    look.queue("killed");
    publish(&look, "killed", 0..1_000);
    let mut daemon = Daemon::start(folder);
    eventually("some of it is written", || written(&daemon).len() >= 200);
    broker.kill();
    eventually("the source says that it is down", || {
        daemon.status("queue").to_string().contains("\"down\":")
    });
    broker.restart();
    let look = broker.look();
    publish(&look, "killed", 1_000..2_000);
    eventually("more is written", || written(&daemon).len() >= 1_200);
    daemon.kill();
    daemon.restart();
    eventually("all of it is written", || written(&daemon).len() >= 2_000);
    assert_eq!(written(&daemon), (0..2_000).collect::<Vec<_>>());
    daemon.drained("queue");
    daemon.stop();
    assert_eq!(look.ready("killed"), 0, "everything is acknowledged");
}

#[test]
fn a_message_is_acknowledged_only_after_the_far_end_has_taken_it() {
    let broker = shared();
    let mut receiver = Receiver::start();
    receiver.refuse();
    let sink = format!("sink: {{http: {{url: \"{}\"}}, retry: {QUICK}}}", receiver.url("/"));
    let folder = Folder::new().with("queue", &consuming(&broker, "late", &sink));
    let look = broker.look();
    look.queue("late");
    publish(&look, "late", 0..10);
    let mut daemon = Daemon::start(folder);
    eventually("deliveries are tried", || {
        daemon.metrics().value("karez_sink_attempts_total{pipeline=\"queue\",node=\"sink\"}") > 0
    });
    daemon.kill();
    eventually("the broker has them all again", || look.ready("late") == 10);
    receiver.accept();
    daemon.restart();
    eventually("all arrive", || receiver.taken().len() >= 10);
    let ids: BTreeSet<u64> = receiver.taken().iter().map(Seen::id).collect();
    assert_eq!(ids, (0..10).collect());
    daemon.drained("queue");
    daemon.stop();
    assert_eq!(look.ready("late"), 0);
}

#[test]
fn what_a_webhook_accepted_reaches_the_queue_though_the_broker_is_killed() {
    let mut broker = alone();
    let sink =
        format!("sink: {{amqp: {{url: \"{}\", queue: fed, declare: {{}}}}, retry: {QUICK}}}", broker.url());
    let daemon = Daemon::start(Folder::new().with("feed", &webhook_to("feed", &sink)));
    broker.look().queue("fed");
    let load = Load::start(daemon.ingress(), "/webhooks/feed", 4);
    load.progresses(300);
    broker.kill();
    load.progresses(300);
    broker.restart();
    load.progresses(100);
    let sent = load.finish();
    assert!(sent.refusals.is_empty(), "a broker that is down is no reason to refuse: {:?}", sent.refusals);
    let metrics = daemon.drained("feed");
    assert_eq!(metrics.outcome("feed", "delivered"), sent.count);
    let mut arrived: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for (message_id, body) in broker.look().take("fed") {
        arrived.entry(body["id"].as_u64().unwrap()).or_default().insert(message_id);
    }
    assert_eq!(arrived.keys().copied().collect::<Vec<_>>(), (0..sent.count).collect::<Vec<_>>());
    assert!(
        arrived.values().all(|ids| ids.len() == 1),
        "one message id for one record, however often it was sent"
    );
}

#[test]
fn a_message_that_no_queue_takes_has_failed_and_is_sent_again() {
    let broker = shared();
    let sink = format!("sink: {{amqp: {{url: \"{}\", queue: missing}}, retry: {QUICK}}}", broker.url());
    let daemon = Daemon::start(Folder::new().with("lost", &webhook_to("lost", &sink)));
    daemon.post("/webhooks/lost", &json!({"id": 1}));
    eventually("it is tried again", || {
        daemon.metrics().value("karez_sink_retries_total{pipeline=\"lost\",node=\"sink\"}") >= 2
    });
    assert_eq!(daemon.metrics().outcome("lost", "delivered"), 0);
    let look = broker.look();
    look.queue("missing");
    daemon.drained("lost");
    let (_, body) = found("it arrives", || look.take("missing").into_iter().next());
    assert_eq!(body, json!({"id": 1}));
    look.delete("missing");
}

#[test]
fn a_reload_whose_second_queue_is_refused_leaves_both_reading() {
    let broker = shared();
    let source = |queue: &str, more: &str| {
        let url = broker.url();
        format!("  {queue}: {{amqp: {{url: \"{url}\", queue: {queue}, {more}}}, retry: {QUICK}}}\n")
    };
    let pipeline = |first: &str, second: &str| {
        let sources = format!("{}{}", source("stays", first), source("stands", second));
        format!("sources:\n{sources}sink: {{files: {{path: out.ndjson}}}}\n")
    };
    let look = broker.look();
    look.queue("stays");
    look.queue("stands");
    let daemon = Daemon::start(Folder::new().with("queues", &pipeline("declare: {}", "declare: {}")));
    // The first is exchanged before the second one's declaration is refused.
    daemon.pipeline("queues", &pipeline("declare: {}, prefetch: 7", "declare: {durable: false}"));
    eventually("the reload fails", || daemon.metrics().value("karez_reload_total{result=\"failed\"}") == 1);
    publish(&look, "stays", 0..5);
    publish(&look, "stands", 5..10);
    eventually("both are read", || written(&daemon).len() >= 10);
    assert_eq!(written(&daemon), (0..10).collect::<Vec<_>>());
    daemon.drained("queues");
    look.delete("stays");
    look.delete("stands");
}
