use std::time::Duration;

use ::http::{Method, Request, StatusCode};
use karez_api::{Fate, Fault, Json};
use serde_json::json;

use super::*;
use crate::testing::{Engine, NOW, open_webhook, places, source};
use crate::webhook::Webhook;

/// Over `{"id":"evt_1"}` with the key `s3cret`.
const SIGNATURE: &str = "4d9ffeb08661a558de926d65a83f186637434f47fef8d47c45e376c749c1c651";
const BODY: &str = r#"{"id":"evt_1"}"#;

/// The settings of a webhook, beside those that every one of these tests needs.
fn settings(own: Json) -> Json {
    let mut whole = json!({
        "path": "/orders",
        "verify": {"hmac": {"algorithm": "sha256", "header": "X-Signature", "secret": "s3cret"}},
    });
    for (key, value) in own.as_object().unwrap() {
        whole[key] = value.clone();
    }
    whole
}

/// Anybody may post to this one.
fn open(own: Json) -> Json {
    let mut whole = settings(json!({"verify": {"none": {"reason": "a test"}}}));
    for (key, value) in own.as_object().unwrap() {
        whole[key] = value.clone();
    }
    whole
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Json,
}

struct Running {
    engine: Arc<Engine>,
    endpoint: Arc<dyn Endpoint>,
}

impl Running {
    async fn start(settings: Json, decode: Decode) -> Self {
        let engine = Arc::<Engine>::default();
        let plan = source::<Webhook>(settings).unwrap();
        let (path, endpoint) = open_webhook(&*plan, &engine, decode).await;
        assert_eq!(path, "/webhooks/orders");
        Self { engine, endpoint }
    }

    fn then(&self, accepted: Accepted) {
        self.engine.verdicts.lock().unwrap().push_back(accepted);
    }

    fn then_stored(&self) {
        self.then(stored(Fate::Accepted));
    }

    /// Sends a request as the listener does: the head first, then the whole.
    async fn raw(&self, method: Method, headers: &[(&str, &str)], body: &str) -> Response {
        let head = || {
            let mut request = Request::builder().method(method.clone()).uri("/webhooks/orders");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            RequestHead { parts, peer: ([127, 0, 0, 1], 1).into(), certificate: None }
        };
        match self.endpoint.admit(&head()) {
            Ok(()) => self.endpoint.call(head(), Bytes::from(body.to_owned())).await,
            Err(response) => response,
        }
    }

    async fn signed(&self) -> Response {
        self.raw(Method::POST, &[("X-Signature", SIGNATURE)], BODY).await
    }

    async fn send(&self, method: Method, headers: &[(&str, &str)], body: &str) -> Answer {
        let (parts, body) = self.raw(method, headers, body).await.into_parts();
        assert_eq!(parts.headers[header::CONTENT_TYPE], "application/json");
        Answer { status: parts.status, headers: parts.headers, body: serde_json::from_slice(&body).unwrap() }
    }

    async fn post(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send(Method::POST, headers, body).await
    }

    fn refused(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.engine.refused.lock().unwrap())
    }

    fn taken(&self) -> Incoming {
        let mut incoming = self.engine.incoming.lock().unwrap();
        assert_eq!(incoming.len(), 1);
        incoming.remove(0)
    }
}

fn stored(fate: Fate) -> Accepted {
    Accepted::Stored { id: RecordId::text("evt_1"), fate }
}

#[tokio::test]
async fn the_answer_says_what_became_of_a_delivery() {
    let webhook = Running::start(settings(json!({})), Decode::Json).await;
    let undecodable = Accepted::Undecodable(Fault::validation("json", "expected value at line 1"));
    let full = |millis| Accepted::Full { retry_after: Duration::from_millis(millis), reason: "full" };
    for (accepted, status, body, retry_after, refused) in [
        (stored(Fate::Accepted), 200, json!({"status": "accepted", "id": "evt_1"}), None, None),
        (stored(Fate::Duplicate), 200, json!({"status": "duplicate", "id": "evt_1"}), None, None),
        (stored(Fate::Filtered), 200, json!({"status": "filtered", "id": "evt_1"}), None, None),
        (
            undecodable,
            400,
            json!({"error": "expected value at line 1", "code": "json"}),
            None,
            Some("undecodable"),
        ),
        (
            full(5_000),
            503,
            json!({"error": "there is no room for it at the moment", "code": "full"}),
            Some("5"),
            None,
        ),
        (
            full(1_001),
            503,
            json!({"error": "there is no room for it at the moment", "code": "full"}),
            Some("2"),
            None,
        ),
        (
            full(0),
            503,
            json!({"error": "there is no room for it at the moment", "code": "full"}),
            Some("1"),
            None,
        ),
    ] {
        webhook.then(accepted);
        let answer = webhook.post(&[("x-signature", SIGNATURE)], BODY).await;
        assert_eq!((answer.status.as_u16(), answer.body), (status, body));
        let given = answer.headers.get(header::RETRY_AFTER);
        assert_eq!(given.map(|value| value.to_str().unwrap()), retry_after);
        assert_eq!(webhook.refused(), Vec::from_iter(refused));
        assert_eq!(webhook.taken().record.body().bytes(), BODY);
    }
}

