use ::http::{HeaderMap, Method};
use karez_api::{Body, Form, Millis};
use serde_json::json;

use super::super::{Known, PublicUrl, Verify, Wanted, apart};
use super::*;
use crate::testing::NOW;
use karez_net::jose::Scheme;

const URL: &str = "https://hooks.example.com/webhooks/orders";
const BODY: &str = r#"{"id":"evt_1","items":[{"n":1},{"n":2}]}"#;

fn key() -> PrivateKey {
    let der = ring::signature::EcdsaKeyPair::generate_pkcs8(
        &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &ring::rand::SystemRandom::new(),
    )
    .unwrap();
    let pem =
        x509_cert::der::pem::encode_string("PRIVATE KEY", x509_cert::der::pem::LineEnding::LF, der.as_ref())
            .unwrap();
    PrivateKey::read(Scheme::EcdsaFixed, &pem).unwrap()
}

fn verifier(verify: &Json) -> Verifier {
    let spec: Verify = serde_json::from_value(verify.clone()).unwrap();
    let public_url = verify.to_string().contains("{url}").then(|| PublicUrl::parse(URL).unwrap());
    apart::check(|cx| spec.check(cx, Wanted { public_url, verify_token: false }))
        .unwrap_or_else(|found| panic!("{verify}: {found:?}"))
}

fn draft() -> Draft {
    let (query, headers) = (Some("a=b&code=old".into()), HeaderMap::new());
    Draft { method: Method::POST, query, headers, body: BODY.into() }
}

fn is_let_in(verifier: &Verifier, draft: &Draft) -> bool {
    let query = draft.query.as_deref().unwrap_or_default();
    let request = ::http::Request::post(format!("/webhooks/orders?{query}")).body(()).unwrap();
    let mut parts = request.into_parts().0;
    parts.headers.clone_from(&draft.headers);
    let body = Body::from_bytes(Form::Opaque, draft.body.clone());
    let request = Request::whole(&parts, &body, NOW);
    verifier.head(&request).is_ok() && verifier.verify(&request, &Known::default()).is_ok()
}

#[test]
fn every_scheme_that_a_file_can_say_is_signed_so_that_it_is_let_in() {
    let key = key();
    let hmac = |more: Json| {
        let mut spec = json!({"algorithm": "sha512", "secret": ["s3cret", "other"]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "hmac": spec })
    };
    let schemes = [
        hmac(json!({"header": ["X-A", "X-B"], "encoding": "base64url", "prefix": "v9="})),
        hmac(json!({"header": "X-Sig-*", "separator": ";", "prefix": "h=", "message": "{timestamp}~{body}",
            "timestamp": {"label": "at=", "unit": "rfc3339"}})),
        hmac(json!({"query": "code", "message": "{method} {body} {query:nonce} {header:X-Id|X-Other}"})),
        hmac(json!({"body": "signature.code", "message": "{body:id}{body:nonce}{timestamp}",
            "timestamp": {"body": "signature.at", "unit": "milliseconds"}})),
        hmac(json!({"body": "code", "each": "items", "message": "{body:n}"})),
        hmac(json!({"header": "X-A", "message": "{url}{body}", "require": {"X-Version": "2"}})),
        hmac(json!({"header": "X-A", "message": "{crc32}{header:Digest}", "body_hash": {"header": "Digest",
            "algorithm": "sha256", "encoding": "base64"}})),
        json!({"hash": {"algorithm": "sha1", "header": "X-A", "secret": "s3cret"}}),
        json!({"token": {"token": "t0ken"}}),
        json!({"token": {"header": "X-Token", "token": "t0ken"}}),
        json!({"token": {"query": "code", "token": "t0ken"}}),
        json!({"token": {"each": "items", "body": "token", "token": "t0ken"}}),
        json!({"basic": {"username": "ada", "password": "pa:ss"}}),
        json!({"jwt": {"algorithm": "HS512", "secret": "s3cret", "issuer": "me", "audience": "you",
            "body_claim": "hash", "body_claim_encoding": "base64", "max_age": "1m"}}),
        json!({"jwt": {"algorithm": "ES256", "key": key.public(), "header": "X-Jwt"}}),
    ];
    for scheme in schemes {
        let (verifier, mut draft) = (verifier(&scheme), draft());
        assert!(!is_let_in(&verifier, &draft), "{scheme}: unsigned");
        let with = With { now: NOW, key: Some(&key) };
        verifier.sign(&mut draft, with).unwrap_or_else(|error| panic!("{scheme}: {error}"));
        assert!(is_let_in(&verifier, &draft), "{scheme}: {draft:?}");
        // What was signed long ago is signed anew, not added to.
        verifier.sign(&mut draft, With { now: Millis(1), ..with }).unwrap();
        verifier.sign(&mut draft, with).unwrap();
        assert!(is_let_in(&verifier, &draft), "{scheme}: {draft:?}");
    }
}

#[test]
fn what_is_lacking_is_told() {
    let sign = |scheme: Json, body: &'static str| {
        let mut draft = Draft { body: body.into(), ..draft() };
        verifier(&scheme).sign(&mut draft, With { now: NOW, key: None }).unwrap_err()
    };
    let hmac = |more: Json| {
        let mut spec =
            json!({"algorithm": "sha256", "secret": {"secret": "s", "not_after": "2030-01-01T00:00:00Z"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "hmac": spec })
    };
    assert!(sign(hmac(json!({"body": "code"})), "no JSON").contains("the body has to be JSON here"));
    assert!(
        sign(hmac(json!({"body": "id.code", "message": "{body:id}"})), BODY).contains("no room for id.code")
    );
    let each = hmac(json!({"body": "code", "each": "things", "message": "{body:n}"}));
    assert!(sign(each, BODY).contains("things is no list in the body"));
    let jwt = json!({"jwt": {"algorithm": "ES256", "key": key().public()}});
    assert!(sign(jwt, BODY).contains("private key"));
    let (old, mut draft) = (verifier(&hmac(json!({"header": "X-A"}))), draft());
    let late = With { now: Millis(2_000_000_000_000), key: None };
    assert_eq!(old.sign(&mut draft, late).unwrap_err(), "no secret counts then");
}
