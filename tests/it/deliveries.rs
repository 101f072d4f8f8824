//! Deliveries of webhooks beyond a plain event: lists of events, answers that wait, limits, secrets being replaced.

use hmac::{Hmac, KeyInit, Mac};
use karez_tests::{Connection, Daemon, Folder, Launch, Receiver, Reply, Request, json};
use sha2::Sha256;

fn signed(path: &str, secret: &str, body: &str) -> Request {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    Request::post(path, body).header("X-Signature", hex::encode(mac.finalize().into_bytes()))
}

#[test]
fn each_event_of_a_list_is_a_record_and_counts_once() {
    let pipeline = "source: {webhook: {path: /okta, verify: {provider: okta, secret: s3cret}, events: [user.session.start]}}\n\
                    steps: [map: {id: '{{@meta.id}}', delivery: '{{@meta.delivery_id}}', type: '{{@meta.event_type}}'}]\n\
                    sink: {files: {path: out.ndjson}}\n";
    let daemon = Daemon::start(Folder::new().with("okta", pipeline));
    let event = |uuid: &str, event_type: &str| json!({"uuid": uuid, "eventType": event_type});
    let delivery = |id: &str, events: &[karez_tests::Json]| {
        let body = json!({"eventId": id, "data": {"events": events}});
        Request::post("/webhooks/okta", body).header("Authorization", "s3cret")
    };
    let (start, end) = (event("a", "user.session.start"), event("b", "user.session.end"));
    let answer =
        daemon.send(&delivery("d1", &[start.clone(), end.clone(), event("c", "user.session.start")]));
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("accepted")));
    // Sent again in another delivery, as providers do: known by its own id.
    let again = daemon.send(&delivery("d2", &[start, event("d", "user.session.start")]));
    assert_eq!(again.json()["status"], "accepted");
    assert_eq!(daemon.send(&delivery("d3", &[end])).json()["status"], "filtered");
    let metrics = daemon.drained("okta");
    assert_eq!((metrics.outcome("okta", "duplicate"), metrics.outcome("okta", "filtered")), (1, 2));
    let found = daemon.records("out.ndjson");
    let of = |id: &str, delivery: &str| json!({"id": id, "delivery": delivery, "type": "user.session.start"});
    assert_eq!(found, [of("a", "d1"), of("c", "d1"), of("d", "d2")]);
}

#[test]
fn what_only_says_that_something_changed_is_delivered_each_time() {
    let pipeline = "source: {webhook: {path: /graph, verify: {provider: microsoft-graph, secret: s3cret}}}\n\
                    sink: {files: {path: out.ndjson}}\n";
    let daemon = Daemon::start(Folder::new().with("graph", pipeline));
    let item = json!({"clientState": "s3cret", "changeType": "updated", "resource": "me/drive/root"});
    for _ in 0..2 {
        assert_eq!(
            daemon.send(&Request::post("/webhooks/graph", json!({"value": [item, item]}))).status,
            202
        );
    }
    daemon.drained("graph");
    assert_eq!(daemon.records("out.ndjson").len(), 4);
}

#[test]
fn an_answer_can_wait_for_the_delivery() {
    let receiver = Receiver::start();
    let pipeline = format!(
        "source: {{webhook: {{path: /wait, verify: {{none: {{reason: test}}}}, delivery_id: $.id, \
         respond: {{when: after_delivery, timeout: 1s}}}}}}\n\
         dedup: {{key: $.id}}\n\
         steps: [filter: '@.id != \"no\"']\n\
         sink: {{http: {{url: '{}'}}}}\n",
        receiver.url("/in")
    );
    let daemon = Daemon::start(Folder::new().with("wait", &pipeline));
    let send = |id: &str| daemon.send(&Request::post("/webhooks/wait", json!({"id": id})));
    let answer = send("a");
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("delivered")));
    assert_eq!(receiver.seen().len(), 1, "before the answer");
    assert_eq!(send("a").json()["status"], "duplicate");
    assert_eq!(send("no").json()["status"], "filtered");
    receiver.answer(|_| Reply::Status(422));
    let answer = send("b");
    assert_eq!((answer.status, &answer.json()["code"]), (502, &json!("dead_lettered")));
    receiver.answer(|_| Reply::Status(503));
    let answer = send("c");
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("accepted")), "it goes on");
    receiver.answer(|_| Reply::Status(200));
    let metrics = daemon.drained("wait");
    assert_eq!(metrics.outcome("wait", "delivered"), 2);
    assert_eq!(metrics.value("karez_webhook_answer_seconds_count{pipeline=\"wait\",source=\"source\"}"), 5);
}

