//! `enrich`: another system is asked about each record, and what it says goes on with it.

use karez_tests::{Daemon, Folder, Json, Launch, Receiver, Reply, Seen, eventually, json};

/// Users by the number at the end of the path; nobody knows 404.
fn users(seen: &Seen) -> Reply {
    match seen.path.rsplit('/').next().unwrap() {
        "404" => Reply::Status(404),
        id => Reply::Json(200, json!({"data": {"id": id, "name": format!("user {id}")}})),
    }
}

fn asking(receiver: &Receiver, keys: &str, beside: &str) -> Daemon {
    let shared = format!("connections: {{crm: {{url: \"{}\"}}}}\n", receiver.url("/v1"));
    let pipeline = format!(
        "source: {{webhook: {{path: /in, verify: {{none: {{reason: test}}}}}}}}\norder_by: $.key\n\
         steps:\n  - enrich: {{http: {{connection: crm, path: \"/users/{{{{user}}}}\"}}, into: $.assignee.user, pick: $.data, {keys}}}\n{beside}\
         sink: {{files: {{path: out.ndjson}}}}\n"
    );
    Daemon::start(Folder::new().with("asks", &pipeline).with("shared", &shared))
}

fn post(daemon: &Daemon, n: u64, user: u64) {
    daemon.post("/webhooks/in", &json!({"n": n, "key": n % 3, "user": user}));
}

fn sorted(daemon: &Daemon) -> Vec<Json> {
    let mut records = daemon.records("out.ndjson");
    records.sort_by_key(|record| record["n"].as_u64());
    records
}

#[test]
fn an_answer_goes_on_with_its_record_and_counts_as_long_as_the_file_says() {
    let receiver = Receiver::start_with(users);
    let daemon = asking(&receiver, "cache: {key: \"{{user}}\", ttl: 1h}", "");
    (0..30).for_each(|n| post(&daemon, n, n % 2));
    daemon.drained("asks");
    let expected = |n: u64| json!({"n": n, "key": n % 3, "user": n % 2, "assignee": {"user": {"id": (n % 2).to_string(), "name": format!("user {}", n % 2)}}});
    assert_eq!(sorted(&daemon), (0..30).map(expected).collect::<Vec<_>>());
    // Also where several batches ask the same at once.
    assert_eq!(receiver.seen().len(), 2);
    assert_eq!(receiver.seen()[0].path.as_str().split('/').nth(1), Some("v1"));
}

#[test]
fn what_is_asked_elsewhere_under_the_same_key_is_another_answer() {
    let receiver = Receiver::start_with(|seen| Reply::Json(200, json!({"data": {"of": seen.path}})));
    let order = "  - enrich: {http: {connection: crm, path: \"/orders/{{user}}\"}, into: $.order, pick: $.data, cache: {key: \"{{user}}\", ttl: 1h}}\n";
    let daemon = asking(&receiver, "cache: {key: \"{{user}}\", ttl: 1h}", order);
    (0..4).for_each(|n| post(&daemon, n, 7));
    daemon.drained("asks");
    for record in sorted(&daemon) {
        assert_eq!(record["assignee"]["user"], json!({"of": "/v1/users/7"}));
        assert_eq!(record["order"], json!({"of": "/v1/orders/7"}));
    }
    assert_eq!(receiver.seen().len(), 2);
}

#[test]
fn what_nobody_knows_is_refused_or_null_or_left_out() {
    for (keys, found) in [
        ("on_missing: refuse", None),
        ("on_missing: \"null\"", Some(json!({"n": 1, "key": 1, "user": 404, "assignee": {"user": null}}))),
        ("on_missing: skip", Some(json!({"n": 1, "key": 1, "user": 404}))),
    ] {
        let receiver = Receiver::start_with(users);
        let daemon = asking(&receiver, keys, "");
        post(&daemon, 1, 404);
        let metrics = daemon.drained("asks");
        assert_eq!(daemon.records("out.ndjson"), found.clone().into_iter().collect::<Vec<_>>(), "{keys}");
        assert_eq!(metrics.outcome("asks", "dead_lettered"), u64::from(found.is_none()), "{keys}");
    }
}

#[test]
fn a_far_end_that_fails_is_asked_again_and_order_by_key_is_kept() {
    let receiver = Receiver::start_with(|seen| match seen.number % 3 {
        0 => Reply::Status(503),
        _ => users(seen),
    });
    let daemon = asking(
        &receiver,
        "on_missing: refuse",
        "    retry: {initial: 10ms, max_wait: 50ms, max_attempts: 1000}\n",
    );
    (0..60).for_each(|n| post(&daemon, n, n));
    let metrics = daemon.drained("asks");
    assert_eq!(metrics.outcome("asks", "delivered"), 60);
    for key in 0..3 {
        let of_key = daemon.records("out.ndjson").into_iter().filter(|record| record["key"] == key);
        let numbers: Vec<u64> = of_key.map(|record| record["n"].as_u64().unwrap()).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert_eq!(numbers.len(), 20);
    }
}

#[test]
fn a_restart_asks_again_and_loses_nothing() {
    let receiver = Receiver::start_with(|_| Reply::Hang);
    let mut daemon = asking(&receiver, "on_missing: refuse", "");
    (0..10).for_each(|n| post(&daemon, n, n));
    receiver.sees(1);
    daemon.kill();
    receiver.answer(users);
    daemon.restart();
    daemon.drained("asks");
    eventually("all are there", || sorted(&daemon).len() == 10);
}

#[test]
fn addresses_of_this_machine_are_called_only_where_the_file_says_so() {
    let receiver = Receiver::start();
    let pipeline = |path: &str, settings: &str| {
        format!(
            "source: {{webhook: {{path: /{path}, verify: {{none: {{reason: test}}}}}}}}\n\
             sink: {{http: {{url: \"{}\"{settings}}}}}\n",
            receiver.url(&format!("/{path}"))
        )
    };
    let folder = Folder::new()
        .with("closed", &pipeline("closed", ""))
        .with("open", &pipeline("open", ", allow_private: [127.0.0.0/8]"));
    let mut launch = Launch::default();
    launch.set("KAREZ_ALLOW_PRIVATE", "192.0.2.0/24");
    let daemon = Daemon::start_as(folder, launch);
    daemon.post("/webhooks/closed", &json!({"id": 1}));
    daemon.post("/webhooks/open", &json!({"id": 2}));
    daemon.drained("open");
    eventually("it is said why", || daemon.status("closed").to_string().contains("allow_private"));
    let paths: Vec<String> = receiver.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/open"]);
    assert_eq!(daemon.metrics().in_flight("closed"), 1, "nothing is lost");
}
