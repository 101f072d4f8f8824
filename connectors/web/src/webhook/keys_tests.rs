use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use karez_api::{Accepted, Decode, Endpoint, Json, RecordId, RequestHead};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use super::*;
use crate::http::test_server::{Answer, Server, body, status};
use crate::testing::{CERTIFICATE, Engine, TestClock, open_webhook_by, signed_with_rsa, source};
use crate::webhook::Webhook;

const MINUTE: Duration = Duration::from_secs(60);

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

/// Keys by their seeds, which are their names too.
fn set(seeds: &[u8]) -> String {
    let url = |seed: u8| URL_SAFE_NO_PAD.encode(key(seed).public_key());
    let jwk = |seed: &u8| json!({"kty": "OKP", "crv": "Ed25519", "kid": seed.to_string(), "x": url(*seed)});
    json!({"keys": seeds.iter().map(jwk).collect::<Vec<_>>()}).to_string()
}

/// Signed by this one.
fn token(seed: u8) -> String {
    let header = json!({"alg": "EdDSA", "kid": seed.to_string()});
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode("{}"));
    format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(key(seed).sign(signed.as_bytes())))
}

struct Hook {
    engine: Arc<Engine>,
    endpoint: Arc<dyn Endpoint>,
    clock: TestClock,
}

impl Hook {
    async fn open(settings: Json) -> Self {
        let (engine, clock) = (Arc::<Engine>::default(), TestClock::default());
        let plan = source::<Webhook>(settings).unwrap();
        let (_, endpoint) = open_webhook_by(&*plan, &engine, Decode::Json, &clock).await;
        Self { engine, endpoint, clock }
    }

    async fn of_set(url: &str) -> Self {
        Self::open(json!({"path": "/a", "verify": {"jwt": {"algorithm": "EdDSA", "jwks": url}}})).await
    }

    async fn sent(&self, headers: &[(&str, &str)], body: &str) -> u16 {
        let stored = Accepted::Stored { id: RecordId::text("x"), fate: karez_api::Fate::Accepted };
        self.engine.verdicts.lock().unwrap().push_back(stored);
        let request = Request::post("/webhooks/a");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let head = || RequestHead {
            parts: request.body(()).unwrap().into_parts().0,
            peer: ([127, 0, 0, 1], 1).into(),
            certificate: None,
        };
        let head = head();
        if let Err(response) = self.endpoint.admit(&head) {
            return response.status().as_u16();
        }
        self.endpoint.call(head, Bytes::from(body.to_owned())).await.status().as_u16()
    }

    async fn token(&self, seed: u8) -> u16 {
        self.sent(&[(header::AUTHORIZATION.as_str(), &token(seed))], "{}").await
    }
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_for_one_that_is_new() {
    let answers = [set(&[1]), set(&[1, 2])];
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |_| body(&answers[asked.fetch_add(1, Ordering::Relaxed).min(1)]));
    let hook = Hook::of_set(&server.url).await;
    assert_eq!(tokio::join!(hook.token(1), hook.token(1), hook.token(1)), (200, 200, 200));
    assert_eq!(server.seen().len(), 1);
    // Nobody can have it asked for all the time.
    assert_eq!((hook.token(2).await, hook.token(3).await), (401, 401));
    assert_eq!(server.seen().len(), 0);
    hook.clock.pass(MINUTE);
    assert_eq!((hook.token(2).await, hook.token(1).await, hook.token(3).await), (200, 200, 401));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_far_end_that_is_down_is_no_fault_of_the_sender() {
    let down = Arc::new(AtomicUsize::new(1));
    let is_down = Arc::clone(&down);
    let server = Server::start(move |_| match is_down.load(Ordering::Relaxed) {
        0 => body(&set(&[1])),
        _ => status("500 Internal Server Error"),
    });
    let hook = Hook::of_set(&server.url).await;
    assert_eq!((hook.token(1).await, hook.token(1).await), (503, 503));
    assert_eq!(hook.engine.refused.lock().unwrap().as_slice(), ["keys", "keys"]);
    assert_eq!(server.seen().len(), 1, "it is left alone for a minute");
    down.store(0, Ordering::Relaxed);
    hook.clock.pass(MINUTE);
    assert_eq!((hook.token(1).await, server.seen().len()), (200, 1));
    // What is known stays known, and what is not cannot be told.
    down.store(1, Ordering::Relaxed);
    hook.clock.pass(MINUTE);
    assert_eq!((hook.token(2).await, hook.token(1).await), (503, 200));
}

#[tokio::test]
async fn only_a_plain_and_small_answer_holds_keys() {
    let large = format!("{}{}", set(&[1]), " ".repeat(256 << 10));
    let keys = set(&[1]);
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nlocation: /keys\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{keys}",
        keys.len(),
    );
    let answers: [fn(&str) -> Answer; 4] =
        [body, |_| body("<html>"), |_| body("{\"keys\":[]}"), |text| Answer::Close(text.to_owned())];
    for (answer, text) in answers.into_iter().zip([&*large, "", "", &redirect]) {
        let text = text.to_owned();
        let server = Server::start(move |_| answer(&text));
        let hook = Hook::of_set(&server.url).await;
        assert_eq!((hook.token(1).await, server.seen().len()), (503, 1));
    }
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let server = Server::start(|_| Answer::Hold(String::new()));
    let hook = Hook::of_set(&server.url).await;
    hook.clock.end_wait();
    assert_eq!(hook.token(1).await, 503);
}

