//! What is asked before there are events, and what must not be answered.

use super::*;
use crate::testing::{NOW, places};

fn get(query: &str, headers: &[(&str, &str)]) -> Sent {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sent { method: Some("GET".into()), query: Some(query.into()), headers, body: String::new() }
}

fn post(query: &str, headers: &[(&str, &str)], body: &str) -> Sent {
    Sent { method: None, body: body.into(), ..get(query, headers) }
}

fn provider(name: &str) -> Json {
    let mut verify = json!({"provider": name, "secret": "s3cret"});
    if find(name).unwrap().wants_verify_token() {
        verify["verify_token"] = json!("mine");
    }
    json!({"path": "/orders", "verify": verify})
}

/// Answers whoever sends a challenge, once its token was looked at.
fn own(verification: &str) -> Json {
    json!({
        "path": "/orders",
        "verify": {"token": {"token": "t0ken"}},
        "handshakes": [{
            "verification": verification,
            "match": [{"body": "challenge"}],
            "answer": {"status": 202, "headers": {"X-Echo": "{body:challenge}"}, "json": {"challenge": "<{body:challenge}>", "ok": true}},
        }],
    })
}

/// Status, what was counted, and the body.
async fn said(settings: Json, sent: Sent) -> (u16, Vec<&'static str>, String) {
    let outcome = sent.to(settings, NOW).await.unwrap();
    assert!(outcome.record.is_none() || outcome.refused.is_empty());
    let counted = [outcome.answered, outcome.refused].concat();
    let body = String::from_utf8_lossy(outcome.response.body()).into_owned();
    (outcome.response.status().as_u16(), counted, body)
}

