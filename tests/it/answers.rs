//! What a sender is told: each answer of a webhook.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use karez_tests::{Connection, Daemon, Folder, Receiver, Reply, Request, json};

const OPEN: &str = r#"
source: {webhook: {path: /open, verify: {none: {reason: test}}}}
dedup: {key: $.id, ttl: 1h}
sink: {files: {path: out.ndjson}}
"#;

fn open() -> Daemon {
    Daemon::start(Folder::new().with("open", OPEN))
}

/// A daemon whose webhook `/signed` verifies in this way.
fn verifying(verify: &str) -> Daemon {
    let pipeline =
        format!("source: {{webhook: {{path: /signed, verify: {verify}}}}}\nsink: {{blackhole: {{}}}}\n");
    Daemon::start(Folder::new().with("signed", &pipeline))
}

#[test]
fn an_event_is_accepted_under_an_id_and_written() {
    let daemon = open();
    let answer = daemon.send(&Request::post("/webhooks/open", r#"{"id": 7}"#));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["status"], "accepted");
    assert!(answer.json()["id"].as_str().is_some_and(|id| !id.is_empty()), "{}", answer.text());
    daemon.drained("open");
    assert_eq!(daemon.records("out.ndjson"), [json!({"id": 7})]);
}

#[test]
fn a_duplicate_is_answered_but_not_delivered_again() {
    let daemon = open();
    let event = Request::post("/webhooks/open", r#"{"id": 7}"#);
    let first = daemon.send(&event).json();
    let again = daemon.send(&event);
    assert_eq!((again.status, &again.json()["status"]), (200, &json!("duplicate")));
    assert!(first["id"].is_string() && again.json()["id"].is_string());
    let metrics = daemon.drained("open");
    assert_eq!(metrics.outcome("open", "duplicate"), 1);
    assert_eq!(metrics.value("karez_webhook_duplicate_total{pipeline=\"open\"}"), 1);
    assert_eq!(daemon.records("out.ndjson").len(), 1);
}

#[test]
fn what_cannot_be_taken_is_refused_and_counted_but_never_in() {
    let daemon = open();
    let post = |body: &str| Request::post("/webhooks/open", body);
    let refused = [
        (400, post("{\"id\": ")),
        (400, post("{\"id\": \"\u{0}")),
        (400, post(&"[".repeat(100_000))),
        (400, post("{}")),
        (404, Request::post("/webhooks/nobody", "{}")),
        (404, Request::post("/webhooks/open/more", "{}")),
        (405, Request::new("PUT", "/webhooks/open").body("{}")),
        (405, Request::get("/webhooks/open")),
        (415, post("<a/>").header("Content-Type", "text/xml")),
        (415, post("{}").header("Content-Encoding", "gzip")),
    ];
    for (status, request) in refused {
        let answer = daemon.send(&request);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.json()["error"].is_string() && answer.json()["code"].is_string(), "{}", answer.text());
    }
    let answer = daemon.send(&Request::get("/webhooks/open"));
    assert_eq!(answer.header("allow"), Some("POST"));
    let metrics = daemon.drained("open");
    assert_eq!(metrics.outcome("open", "in"), 0);
    for (reason, count) in [("undecodable", 4), ("method", 3), ("media_type", 1), ("content_encoding", 1)] {
        let sample =
            format!("karez_refused_total{{pipeline=\"open\",source=\"source\",reason=\"{reason}\"}}");
        assert_eq!(metrics.value(&sample), count, "{sample}");
    }
    assert_eq!(metrics.value("karez_ingress_rejected_total{reason=\"unknown_path\"}"), 2);
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let daemon = open();
    let mut connection = Connection::open(daemon.ingress()).unwrap();
    let head = "POST /webhooks/open HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    connection.write(format!("{head}Content-Length: 1048577\r\n\r\n").as_bytes()).unwrap();
    let answer = connection.answer().unwrap();
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert_eq!(answer.header("connection"), Some("close"));

    // Without a length it is refused once it has become too large.
    let mut connection = Connection::open(daemon.ingress()).unwrap();
    connection.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..17 {
        // It may be refused before all of it is sent.
        connection.write(chunk.as_bytes()).ok();
    }
    assert_eq!(connection.answer().unwrap().status, 413);
    assert_eq!(daemon.metrics().value("karez_ingress_rejected_total{reason=\"too_large\"}"), 2);
}

#[test]
fn signatures_of_each_algorithm_and_encoding_open_the_door_and_nothing_else_does() {
    fn code<M: Mac + KeyInit>(body: &str) -> Vec<u8> {
        let mut mac = <M as KeyInit>::new_from_slice(b"s3cret").unwrap();
        mac.update(body.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }
    let body = r#"{"id":1}"#;
    let codes = [
        ("sha1", code::<Hmac<sha1::Sha1>>(body)),
        ("sha256", code::<Hmac<sha2::Sha256>>(body)),
        ("sha512", code::<Hmac<sha2::Sha512>>(body)),
    ];
    let folder = Folder::new();
    for (algorithm, _) in &codes {
        for encoding in ["hex", "base64"] {
            let name = format!("{algorithm}-{encoding}");
            folder.pipeline(&name, &format!(
                "source: {{webhook: {{path: /{name}, verify: {{hmac: {{algorithm: {algorithm}, encoding: {encoding}, \
                 header: X-Signature, prefix: \"v1=\", secret: s3cret}}}}}}}}\nsink: {{blackhole: {{}}}}\n"
            ));
        }
    }
    let daemon = Daemon::start(folder);
    for (algorithm, code) in &codes {
        for (encoding, written) in [("hex", hex::encode(code)), ("base64", BASE64.encode(code))] {
            let request = Request::post(&format!("/webhooks/{algorithm}-{encoding}"), body);
            let signed =
                |signature: &str| daemon.send(&request.clone().header("X-Signature", signature)).status;
            assert_eq!(signed(&format!("v1={written}")), 200, "{algorithm} {encoding}");
            assert_eq!(signed(&written), 401, "without its prefix");
            let other: String = written.chars().rev().collect();
            assert_eq!(signed(&format!("v1={other}")), 401, "another code");
            assert_eq!(signed("v1="), 401);
            assert_eq!(daemon.send(&request).status, 401, "unsigned");
            let tampered = request.clone().body(r#"{"id":2}"#).header("X-Signature", format!("v1={written}"));
            assert_eq!(daemon.send(&tampered).status, 401, "another body");
        }
    }
}

#[test]
fn a_token_opens_the_door_and_nothing_else_does() {
    let daemon = verifying("{token: {header: X-Token, token: t0ken}}");
    let request = Request::post("/webhooks/signed", "{}");
    assert_eq!(daemon.send(&request.clone().header("X-Token", "t0ken")).status, 200);
    for wrong in ["t0ke", "t0kenn", "T0KEN", ""] {
        assert_eq!(daemon.send(&request.clone().header("X-Token", wrong)).status, 401, "{wrong:?}");
    }
    let answer = daemon.send(&request);
    assert_eq!(answer.status, 401);
    assert!(!answer.text().contains("t0ken"), "{}", answer.text());
    let metrics = daemon.drained("signed");
    assert_eq!(
        metrics.value("karez_refused_total{pipeline=\"signed\",source=\"source\",reason=\"signature\"}"),
        5
    );
    assert_eq!(metrics.value("karez_webhook_failed_total{pipeline=\"signed\"}"), 5);
    assert_eq!(metrics.outcome("signed", "in"), 1);
}

#[test]
fn a_password_opens_the_door_and_nothing_else_does() {
    let daemon = verifying("{basic: {username: ada, password: \"pa:ss\"}}");
    let request = Request::post("/webhooks/signed", "{}");
    let with = |pair: &str| {
        let written = format!("Basic {}", BASE64.encode(pair));
        daemon.send(&request.clone().header("Authorization", written)).status
    };
    assert_eq!(with("ada:pa:ss"), 200);
    for wrong in ["ada:pa", "ada", "eve:pa:ss", ":"] {
        assert_eq!(with(wrong), 401, "{wrong}");
    }
    let answer = daemon.send(&request);
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Basic")));
}

#[test]
fn a_full_journal_asks_senders_to_come_again_and_loses_nothing() {
    let receiver = Receiver::start_with(|_| Reply::Hang);
    let pipeline = format!(
        "source: {{webhook: {{path: /full, verify: {{none: {{reason: test}}}}}}}}\n\
         journal: {{max_bytes: 64KiB}}\nmax_in_flight: 4\n\
         sink: {{http: {{url: \"{}\"}}, timeout: 10m}}\n",
        receiver.url("/")
    );
    let daemon = Daemon::start(Folder::new().with("full", &pipeline));
    let filler = "x".repeat(4_000);
    let mut accepted = Vec::new();
    let full = (0..64).find_map(|id| {
        let answer = daemon.send(&Request::post("/webhooks/full", json!({"id": id, "filler": filler})));
        match answer.status {
            200 => {
                accepted.push(id);
                None
            }
            _ => Some(answer),
        }
    });
    let full = full.expect("the journal takes more than it may");
    assert_eq!(full.status, 503, "{}", full.text());
    let wait: u64 = full.header("retry-after").unwrap().parse().unwrap();
    assert!(wait >= 1);
    receiver.answer(|_| Reply::Status(200));
    let metrics = daemon.drained("full");
    assert_eq!(metrics.outcome("full", "delivered"), accepted.len() as u64);
    let mut delivered: Vec<u64> = receiver.taken().iter().map(karez_tests::Seen::id).collect();
    delivered.sort_unstable();
    assert_eq!(delivered, accepted);
    daemon.post("/webhooks/full", &json!({"id": 1_000}));
}

#[test]
fn a_slow_client_is_cut_off_and_does_not_delay_another() {
    let daemon = open();
    let mut slow: Vec<Connection> = (0..200).map(|_| Connection::open(daemon.ingress()).unwrap()).collect();
    for (n, connection) in slow.iter_mut().enumerate() {
        let head = "POST /webhooks/open HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        // Half of them stop within the head, half within the body.
        let end = if n % 2 == 0 { "" } else { "Content-Length: 100\r\n\r\n{" };
        connection.write(format!("{head}{end}").as_bytes()).unwrap();
    }
    let begun = Instant::now();
    for id in 0..20 {
        daemon.post("/webhooks/open", &json!({"id": id}));
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "they were delayed: {:?}", begun.elapsed());
    // The server ends both kinds by itself, with or without an answer.
    for mut connection in slow.into_iter().take(2) {
        match connection.rest() {
            Ok(answer) => assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{answer:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    assert_eq!(daemon.drained("open").outcome("open", "delivered"), 20);
}

#[test]
fn events_that_are_not_wanted_are_answered_and_counted_filtered() {
    let pipeline = "source: {webhook: {path: /events, verify: {none: {reason: test}}, event_type: {header: X-Event}, events: [made]}}\n\
                    sink: {files: {path: out.ndjson}}\n";
    let daemon = Daemon::start(Folder::new().with("events", pipeline));
    let event = |kind: &str| {
        daemon.send(&Request::post("/webhooks/events", json!({"kind": kind})).header("X-Event", kind)).json()
    };
    assert_eq!(event("made")["status"], "accepted");
    assert_eq!(event("gone")["status"], "filtered");
    let metrics = daemon.drained("events");
    assert_eq!((metrics.outcome("events", "delivered"), metrics.outcome("events", "filtered")), (1, 1));
    assert_eq!(daemon.records("out.ndjson"), [json!({"kind": "made"})]);
}