#[tokio::test]
async fn a_certificate_is_fetched_from_where_the_file_lets_it_come() {
    let server = Server::start(|_| body(CERTIFICATE));
    let certificate = json!({"header": "X-Certificate", "hosts": [r"127\.0\.0\.1"], "path": "/c[0-9]+"});
    let verify = json!({"rsa": {"header": "X-Signature", "certificate": certificate}});
    let hook = Hook::open(json!({"path": "/a", "verify": verify})).await;
    let code = STANDARD.encode(signed_with_rsa(b"{}"));
    let sent = |path: &str, body: &'static str| {
        let url = format!("{}{path}", server.url);
        let (hook, code) = (&hook, &code);
        async move { hook.sent(&[("x-certificate", &url), ("x-signature", code)], body).await }
    };
    assert_eq!((sent("/c1", "{}").await, sent("/c1", "[]").await, sent("/c1", "{}").await), (200, 401, 200));
    assert_eq!(server.seen().len(), 1);
    assert_eq!((sent("/d1", "{}").await, sent("/c1?x", "{}").await), (401, 200));
    assert_eq!(server.seen().len(), 1);
    // However many are named, few are asked for, and those that are known still count.
    for number in 2..30 {
        sent(&format!("/c{number}"), "{}").await;
    }
    assert_eq!(server.seen().len(), 8);
    assert_eq!(sent("/c1", "{}").await, 200);
}

#[tokio::test]
async fn a_handshake_may_be_confirmed_before_it_is_answered() {
    for (answer, expected) in [("200 OK", (200, 1)), ("403 Forbidden", (503, 1))] {
        let server = Server::always(answer);
        let visit = json!({"body": "url", "hosts": [r"127\.0\.0\.1"], "path": "/"});
        let hook = Hook::open(json!({
            "path": "/a", "verify": {"token": {"token": "t"}},
            "handshakes": [{"match": [{"body": "kind", "is": "confirm"}], "visit": visit, "warning": "it came", "answer": {}}],
        }))
        .await;
        let body =
            |path: &str| json!({"kind": "confirm", "url": format!("{}{path}", server.url)}).to_string();
        let proof = [("authorization", "Bearer t")];
        assert_eq!((hook.sent(&proof, &body("/?a=b")).await, server.seen().len()), expected);
        assert_eq!((hook.sent(&proof, &body("/else")).await, server.seen().len()), (400, 0));
        assert_eq!((hook.sent(&[], &body("/?a=b")).await, server.seen().len()), (401, 0));
        assert!(hook.engine.incoming.lock().unwrap().is_empty());
    }
}