#[test]
fn a_stop_does_not_wait_for_who_waits_for_a_delivery() {
    let receiver = Receiver::start_with(|_| Reply::Status(503));
    let pipeline = format!(
        "source: {{webhook: {{path: /wait, verify: {{none: {{reason: test}}}}, respond: {{when: after_delivery, timeout: 60s}}}}}}\n\
         sink: {{http: {{url: '{}'}}}}\n",
        receiver.url("/in")
    );
    let mut daemon = Daemon::start(Folder::new().with("wait", &pipeline));
    let ingress = daemon.ingress();
    let waiting = std::thread::spawn(move || {
        karez_tests::send(ingress, &Request::post("/webhooks/wait", json!({"id": 1}))).unwrap().status
    });
    karez_tests::eventually("it is tried", || !receiver.seen().is_empty());
    daemon.stop();
    assert_eq!(waiting.join().unwrap(), 202);
    receiver.answer(|_| Reply::Status(200));
    daemon.restart();
    daemon.drained("wait");
    assert!(receiver.seen().len() > 1, "it was kept");
}

#[test]
fn the_address_behind_a_trusted_proxy_counts() {
    let pipeline = "source: {webhook: {path: /near, verify: {none: {reason: test}}, networks: [203.0.113.0/24], \
                    request_limit: {per_peer: 2/h, burst: 2}}}\nsink: {blackhole: {}}\n";
    let mut launch = Launch::default();
    launch.set("KAREZ_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8");
    let daemon = Daemon::start_as(Folder::new().with("near", pipeline), launch);
    let from = |forwarded: &str| {
        let request = Request::post("/webhooks/near", "{}").header("X-Forwarded-For", forwarded);
        daemon.send(&request)
    };
    assert_eq!(
        daemon.send(&Request::post("/webhooks/near", "{}")).status,
        403,
        "the proxy itself is not let in"
    );
    assert_eq!(from("198.51.100.7").status, 403);
    assert_eq!(from("203.0.113.9, 198.51.100.7").status, 403, "what the sender itself wrote is not believed");
    assert_eq!((from("203.0.113.9").status, from("1.1.1.1, 203.0.113.9, 10.1.1.1").status), (200, 200));
    let late = from("203.0.113.9");
    assert_eq!(late.status, 429);
    assert!(late.header("retry-after").unwrap().parse::<u64>().unwrap() > 60);
    assert_eq!(from("203.0.113.10").status, 200, "another one is counted by itself");
    let metrics = daemon.metrics();
    let refused = |reason: &str| {
        metrics
            .value(&format!("karez_refused_total{{pipeline=\"near\",source=\"source\",reason=\"{reason}\"}}"))
    };
    assert_eq!((refused("network"), refused("rate_limit")), (3, 1));
}

#[test]
fn the_metrics_say_which_secret_is_still_in_use() {
    let pipeline = "source: {webhook: {path: /two, verify: {hmac: {algorithm: sha256, header: X-Signature, secret: [new, old]}}}}\n\
                    steps: [map: {secret: $.none, by: '{{@meta.signature.secret}}'}]\n\
                    sink: {files: {path: out.ndjson}}\n";
    let daemon = Daemon::start(Folder::new().with("two", pipeline));
    assert_eq!(daemon.send(&signed("/webhooks/two", "old", "{}")).status, 200);
    assert_eq!(daemon.send(&signed("/webhooks/two", "older", "{}")).status, 401);
    let metrics = daemon.drained("two");
    let labels = "pipeline=\"two\",source=\"source\"";
    assert_eq!(metrics.value(&format!("karez_webhook_verified_total{{{labels}}}")), 1);
    let last = |secret: u8| {
        let family = "karez_webhook_secret_last_matched_timestamp_seconds";
        metrics.value(&format!("{family}{{{labels},secret=\"{secret}\"}}"))
    };
    assert!(last(1) > 0 && last(0) == 0);
    assert_eq!(daemon.records("out.ndjson"), [json!({"by": "1"})]);
}

