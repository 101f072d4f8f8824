use std::net::TcpListener;
use std::time::Duration;

use karez_api::{Class, Encode, Json, Shape, SinkPlan};
use serde_json::json;

use super::*;
use crate::http::Http;
use crate::http::test_server::{Answer, Server, status};
use crate::testing::{File, TestClock, open_sink, places, record};

fn plan(settings: Json) -> Box<dyn SinkPlan> {
    File::default().sink::<Http>(settings).unwrap()
}

async fn single(settings: Json) -> Box<dyn Sink> {
    open_sink(&*plan(settings), &TestClock::default(), false).await
}

async fn batched(encode: Encode, settings: Json) -> Box<dyn Sink> {
    let file = File { encode, ..File::default() };
    let plan = file.sink::<Http>(settings).unwrap();
    open_sink(&*plan, &TestClock::default(), true).await
}

async fn deliver(sink: &dyn Sink, records: &[Record]) -> Vec<String> {
    let delivery = sink.deliver(records).await;
    assert!(delivery.mark.is_none());
    delivery.each.iter().map(short).collect()
}

fn short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done | Outcome::Became(_) => "done".into(),
        Outcome::Refused(fault) => format!("refused {}", fault.code()),
        Outcome::NotSent(fault) => format!("not sent {}", fault.code()),
        Outcome::Unknown(fault) => format!("unknown {}", fault.code()),
    }
}

fn records(ids: &[&str]) -> Vec<Record> {
    ids.iter().map(|id| record(id, &format!("{{\"id\":\"{id}\"}}"))).collect()
}

#[tokio::test]
async fn a_record_goes_out_as_the_file_says() {
    let server = Server::always("201 Created");
    let sink = single(json!({
        "url": format!("{}/users/{{{{id}}}}?fixed=1", server.url),
        "method": "PUT",
        "headers": {"X-Tenant": "{{tenant}}", "X-Fixed": "a b"},
        "query": {"tag": "$.tags", "none": "$.missing", "q": "ä&="},
    }))
    .await;
    let body = r#"{"id":7,"tenant":"acme","tags":["x",2]}"#;
    assert_eq!(deliver(&*sink, &[record("r1", body)]).await, ["done"]);

    let [seen] = &server.seen()[..] else { panic!("one request") };
    assert_eq!(seen.line, "PUT /users/7?fixed=1&q=%C3%A4%26%3D&tag=x&tag=2 HTTP/1.1");
    assert_eq!(seen.body, body);
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("idempotency-key"), Some("orders/crm/r1"));
    assert_eq!(seen.header("x-tenant"), Some("acme"));
    assert_eq!(seen.header("x-fixed"), Some("a b"));
    assert!(seen.header("user-agent").unwrap().starts_with("karez/"));
}

#[tokio::test]
async fn a_connection_gives_address_and_headers_and_a_sinks_own_win() {
    let server = Server::always("200 OK");
    let crm = json!({
        "url": format!("{}/api/", server.url),
        "auth": {"basic": {"username": "me", "password": "pass"}},
        "headers": {"X-Key": "shared", "X-Other": "shared"},
    });
    let file = File { connections: json!({"crm": crm}), ..File::default() };
    let settings = json!({
        "connection": "crm",
        "path": "/users",
        "headers": {"x-key": "own", "Content-Type": "application/vnd.x+json", "Idempotency-Key": "{{id}}"},
    });
    let plan = file.sink::<Http>(settings).unwrap();
    let sink = open_sink(&*plan, &TestClock::default(), false).await;
    assert_eq!(deliver(&*sink, &records(&["r1"])).await, ["done"]);

    let [seen] = &server.seen()[..] else { panic!("one request") };
    assert_eq!(seen.line, "POST /api/users HTTP/1.1");
    assert_eq!(seen.header("authorization"), Some("Basic bWU6cGFzcw=="));
    assert_eq!(seen.header("x-key"), Some("own"));
    assert_eq!(seen.header("x-other"), Some("shared"));
    assert_eq!(seen.header("content-type"), Some("application/vnd.x+json"));
    assert_eq!(seen.header("idempotency-key"), Some("r1"));
}

