//! Each kind of credentials, judged by what others wrote.

use karez_api::{Class, Json};
use karez_net::Effect;
use serde_json::json;

use crate::judges::{Judges, call, verdict};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// One process for all tests would be shared by threads: one test asks for all.
#[tokio::test]
async fn what_is_sent_is_accepted_by_independent_judges() {
    let judges = Judges::start();
    aws(&judges).await;
    oauth1(&judges).await;
    tokens(&judges).await;
    hmac(&judges).await;
    digest_and_basic(&judges).await;
    session(&judges).await;
    certificates(&judges).await;
    assertion(&judges).await;
}

async fn aws(judges: &Judges) {
    for service in ["execute-api", "s3", "es"] {
        let auth = json!({"aws_sigv4": {"access_key_id": "AKID", "secret_access_key": "s3cret/+",
            "session_token": "t0ken/+=", "region": "eu-west-1", "service": service}});
        let connection = judges.connect("judges", json!({ "auth": auth }));
        for (method, path, body) in [
            ("GET", "", None),
            ("GET", "/a/b/?b=2&a=1&a=0&c", None),
            ("GET", "/a%20b/c?x=y%20z&q=%2F%3D%2B&e=", None),
            ("GET", "/~user/-._?X=ሴ", None),
            ("POST", "/form", Some((FORM, "Action=ListUsers&Version=1"))),
            ("PUT", "/doc", Some((JSON, "{\"ö\": 1}"))),
            ("DELETE", "/doc", None),
        ] {
            let path = format!("/sigv4/{service}{path}");
            let why = verdict(call(&connection, method, &path, body).await);
            assert_eq!(why, None, "{method} {path}");
        }
    }
    let wrong = json!({"aws_sigv4": {"access_key_id": "AKID", "secret_access_key": "other",
        "session_token": "t0ken/+=", "region": "eu-west-1", "service": "es"}});
    let connection = judges.connect("judges", json!({ "auth": wrong }));
    let why = verdict(call(&connection, "GET", "/sigv4/es", None).await).unwrap();
    assert!(why.contains("Refused: expected"), "{why}");
}

async fn oauth1(judges: &Judges) {
    for method in ["HMAC-SHA1", "HMAC-SHA256", "RSA-SHA1", "PLAINTEXT"] {
        let secret = if method == "RSA-SHA1" { judges.keys().text("rsa.pem") } else { "c&s".into() };
        let auth = json!({"oauth1": {"consumer_key": "consumer", "consumer_secret": secret, "token": "tok",
            "token_secret": "t s", "method": method, "realm": "r"}});
        let connection = judges.connect("judges", json!({ "auth": auth }));
        for (verb, path, body) in [
            ("GET", "/oauth1", None),
            ("GET", "/oauth1/a%20b?b=2&a=%C3%B6+x&a=%2B&e=", None),
            ("POST", "/oauth1?q=1", Some((FORM, "z=1&a=b+c%26&%C3%A4=%20"))),
            ("POST", "/oauth1", Some((JSON, "{\"a\": 1}"))),
        ] {
            let why = verdict(call(&connection, verb, path, body).await);
            assert_eq!(why, None, "{method} {verb} {path}");
        }
    }
    let auth = json!({"oauth1": {"consumer_key": "consumer", "consumer_secret": "other", "token": "tok"}});
    let connection = judges.connect("judges", json!({ "auth": auth }));
    assert!(verdict(call(&connection, "GET", "/oauth1", None).await).is_some());
}

async fn tokens(judges: &Judges) {
    let keys = judges.keys();
    for (algorithm, key) in [
        ("HS256", "a secret that both sides share, and that is as long as the longest hash wants it".into()),
        ("HS384", "a secret that both sides share, and that is as long as the longest hash wants it".into()),
        ("HS512", "a secret that both sides share, and that is as long as the longest hash wants it".into()),
        ("RS256", keys.text("rsa.pem")),
        ("RS384", keys.text("rsa.pem")),
        ("RS512", keys.text("rsa.pem")),
        ("PS256", keys.text("rsa.pem")),
        ("PS384", keys.text("rsa.pem")),
        ("PS512", keys.text("rsa.pem")),
        ("ES256", keys.text("p256.pem")),
        ("ES384", keys.text("p384.pem")),
        ("EdDSA", keys.text("ed25519.pem")),
    ] {
        let auth = json!({"jwt": {"algorithm": algorithm, "key": key, "key_id": "k1", "issuer": "karez",
            "subject": "me", "audience": "https://judge.example", "lifetime": "2m"}});
        let connection = judges.connect("judges", json!({ "auth": auth }));
        let why = verdict(call(&connection, "GET", &format!("/jwt/{algorithm}"), None).await);
        assert_eq!(why, None, "{algorithm}");
    }
}

