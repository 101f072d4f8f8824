use serde_json::{Value, json};

use super::*;
use crate::auth::testing::{SetClock, read, request};

fn signed(spec: &Value) -> Request {
    let mut asked = request("POST", "https://a.example:8443/p/a%20b?x=1&y=2", "{\"a\":1}");
    asked.headers.insert("x-signature", "mine".parse().unwrap());
    let credentials = HmacCredentials::new(&read(spec), SetClock::at(0)).unwrap();
    let once = Once { now: Millis(784_111_777_123), nonce: "n0nce".into() };
    credentials.sign(&mut asked, &once).unwrap();
    asked
}

#[test]
fn all_that_the_file_names_is_signed_and_sent() {
    let all =
        "{method} {path} {query} {url} {host} {body_sha256} {timestamp} {timestamp_ms} {date} {nonce} {{x}}";
    let sent = signed(&json!({"secret": "k", "message": "{body}|{timestamp}",
        "headers": {"X-Signature": "t={timestamp},v1={signature}", "X-All": all}}));
    let code = hex::encode(Hash::Sha256.mac(b"k", b"{\"a\":1}|784111777"));
    assert_eq!(sent.headers["x-signature"], format!("t=784111777,v1={code}"));
    let body = hex::encode(Hash::Sha256.digest(b"{\"a\":1}"));
    let expected = format!(
        "POST /p/a%20b x=1&y=2 https://a.example:8443/p/a%20b?x=1&y=2 a.example:8443 {body} 784111777 784111777123 \
         Sun, 06 Nov 1994 08:49:37 GMT n0nce {{x}}"
    );
    assert_eq!(sent.headers["x-all"], expected);
    assert!(sent.headers["x-signature"].is_sensitive());
}

/// RFC 4231 §4.3 (test case 2), RFC 2202 §3 (test case 2).
#[test]
fn the_codes_of_the_rfcs_come_out_in_each_encoding() {
    let cases = [
        (json!({"secret": "Jefe"}), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            json!({"secret": "4a656665", "secret_encoding": "hex", "encoding": "base64"}),
            "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=",
        ),
        (
            json!({"secret": "SmVmZQ", "secret_encoding": "base64", "encoding": "base64url"}),
            "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM",
        ),
        (json!({"secret": "Jefe", "algorithm": "sha1"}), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
    ];
    for (mut spec, expected) in cases {
        spec["message"] = json!("what do ya want for nothing?");
        spec["headers"] = json!({"X-Signature": "{signature}"});
        assert_eq!(signed(&spec).headers["x-signature"], expected, "{spec}");
    }
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    let problems = |spec: Value| {
        let mut problems = Vec::new();
        check(&read(&spec), &Path::root(), &mut problems);
        problems.iter().map(|problem| format!("{}: {}", problem.at, problem.message)).collect::<Vec<_>>()
    };
    let wrong = problems(json!({"secret": "xyz", "secret_encoding": "hex", "message": "{nonsense}",
        "headers": {"a b": "{", "X-Body": "{body}", "X-Line": "a\nb"}}));
    let expected = [
        "secret: it is not hex",
        "message: {nonsense} is not known here",
        "headers.X-Body: a body cannot",
        "headers.X-Line: the credentials have characters",
        "headers.a b: \"a b\" is not the name",
        "headers.a b: a brace is alone",
        "headers: none of them has",
    ];
    assert_eq!(wrong.len(), expected.len(), "{wrong:?}");
    for (wrong, expected) in wrong.iter().zip(expected) {
        assert!(wrong.starts_with(expected), "{wrong}");
    }
    let circle = problems(json!({"secret": "x", "message": "{signature}", "headers": {"X": "{signature}"}}));
    assert_eq!(circle, ["message: the signature cannot be part of what is signed"]);
}
