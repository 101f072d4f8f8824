use super::*;
use crate::auth::testing::{Answers, SetClock, answer, credentials, request};

const SPEC: &str = r#"{"digest": {"username": "Mufasa", "password": "Circle of Life"}}"#;

fn challenge(line: &str) -> Challenge {
    Challenge::read(&answer(401, &[("www-authenticate", line)], "").headers).unwrap()
}

fn asked<'a>(password: &'a str, cnonce: &'a str) -> Asked<'a> {
    Asked { username: "Mufasa", password, method: "GET", uri: "/dir/index.html", body: b"", cnonce, count: 1 }
}

#[test]
fn the_examples_of_the_rfcs_come_out() {
    let rfc7616 = |algorithm: &str| {
        let line = format!(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
             opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        );
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        challenge(&line).answer(&asked("Circle of Life", cnonce))
    };
    // RFC 7616 §3.9.1.
    assert_eq!(
        rfc7616("MD5"),
        "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
         nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", uri=\"/dir/index.html\", \
         response=\"8ca523f5e9506fed4657c9700eebdbec\", algorithm=MD5, qop=auth, nc=00000001, \
         cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", \
         opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
    );
    let expected = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
    assert!(rfc7616("SHA-256").contains(expected));
    // RFC 2617 §3.5.
    let line = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
                nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
    let sent = challenge(line).answer(&asked("Circle Of Life", "0a4f113b"));
    assert!(sent.contains("6629fae49393a05397450978507c4ef1"));
    // RFC 2069 §2.4 with the erratum.
    let line = "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
    let sent = challenge(line).answer(&asked("CircleOfLife", ""));
    assert!(sent.contains("1949323746fe6a43ef61f9606e7febea") && !sent.contains("cnonce"), "{sent}");
}

#[test]
fn names_that_a_quoted_string_cannot_hold_are_sent_all_the_same() {
    let plain = challenge("Digest realm=\"r\", nonce=\"n\"");
    let named = |challenge: &Challenge, username| challenge.answer(&Asked { username, ..asked("p", "c") });
    assert!(named(&plain, "a\"b").starts_with(r#"Digest username="a\"b","#));
    assert!(named(&plain, "Jäsøn Doe").starts_with("Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe,"));
    let hashed = named(&challenge("Digest realm=\"r\", nonce=\"n\", userhash=true"), "a");
    assert!(
        hashed.starts_with("Digest username=\"20d4ab2e27ea7a31f0b9bd2dfb60f0e6\"")
            || !hashed.contains("\"a\"")
    );
    assert!(hashed.ends_with("userhash=true"));
}

fn digest() -> std::sync::Arc<dyn Credentials> {
    credentials(&serde_json::from_str(SPEC).unwrap(), SetClock::at(0), Answers::with([]))
}

async fn sent(digest: &dyn Credentials) -> (Stamp, Option<String>) {
    let mut asked = request("GET", "https://a.example/p?q=1", "");
    asked.headers.insert("authorization", "mine".parse().unwrap());
    let stamp = digest.apply(&mut asked).await.unwrap();
    let value = asked.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    (stamp, value)
}

fn refusal(nonce: &str, more: &str) -> Response {
    let line = format!("Digest realm=\"r\", qop=\"auth\", nonce=\"{nonce}\"{more}");
    answer(401, &[("www-authenticate", &line)], "")
}

#[tokio::test]
async fn a_challenge_is_learnt_once_and_then_answered_ahead_and_counted() {
    let digest = digest();
    let (first, value) = sent(&*digest).await;
    assert_eq!(value, None);
    assert!(digest.refused(first, &refusal("n1", "")).await.unwrap());
    for count in 1..=3 {
        let (_, value) = sent(&*digest).await;
        let value = value.unwrap();
        assert!(value.contains("nonce=\"n1\"") && value.contains(&format!("nc={count:08x}")), "{value}");
        assert!(value.contains("uri=\"/p?q=1\""), "{value}");
    }
    // Whoever was refused before the challenge was known is sent again with it.
    assert!(digest.refused(first, &refusal("n9", "")).await.unwrap());
    assert!(sent(&*digest).await.1.unwrap().contains("nonce=\"n1\""));
}

#[tokio::test]
async fn a_nonce_that_ran_out_is_replaced_and_a_wrong_password_is_not_tried_again() {
    let digest = digest();
    let (stamp, _) = sent(&*digest).await;
    assert!(digest.refused(stamp, &refusal("n1", "")).await.unwrap());
    let (stamp, _) = sent(&*digest).await;
    assert!(!digest.refused(stamp, &refusal("n2", "")).await.unwrap());
    let (stamp, _) = sent(&*digest).await;
    assert!(digest.refused(stamp, &refusal("n3", ", stale=true")).await.unwrap());
    sent(&*digest).await;
    let (stamp, _) = sent(&*digest).await;
    assert!(digest.refused(stamp, &refusal("n4", "")).await.unwrap());
    assert!(sent(&*digest).await.1.unwrap().contains("nonce=\"n4\""));
    let (stamp, _) = sent(&*digest).await;
    assert!(!digest.refused(stamp, &answer(401, &[], "")).await.unwrap());
}

#[tokio::test]
async fn the_nonce_that_an_answer_announces_is_used_next() {
    let digest = digest();
    let (stamp, _) = sent(&*digest).await;
    assert!(digest.refused(stamp, &refusal("n1", "")).await.unwrap());
    let (stamp, _) = sent(&*digest).await;
    let info = [("authentication-info", "rspauth=\"x\", nextnonce=\"n2\"")];
    digest.accepted(stamp, &answer(200, &info, ""));
    let value = sent(&*digest).await.1.unwrap();
    assert!(value.contains("nonce=\"n2\"") && value.contains("nc=00000001"), "{value}");
    // An answer to a request with the nonce of before comes too late.
    digest.accepted(stamp, &answer(200, &[("authentication-info", "nextnonce=\"n0\"")], ""));
    assert!(sent(&*digest).await.1.unwrap().contains("nonce=\"n2\""));
}