async fn hmac(judges: &Judges) {
    let auth = json!({"hmac": {"secret": "k3y", "encoding": "base64",
        "message": "{timestamp}.{method}.{path}?{query}.{body}",
        "headers": {"X-Signature": "t={timestamp},v1={signature}"}}});
    let connection = judges.connect("judges", json!({ "auth": auth }));
    let why = verdict(call(&connection, "POST", "/hmac/x?a=1%202", Some((JSON, "{\"ö\": 1}"))).await);
    assert_eq!(why, None);
}

async fn digest_and_basic(judges: &Judges) {
    let digest = |password: &str| json!({"auth": {"digest": {"username": "me", "password": password}}});
    for algorithm in ["MD5", "SHA-256"] {
        for quality in ["auth", "auth-int"] {
            let connection = judges.connect("httpbin", digest("p:w"));
            let path = format!("/digest-auth/{quality}/me/p:w/{algorithm}");
            // The first learns the challenge, the others answer ahead.
            for _ in 0..3 {
                assert_eq!(verdict(call(&connection, "GET", &path, None).await), None, "{path}");
            }
            let connection = judges.connect("httpbin", digest("other"));
            assert!(verdict(call(&connection, "GET", &path, None).await).is_some(), "{path}");
        }
    }
    let connection =
        judges.connect("httpbin", json!({"auth": {"basic": {"username": "me", "password": "p w"}}}));
    assert_eq!(verdict(call(&connection, "GET", "/basic-auth/me/p%20w", None).await), None);
    let connection = judges.connect("httpbin", json!({"auth": {"bearer": {"token": "t0k"}}}));
    assert_eq!(verdict(call(&connection, "GET", "/bearer", None).await), None);
}

async fn session(judges: &Judges) {
    let auth = json!({"session": {"url": "/session/log-in", "body": {"user": "me", "password": "p4ss"},
        "token": "$.data.session", "in": {"header": "X-Session"}}});
    let connection = judges.connect("judges", json!({ "auth": auth }));
    let calls = (0..20).map(|_| call(&connection, "GET", "/session", None));
    for answer in futures_util::future::join_all(calls).await {
        let answer: Json = serde_json::from_slice(&answer.unwrap().body).unwrap();
        assert_eq!(answer, json!({"made": 1, "ended": 0}));
    }
}

async fn certificates(judges: &Judges) {
    let keys = judges.keys();
    let mut tls = keys.tls("client");
    let connection = judges.connect("tls", json!({ "tls": tls }));
    let answer = call(&connection, "GET", "/", None).await.unwrap();
    assert_eq!(serde_json::from_slice::<Json>(&answer.body).unwrap(), json!({"commonName": "client"}));
    tls.as_object_mut().unwrap().retain(|name, _| name != "certificate" && name != "key");
    let connection = judges.connect("tls", json!({ "tls": tls }));
    let told = call(&connection, "GET", "/", None).await.unwrap_err();
    assert_eq!(
        (told.fault.class(), told.fault.code(), told.effect),
        (Class::Auth, "certificate_refused", Effect::None)
    );
    assert!(told.fault.message().contains("without a certificate"), "{}", told.fault);
    let connection = judges.connect("tls", json!({ "tls": keys.tls("stranger") }));
    let told = call(&connection, "GET", "/", None).await.unwrap_err().fault;
    assert_eq!((told.class(), told.code()), (Class::Auth, "certificate_refused"));
    assert!(told.message().contains("does not know who vouches for it"), "{told}");
}

async fn assertion(judges: &Judges) {
    let keys = judges.keys();
    let auth = json!({"oauth2": {"grant": "saml_bearer", "token_url": format!("{}/saml", judges.address("judges")),
        "client_id": "me", "client_auth": "none", "saml": {"issuer": "karez & co", "subject": "<me>",
        "audience": "https://judge.example/\"a\"", "attributes": {"b": "2 > 1", "a": "\tx\r\n"},
        "key": keys.text("rsa.pem"), "certificate": keys.text("rsa.certificate.pem")}}});
    let connection = judges.connect("judges", json!({ "auth": auth }));
    assert_eq!(verdict(call(&connection, "GET", "/bearer/from-saml", None).await), None);
}