#[test]
fn a_form_becomes_an_object_and_is_signed_as_it_came() {
    let pipeline = "source: {webhook: {path: /form, verify: {hmac: {algorithm: sha256, header: X-Signature, secret: s}}, \
                    delivery_id: $.id}, decode: form}\nsink: {files: {path: out.ndjson}}\n";
    let daemon = Daemon::start(Folder::new().with("form", pipeline));
    let form = |body: &str| {
        signed("/webhooks/form", "s", body).header("Content-Type", "application/x-www-form-urlencoded")
    };
    assert_eq!(daemon.send(&form("id=1&text=a+%C3%A4&tag=x&tag=y")).status, 200);
    assert_eq!(
        daemon.send(&signed("/webhooks/form", "s", r#"{"id": 2}"#)).status,
        200,
        "it says that it is JSON"
    );
    daemon.drained("form");
    let first = json!({"id": "1", "text": "a ä", "tag": ["x", "y"]});
    assert_eq!(daemon.records("out.ndjson"), [first, json!({"id": 2})]);
}

/// A request in pieces of its own, as clients may send it.
fn raw(daemon: &Daemon, head: &str, body: &[u8]) -> u16 {
    let mut connection = Connection::open(daemon.ingress()).unwrap();
    let head =
        format!("POST /webhooks/raw HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n\r\n");
    connection.write(head.as_bytes()).unwrap();
    connection.write(body).unwrap();
    connection.answer().unwrap().status
}

#[test]
fn a_body_is_judged_as_it_arrives_whatever_its_bytes() {
    let pipeline = "source: {webhook: {path: /raw, verify: {hmac: {algorithm: sha256, header: X-Signature, secret: s}}}}\n\
                    sink: {files: {path: out.ndjson}}\n";
    let daemon = Daemon::start(Folder::new().with("raw", pipeline));
    let code = |body: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"s").unwrap();
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    };
    let body: &[u8] = br#"{"id": 1}"#;
    let (right, length) = (code(body), body.len());
    let chunked = b"4\r\n{\"id\r\n5\r\n\": 1}\r\n0\r\n\r\n";
    assert_eq!(raw(&daemon, &format!("Transfer-Encoding: chunked\r\nX-Signature: {right}"), chunked), 200);
    let upper = right.to_uppercase();
    assert_eq!(raw(&daemon, &format!("Content-Length: {length}\r\nX-Signature: {upper}"), body), 200);
    for (what, codes) in [
        ("cut off", vec![right[..62].to_owned()]),
        ("too long", vec![format!("{right}00")]),
        ("empty", vec![String::new()]),
        ("twice", vec![right.clone(), right.clone()]),
        ("wrong and right", vec![code(b"x"), right.clone()]),
        ("missing", vec![]),
    ] {
        let lines: String = codes.iter().map(|code| format!("\r\nX-Signature: {code}")).collect();
        assert_eq!(raw(&daemon, &format!("Content-Length: {length}{lines}"), body), 401, "{what}");
    }
    // Verified, and then still no JSON: the sender's fault, counted and never in.
    for (what, body) in
        [("not UTF-8", &b"{\"a\": \"\xff\"}"[..]), ("with a byte order mark", b"\xef\xbb\xbf{\"id\": 1}")]
    {
        let head = format!("Content-Length: {}\r\nX-Signature: {}", body.len(), code(body));
        assert_eq!(raw(&daemon, &head, body), 400, "{what}");
        let head = format!("Content-Length: {}\r\nX-Signature: {right}", body.len());
        assert_eq!(raw(&daemon, &head, body), 401, "{what}: proof comes first");
    }
    assert_eq!(
        raw(
            &daemon,
            &format!("Content-Length: {length}\r\nContent-Encoding: gzip\r\nX-Signature: {right}"),
            body
        ),
        415
    );
    let mut connection = Connection::open(daemon.ingress()).unwrap();
    let expecting = format!(
        "POST /webhooks/raw HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
         Content-Length: {length}\r\nX-Signature: {right}\r\n\r\n"
    );
    connection.write(expecting.as_bytes()).unwrap();
    assert_eq!(connection.line().unwrap().as_deref(), Some("HTTP/1.1 100 Continue"));
    assert_eq!(connection.line().unwrap().as_deref(), Some(""));
    connection.write(body).unwrap();
    assert_eq!(connection.answer().unwrap().status, 200);
    daemon.drained("raw");
    assert_eq!(daemon.records("out.ndjson").len(), 3);
}