#[tokio::test]
async fn only_a_handshake_is_answered_without_proof() {
    let challenge = [("x-okta-verification-challenge", "abc")];
    let with_proof = [("x-okta-verification-challenge", "abc"), ("authorization", "s3cret")];
    for (name, sent, status, counted) in [
        ("dropbox", get("challenge=abc", &[]), 200, "handshake"),
        ("dropbox", get("", &[]), 405, "method"),
        ("dropbox", get("challenge=a&challenge=b", &[]), 405, "method"),
        ("dropbox", post("challenge=abc", &[], "{}"), 401, "signature"),
        ("meta", get("hub.mode=subscribe&hub.challenge=1&hub.verify_token=mine", &[]), 200, "handshake"),
        ("meta", get("hub.mode=subscribe&hub.challenge=1&hub.verify_token=", &[]), 403, "handshake"),
        ("meta", get("hub.mode=subscribe&hub.challenge=1", &[]), 403, "handshake"),
        ("meta", get("hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=mine", &[]), 405, "method"),
        ("slack", post("", &[], r#"{"type":"url_verification","challenge":"abc"}"#), 401, "signature"),
        ("zoom", post("", &[], r#"{"event":"endpoint.url_validation"}"#), 401, "signature"),
        ("okta", get("", &challenge), 401, "signature"),
        ("okta", get("", &with_proof), 200, "handshake"),
        ("okta", get("", &[("authorization", "s3cret")]), 405, "method"),
        (
            "microsoft-graph",
            post("validationToken=a%20b", &[("content-type", "text/plain")], ""),
            200,
            "handshake",
        ),
        ("microsoft-graph", post("", &[], ""), 401, "signature"),
        ("ringcentral", post("", &[("validation-token", "abc")], ""), 200, "handshake"),
        ("ringcentral", post("", &[("validation-token", "abc")], r#"{"uuid":"1"}"#), 401, "signature"),
    ] {
        let (given, said_so, body) = said(provider(name), sent.clone()).await;
        assert_eq!((given, said_so), (status, vec![counted]), "{name} {:?} {body}", sent.query);
        assert!(status == 200 || !body.contains("abc"), "{name}: {body}");
    }
}

/// X signs events with the key that it wants challenges hashed with: whoever may choose what is hashed could
/// have an event signed.
#[tokio::test]
async fn no_event_can_be_had_signed_as_a_challenge() {
    let token = |token: &str| get(&format!("crc_token={token}"), &[]);
    let (status, counted, body) = said(provider("x"), token("abc_DEF-09")).await;
    assert_eq!((status, counted), (200, vec!["handshake"]), "{body}");
    for bad in ["%7B%22for_user_id%22%3A1%7D", "", "%5B%5D", &"a".repeat(257)] {
        let (status, counted, body) = said(provider("x"), token(bad)).await;
        assert_eq!((status, counted), (400, vec!["handshake"]), "{body}");
    }
}

#[tokio::test]
async fn a_challenge_in_a_header_comes_back_in_one() {
    let sent = post("", &[("validation-token", "abc")], "");
    let outcome = sent.to(provider("ringcentral"), NOW).await.unwrap();
    assert_eq!(outcome.response.headers()["validation-token"], "abc");
}

#[tokio::test]
async fn a_file_may_have_handshakes_of_its_own() {
    let body = r#"{"challenge":"a\"b"}"#;
    let token = [("authorization", "Bearer t0ken")];
    for (verification, headers, status) in [
        ("after", &token[..], 202),
        ("after", &[][..], 401),
        ("before", &[][..], 202),
        ("before", &token[..], 202),
    ] {
        let outcome = post("", headers, body).to(own(verification), NOW).await.unwrap();
        assert_eq!(outcome.response.status(), status, "{verification} {headers:?}");
        if status == 202 {
            assert_eq!(outcome.response.body(), r#"{"challenge":"<a\"b>","ok":true}"#);
            assert_eq!(outcome.response.headers()["x-echo"], "a\"b");
            assert_eq!(outcome.response.headers()["x-content-type-options"], "nosniff");
        }
    }
    // All else is judged as ever.
    for (headers, body, status) in
        [(&token[..], "{}", 200), (&[][..], "{}", 401), (&token[..], r#"{"challenge":null}"#, 200)]
    {
        let outcome = post("", headers, body).to(own("before"), NOW).await.unwrap();
        assert_eq!(
            (outcome.response.status().as_u16(), outcome.record.is_some()),
            (status, status == 200),
            "{body}"
        );
    }
    let newline = r#"{"challenge":"a\nb"}"#;
    assert_eq!(post("", &token, newline).to(own("after"), NOW).await.unwrap().response.status(), 400);
}

#[test]
fn what_is_wrong_with_a_handshake_is_said_at_its_place() {
    let with = |name: &str, value: Json| {
        let mut settings = own("after");
        settings["handshakes"][0][name] = value;
        settings
    };
    for (settings, said) in [
        (with("match", json!([])), "missing-match handshakes[0].match"),
        (with("match", json!([{"body": "a", "query": "b"}])), "ambiguous-place handshakes[0].match[0]"),
        (
            with("match", json!([{"body": "a", "is": 1, "absent": true}])),
            "ambiguous-match handshakes[0].match[0]",
        ),
        (with("match", json!([{"header": "a b"}])), "bad-header-name handshakes[0].match[0].header"),
        (with("method", json!("FETCH")), "bad-method handshakes[0].method"),
        (with("hmac", json!({"algorithm": "sha256", "of": "{body:a}"})), "missing-secret handshakes[0].hmac"),
        (with("verify_token", json!("token")), "missing-verify-token verify"),
        (with("answer", json!({"status": 302})), "bad-status handshakes[0].answer.status"),
        (with("answer", json!({"text": "{secret}"})), "bad-message handshakes[0].answer.text"),
        (with("answer", json!({"text": "a", "json": 1})), "ambiguous-answer handshakes[0].answer"),
    ] {
        let problems = source::<Webhook>(settings.clone()).err().unwrap_or_default();
        assert_eq!(places(&problems), [said], "{settings}");
    }
}