#[tokio::test]
async fn what_is_not_acceptable_never_reaches_the_engine() {
    let webhook = Running::start(settings(json!({"methods": ["POST", "PUT"]})), Decode::Json).await;
    let signed = ("x-signature", SIGNATURE);
    for (method, headers, body, status, reason) in [
        (Method::GET, vec![signed], BODY, 405, "method"),
        (Method::HEAD, vec![], "", 405, "method"),
        (Method::POST, vec![], BODY, 401, "signature"),
        (Method::POST, vec![("x-signature", "abcd")], BODY, 401, "signature"),
        (Method::POST, vec![signed], "{}", 401, "signature"),
        (Method::PUT, vec![signed], "{}", 401, "signature"),
        (Method::POST, vec![signed, ("content-type", "text/plain")], BODY, 415, "media_type"),
        (
            Method::POST,
            vec![signed, ("content-type", "application/json"), ("content-type", "application/json")],
            BODY,
            415,
            "media_type",
        ),
        (Method::POST, vec![signed, ("content-encoding", "gzip")], BODY, 415, "content_encoding"),
        // Who does not prove where it comes from learns nothing else.
        (Method::POST, vec![("content-type", "text/plain")], BODY, 401, "signature"),
    ] {
        let answer = webhook.send(method, &headers, body).await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(webhook.refused(), [reason], "{headers:?}");
        assert!(answer.body["error"].is_string() && answer.body["code"].is_string());
        let allow = answer.headers.get(header::ALLOW).map(|value| value.to_str().unwrap());
        assert_eq!(allow, (status == 405).then_some("POST, PUT"));
    }
    assert!(webhook.engine.incoming.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_media_type_fits_what_is_decoded() {
    for (decode, media_type, status) in [
        (Decode::Json, "application/json", 200),
        (Decode::Json, "Application/JSON; charset=utf-8", 200),
        (Decode::Json, "application/cloudevents+json", 200),
        (Decode::Json, "application/x-www-form-urlencoded", 415),
        (Decode::Json, "application/jsonx", 415),
        (Decode::Text, "text/plain", 200),
        (Decode::Text, "application/x-www-form-urlencoded", 200),
        (Decode::Text, "application/soap+xml", 200),
        (Decode::Text, "image/png", 415),
        (Decode::Form, "application/x-www-form-urlencoded", 200),
        (Decode::Form, "application/json; charset=utf-8", 200),
        (Decode::Form, "text/plain", 415),
        (Decode::Bytes, "image/png", 200),
    ] {
        let webhook = Running::start(open(json!({})), decode).await;
        webhook.then_stored();
        let answer = webhook.post(&[("content-type", media_type)], BODY).await;
        assert_eq!(answer.status, status, "{decode:?} {media_type}");
    }
    let webhook = Running::start(open(json!({})), Decode::Json).await;
    webhook.then_stored();
    let answer = webhook.post(&[("content-encoding", "identity")], BODY).await;
    assert_eq!(answer.status, 200, "no content-type at all, and not encoded");
}

#[tokio::test]
async fn credentials_stay_out_of_the_record() {
    let headers =
        [("x-token", "t0ken"), ("cookie", "a=b"), ("authorization", "Bearer x"), ("x-event", "created")];
    let token = json!({"verify": {"token": {"header": "X-Token", "token": "t0ken"}}});
    let webhook = Running::start(settings(token), Decode::Json).await;
    webhook.then_stored();
    assert_eq!(webhook.post(&headers, BODY).await.status, 200);
    let meta = webhook.taken().record.meta().clone();
    let kept: Vec<_> = meta.headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(kept, ["x-event"]);
    assert_eq!((&*meta.source, meta.received_at), ("source", NOW));
}

#[tokio::test]
async fn a_delivery_has_the_senders_id_each_time_it_is_tried() {
    let hash = |text: &str| text.starts_with("sha256-");
    let long = "x".repeat(256);
    for (delivery_id, header, body, id, given) in [
        (json!("$.id"), "", BODY, "evt_1", Some("evt_1")),
        (json!("$.id"), "", r#"{"id":7}"#, "7", Some("7")),
        (json!("$.id"), "", r#"{"id":""}"#, "sha256-", None),
        (json!("$.id"), "", r#"{"id":{"a":1}}"#, "sha256-", None),
        (json!("$.id"), "", "{}", "sha256-", None),
        (json!("$.id"), "", "not json", "sha256-", None),
        (json!({"header": "X-Delivery"}), "d-1", BODY, "d-1", Some("d-1")),
        (json!({"header": "X-Delivery"}), " ", BODY, "sha256-", None),
        (json!({"header": "X-Delivery"}), &long, BODY, "sha256-", Some(&*long)),
    ] {
        let webhook = Running::start(open(json!({"delivery_id": delivery_id})), Decode::Json).await;
        let mut ids = Vec::new();
        for _ in 0..2 {
            webhook.then_stored();
            webhook.post(&[("x-delivery", header)], body).await;
            let meta = webhook.taken().record.meta().clone();
            assert_eq!(meta.delivery_id.as_deref(), given, "{delivery_id} {body}");
            ids.push(meta.id.to_string());
        }
        assert_eq!(ids[0], ids[1]);
        assert!(if hash(id) { hash(&ids[0]) } else { ids[0] == id }, "{ids:?}");
    }
}

#[tokio::test]
async fn without_an_id_of_its_own_every_delivery_is_new() {
    let webhook = Running::start(open(json!({})), Decode::Json).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        webhook.then_stored();
        webhook.post(&[], BODY).await;
        ids.push(webhook.taken().record.id().clone());
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn events_say_which_records_are_wanted() {
    let header = json!({"header": "X-Event"});
    for (event_type, header, body, wanted) in [
        (json!("$.type"), "", r#"{"type":"created"}"#, true),
        (json!("$.type"), "", r#"{"type":"deleted"}"#, false),
        (json!("$.type"), "", "{}", false),
        (header.clone(), "created", "{}", true),
        (header.clone(), "deleted", "{}", false),
        (header, "", "{}", false),
    ] {
        let own = json!({"events": ["created", "updated"], "event_type": event_type});
        let webhook = Running::start(open(own), Decode::Json).await;
        webhook.then_stored();
        webhook.post(&[("x-event", header)], body).await;
        let incoming = webhook.taken();
        assert_eq!(incoming.wanted.wants(&incoming.record), wanted, "{event_type} {header} {body}");
    }
}

#[tokio::test]
async fn a_part_of_a_delivery_is_judged_by_its_own_type() {
    let own = json!({"events": ["created"], "event_type": "$.type"});
    let webhook = Running::start(open(own), Decode::Json).await;
    webhook.then_stored();
    webhook.post(&[], r#"{"type":"created","parts":[{"type":"deleted"},{}]}"#).await;
    let incoming = webhook.taken();
    let part = |index, body| incoming.record.clone().part(index, Body::from_tree(body));
    assert!(!incoming.wanted.wants(&part(0, json!({"type": "deleted"}))));
    // One that says nothing is what the whole delivery is.
    assert!(incoming.wanted.wants(&part(1, json!({}))));
}

#[test]
fn what_is_wrong_with_a_file_is_said_at_its_place() {
    for (own, said) in [
        (json!({"verify": null}), "missing-verify "),
        (json!({"path": "orders"}), "bad-path path"),
        (json!({"path": "/"}), "bad-path path"),
        (json!({"path": "/a//b"}), "bad-path path"),
        (json!({"path": "/a/../b"}), "bad-path path"),
        (json!({"path": "/a?b"}), "bad-path path"),
        (json!({"path": "/ä"}), "bad-path path"),
        (json!({"methods": []}), "no-methods methods"),
        (json!({"methods": ["POST", "post"]}), "bad-method methods[1]"),
        (json!({"max_body": 0}), "bad-size max_body"),
        (json!({"max_body": "1GiB"}), "bad-size max_body"),
        (json!({"events": ["a"]}), "missing-event-type events"),
        (json!({"delivery_id": {"header": "a b"}}), "bad-header-name delivery_id.header"),
    ] {
        let problems = source::<Webhook>(settings(own.clone())).err().unwrap_or_default();
        assert_eq!(places(&problems), [said], "{own}");
    }
    let plan = source::<Webhook>(settings(json!({"max_body": "2KiB"}))).unwrap();
    assert_eq!(plan.claims(), [karez_api::Claim::IngressPath("/webhooks/orders".into())]);
    assert!(!plan.has_identity());
    let plan = source::<Webhook>(settings(json!({"delivery_id": "$.id"}))).unwrap();
    assert!(plan.has_identity());
}

#[tokio::test]
async fn the_file_says_what_is_answered_to_what_was_taken() {
    for (respond, fate, status, content_type, body) in [
        (
            json!({"status": 202}),
            Fate::Accepted,
            202,
            "application/json",
            r#"{"status":"accepted","id":"evt_1"}"#,
        ),
        (json!({"body": "ok"}), Fate::Duplicate, 200, "text/plain; charset=utf-8", "ok"),
        (json!({"body": {"a": 1}, "status": 201}), Fate::Filtered, 201, "application/json", r#"{"a":1}"#),
        (
            json!({"body": "<Ack/>", "headers": {"Content-Type": "text/xml"}}),
            Fate::Accepted,
            200,
            "text/xml",
            "<Ack/>",
        ),
        (
            json!("after_delivery"),
            Fate::Delivered,
            200,
            "application/json",
            r#"{"status":"delivered","id":"evt_1"}"#,
        ),
        (
            json!({"when": "after_delivery", "status": 201}),
            Fate::Accepted,
            202,
            "application/json",
            r#"{"status":"accepted","id":"evt_1"}"#,
        ),
        (
            json!({"body": "ok"}),
            Fate::DeadLettered,
            502,
            "application/json",
            r#"{"error":"it could not be delivered and is kept as a dead letter","code":"dead_lettered","id":"evt_1"}"#,
        ),
    ] {
        let webhook = Running::start(settings(json!({"respond": respond})), Decode::Json).await;
        webhook.then(stored(fate));
        let response = webhook.signed().await;
        assert_eq!(response.status(), status, "{respond}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], content_type, "{respond}");
        assert_eq!(response.body(), body, "{respond}");
    }
}

#[tokio::test]
async fn a_sender_that_waits_for_the_end_says_how_long() {
    for (respond, wait) in [
        (json!({}), None),
        (json!({"when": "after_delivery"}), Some(10)),
        (json!({"when": "after_delivery", "timeout": "3s"}), Some(3)),
    ] {
        let webhook = Running::start(settings(json!({"respond": respond})), Decode::Json).await;
        webhook.then_stored();
        webhook.signed().await;
        assert_eq!(webhook.taken().wait, wait.map(Duration::from_secs), "{respond}");
    }
}

#[test]
fn an_answer_that_cannot_be_meant_is_a_problem() {
    for (respond, place) in [
        (json!({"status": 500}), "bad-value respond.status"),
        (json!({"status": 404}), "bad-value respond.status"),
        (json!({"timeout": "1s"}), "bad-value respond.timeout"),
        (json!({"when": "after_delivery", "timeout": "0"}), "bad-value respond.timeout"),
        (json!({"when": "after_delivery", "timeout": "2m"}), "bad-value respond.timeout"),
        (json!({"headers": {"a b": "c"}}), "bad-header-name respond.headers.a b"),
        (json!({"headers": {"A": "x\ny"}}), "bad-value respond.headers.A"),
    ] {
        let problems = source::<Webhook>(settings(json!({"respond": respond}))).err().unwrap();
        assert_eq!(places(&problems), [place], "{respond}");
    }
}

#[tokio::test]
async fn who_comes_from_elsewhere_or_too_often_is_turned_away_by_its_head() {
    let webhook = Running::start(settings(json!({"networks": ["192.0.2.0/24"]})), Decode::Json).await;
    assert_eq!(webhook.signed().await.status(), 403);
    assert_eq!(webhook.refused(), ["network"]);
    let webhook = Running::start(settings(json!({"request_limit": {"per_peer": "1/h"}})), Decode::Json).await;
    webhook.then_stored();
    assert_eq!(webhook.signed().await.status(), 200);
    let late = webhook.signed().await;
    assert_eq!(late.status(), 429);
    assert_eq!(late.headers()[header::RETRY_AFTER], "3600");
    assert_eq!(webhook.refused(), ["rate_limit"]);
}

#[test]
fn networks_and_limits_are_checked() {
    for (own, place) in [
        (json!({"networks": []}), "no-networks networks"),
        (json!({"networks": ["10.0.0.0/8", "10.0.0/8"]}), "bad-network networks[1]"),
        (json!({"request_limit": {}}), "no-limit request_limit"),
        (json!({"request_limit": {"burst": 4}}), "no-limit request_limit"),
    ] {
        let problems = source::<Webhook>(settings(own.clone())).err().unwrap();
        assert_eq!(places(&problems), [place], "{own}");
    }
}