#[tokio::test]
async fn a_body_can_be_replaced_or_left_out() {
    let server = Server::always("200 OK");
    for (body, sent, media_type) in [
        (json!("$.user"), r#"{"a":1}"#, Some("application/json")),
        (json!({"fixed": true}), r#"{"fixed":true}"#, Some("application/json")),
        (Json::Null, "", None),
    ] {
        let settings = json!({"url": server.url, "body": body});
        let sink = single(settings).await;
        assert_eq!(deliver(&*sink, &[record("r1", r#"{"user":{"a":1}}"#)]).await, ["done"]);
        let seen = server.seen().remove(0);
        assert_eq!((seen.body.as_str(), seen.header("content-type")), (sent, media_type));
    }
    let sink = single(json!({"url": server.url, "body": "$.missing"})).await;
    assert_eq!(deliver(&*sink, &records(&["r1"])).await, ["refused no_body"]);
    assert!(server.seen().is_empty());
    assert_eq!(plan(json!({"url": server.url, "body": null})).shape(true), Shape::Single);
}

#[tokio::test]
async fn a_key_is_the_same_on_every_retry() {
    let mut answers = ["503 Busy", "200 OK"].into_iter().cycle();
    let server = Server::start(move |_| status(answers.next().unwrap()));
    let long = "x".repeat(300);
    for (ids, key) in [
        (vec!["r1"], "orders/crm/r1"),
        // What cannot stand in a header, or is too long for one, goes out hashed.
        (vec!["ä b"], "sha256-"),
        (vec![long.as_str()], "sha256-"),
        (vec!["r1", "r2"], "sha256-"),
    ] {
        let sink = batched(Encode::Json, json!({"url": server.url})).await;
        let records = records(&ids);
        let failed = vec!["unknown http_503"; ids.len()];
        assert_eq!(deliver(&*sink, &records).await, failed);
        assert_eq!(deliver(&*sink, &records).await, vec!["done"; ids.len()]);
        let seen = server.seen();
        let keys: Vec<_> = seen.iter().map(|seen| seen.header("idempotency-key").unwrap()).collect();
        assert!(keys[0].starts_with(key), "{keys:?}");
        assert_eq!(keys[0], keys[1]);
    }
}

#[tokio::test]
async fn a_batch_is_one_request_as_array_or_lines() {
    let server = Server::always("200 OK");
    for (encode, ids, sent, media_type) in [
        (Encode::Json, &["a", "b"][..], r#"[{"id":"a"},{"id":"b"}]"#, "application/json"),
        (Encode::Json, &["a"], r#"[{"id":"a"}]"#, "application/json"),
        (Encode::Ndjson, &["a", "b"], "{\"id\":\"a\"}\n{\"id\":\"b\"}\n", "application/x-ndjson"),
        (Encode::Ndjson, &["a"], "{\"id\":\"a\"}\n", "application/x-ndjson"),
    ] {
        let sink = batched(encode, json!({"url": server.url})).await;
        assert_eq!(deliver(&*sink, &records(ids)).await, vec!["done"; ids.len()]);
        let [seen] = &server.seen()[..] else { panic!("one request") };
        assert_eq!((seen.body.as_str(), seen.header("content-type")), (sent, Some(media_type)));
    }
}

#[tokio::test]
async fn records_with_different_targets_or_headers_do_not_share_a_request() {
    let server = Server::always("200 OK");
    let sink = batched(
        Encode::Json,
        json!({"url": format!("{}/{{{{to}}}}", server.url), "headers": {"X-T": "{{t}}"}}),
    )
    .await;
    let sent = [("a", 1), ("b", 2), ("a", 1), ("a", 2)]
        .map(|(to, t)| record("r", &format!(r#"{{"to":"{to}","t":{t}}}"#)));
    assert_eq!(deliver(&*sink, &sent).await, ["done"; 4]);
    let sent: Vec<_> = server.seen().into_iter().map(|seen| (seen.line, seen.body)).collect();
    let expected = [
        ("POST /a HTTP/1.1", r#"[{"to":"a","t":1},{"to":"a","t":1}]"#),
        ("POST /b HTTP/1.1", r#"[{"to":"b","t":2}]"#),
        ("POST /a HTTP/1.1", r#"[{"to":"a","t":2}]"#),
    ];
    assert_eq!(sent, expected.map(|(line, body)| (line.to_owned(), body.to_owned())));
}

#[tokio::test]
async fn a_batch_refused_for_its_content_is_split_down_to_the_bad_record() {
    for line in ["400 Bad", "409 Conflict", "413 Too Large", "422 Bad"] {
        let server =
            Server::start(move |seen| status(if seen.body.contains("bad") { line } else { "200 OK" }));
        let sink = batched(Encode::Json, json!({"url": server.url})).await;
        let refused = format!("refused http_{}", &line[..3]);
        let outcomes = deliver(&*sink, &records(&["a", "b", "bad", "c", "d"])).await;
        assert_eq!(outcomes, ["done", "done", &refused, "done", "done"]);
        let bodies: Vec<_> = server.seen().into_iter().map(|seen| seen.body).collect();
        let taken: String = bodies.iter().filter(|body| !body.contains("bad")).cloned().collect();
        assert_eq!(taken, r#"[{"id":"a"},{"id":"b"}][{"id":"c"},{"id":"d"}]"#, "each once and in order");
    }
}

#[tokio::test]
async fn a_batch_refused_for_other_reasons_is_not_split() {
    let server = Server::always("404 Not Found");
    let sink = batched(Encode::Json, json!({"url": server.url})).await;
    assert_eq!(deliver(&*sink, &records(&["a", "b"])).await, ["refused http_404"; 2]);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn the_rest_of_a_batch_is_not_sent_to_who_turned_us_away() {
    for (line, outcome, class) in [
        ("429 Slow Down\r\nretry-after: 9", "not sent http_429", Class::RateLimit),
        ("401 Who", "not sent http_401", Class::Auth),
    ] {
        let server = Server::always(line);
        let sink = batched(Encode::Json, json!({"url": format!("{}/{{{{id}}}}", server.url)})).await;
        let delivery = sink.deliver(&records(&["a", "b", "c"])).await;
        for each in &delivery.each {
            let Outcome::NotSent(fault) = each else { panic!("{each:?}") };
            assert_eq!((short(each).as_str(), fault.class()), (outcome, class));
            let wait = (class == Class::RateLimit).then(|| Duration::from_secs(9));
            assert_eq!(fault.retry_after(), wait);
        }
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_written_is_refused_alone() {
    let server = Server::always("200 OK");
    let settings = json!({"url": server.url, "headers": {"X-Name": "{{name}}"}});
    let sink = batched(Encode::Json, settings).await;
    let sent = [r#"{"name":"a"}"#, "{}", r#"{"name":"a\r\nX-Evil: 1"}"#, r#"{"name":"a"}"#]
        .map(|body| record("r", body));
    let outcomes = deliver(&*sink, &sent).await;
    assert_eq!(outcomes, ["done", "refused missing", "refused bad_header", "done"]);
    let [seen] = &server.seen()[..] else { panic!("one request") };
    assert_eq!(seen.body, r#"[{"name":"a"},{"name":"a"}]"#);
}

#[tokio::test]
async fn a_redirect_is_refused_and_not_followed() {
    for line in ["301 Moved", "302 Found", "303 Other", "307 Moved", "308 Moved"] {
        let server = Server::start(move |_| {
            Answer::Close(format!("HTTP/1.1 {line}\r\nlocation: /next\r\ncontent-length: 0\r\n\r\n"))
        });
        let sink = single(json!({"url": server.url})).await;
        let refused = format!("refused http_{}", &line[..3]);
        assert_eq!(deliver(&*sink, &records(&["r1"])).await, [refused]);
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/{{{{id}}}}?key=s3cret", listener.local_addr().unwrap());
    drop(listener);
    let sink = batched(Encode::Json, json!({"url": url})).await;
    let delivery = sink.deliver(&records(&["a", "b"])).await;
    for each in &delivery.each {
        let Outcome::NotSent(fault) = each else { panic!("{each:?}") };
        assert_eq!((fault.class(), fault.code()), (Class::Connection, "connection"));
        assert!(!fault.message().contains("s3cret"), "{fault}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_leaves_it_unknown() {
    for (answer, outcome) in [
        ("", "unknown connection"),
        ("HTTP/1.1 20", "unknown connection"),
        ("HTTP/1.1 200 OK\r\ncontent-le", "unknown connection"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "unknown connection"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "unknown connection"),
        ("this is not HTTP\r\n\r\n", "unknown connection"),
        // Its end is the connection's end.
        ("HTTP/1.1 200 OK\r\n\r\nwhole", "done"),
        // These are no better with a whole body.
        ("HTTP/1.1 422 Bad\r\ncontent-length: 9\r\n\r\nhalf", "refused http_422"),
        ("HTTP/1.1 500 Bad\r\ncontent-length: 9\r\n\r\nhalf", "unknown http_500"),
    ] {
        let server = Server::start(move |_| Answer::Close(answer.to_owned()));
        let sink = single(json!({"url": server.url})).await;
        assert_eq!(deliver(&*sink, &records(&["r1"])).await, [outcome], "{answer:?}");
    }
}

#[tokio::test]
async fn a_body_without_end_does_not_hold_up_its_answer() {
    let endless = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    let server = Server::start(move |_| Answer::Hold(endless.to_owned()));
    let clock = TestClock::default();
    clock.hurry(Duration::from_secs(2));
    let sink = open_sink(&*plan(json!({"url": server.url})), &clock, false).await;
    assert_eq!(deliver(&*sink, &records(&["r1"])).await, ["done"]);

    let long = format!("HTTP/1.1 422 Bad\r\ncontent-length: 9999999\r\n\r\n{}", "x".repeat((64 << 10) + 1));
    let server = Server::start(move |_| Answer::Hold(long.clone()));
    let sink = single(json!({"url": server.url})).await;
    assert_eq!(deliver(&*sink, &records(&["r1"])).await, ["refused http_422"]);
}

#[test]
fn what_is_wrong_with_a_file_is_said_at_its_place() {
    let connections = json!({
        "crm": {"url": "https://crm.example"},
        "odd": {"url": "https://crm.example", "token": "x"},
        "query": {"url": "https://crm.example/a?b=c"},
        "ftp": {"url": "ftp://crm.example"},
        "header": {"url": "https://crm.example", "headers": {"bad name": "x"}},
    });
    let file = File { connections, ..File::default() };
    for (settings, place) in [
        (json!({}), "bad-target "),
        (json!({"path": "/a"}), "bad-target "),
        (json!({"url": "https://a.example", "connection": "crm"}), "bad-target "),
        (json!({"url": "crm.example/a"}), "bad-url url"),
        (json!({"url": "ftp://crm.example/a"}), "bad-url url"),
        (json!({"url": "https://"}), "bad-url url"),
        (json!({"url": "https://{{id}}.example/a"}), "template-in-host url"),
        (json!({"url": "https://a.example:{{id}}/a"}), "template-in-host url"),
        (json!({"connection": "cmr"}), "unknown-connection connection"),
        (json!({"connection": "odd"}), "bad-connection connection"),
        (json!({"connection": "query"}), "bad-url connection"),
        (json!({"connection": "ftp"}), "bad-url connection"),
        (json!({"connection": "header"}), "bad-header connection"),
        (json!({"connection": "crm", "method": "fetch it"}), "bad-method method"),
        (json!({"connection": "crm", "headers": {"a b": "x"}}), "bad-header-name headers.a b"),
        (json!({"connection": "crm", "headers": {"X-A": "a\nb"}}), "bad-header-value headers.X-A"),
        (json!({"connection": "crm", "headers": {"Host": "x"}}), "reserved-header headers.Host"),
        (
            json!({"connection": "crm", "headers": {"Content-Length": "1"}}),
            "reserved-header headers.Content-Length",
        ),
    ] {
        let problems = file.sink::<Http>(settings.clone()).err().unwrap_or_default();
        assert_eq!(places(&problems), [place], "{settings}");
    }
}
