use ::http::header;
use base64::Engine as _;
use karez_api::{Body, Form, Json};
use serde_json::json;

use super::*;
use crate::testing::{File, NOW, places};

const BODY: &[u8] = br#"{"id":"evt_1"}"#;
/// Over `BODY` with the key `s3cret`, made with another implementation.
const SHA1: &str = "a045892101457cf68832532c85398903cd9ed5fd";
const SHA256: &str = "4d9ffeb08661a558de926d65a83f186637434f47fef8d47c45e376c749c1c651";
const SHA256_BASE64: &str = "TZ/+sIZhpVjekm1lqD8YZjdDT0f++NR8ReN2x0nBxlE=";
const SHA512: &str = "70f3386838bd1cd5c5c7b7f2b1d50dd2f2584560b51d29cb66b8a5a18ec909bb\
                      983fad28b41470ea05576d2b77b12479ebe11cf14aae80f782a25664a1eda586";

fn checked(verify: &Json) -> Result<Verifier, Vec<karez_api::Problem>> {
    let spec: Verify = serde_json::from_value(verify.clone()).unwrap();
    File::default().check(|cx| spec.check(cx, Wanted { public_url: None, verify_token: false }))
}

fn head(headers: &[(&str, &str)]) -> ::http::request::Parts {
    let request = ::http::Request::post("/webhooks/orders");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

/// All that is needed stands in the file.
fn refusal(denied: Denied) -> Refusal {
    denied.refusal(|| panic!("a key is missing"))
}

/// What is said of a request: nothing if it is let in, the reason if its head is enough, `body: …` if not.
fn judged(verify: &Json, pairs: &[(&str, &str)], body: &[u8]) -> String {
    let verifier = checked(verify).unwrap();
    let head = head(pairs);
    let said = |refusal: Refusal| {
        assert_eq!(refusal.response.status(), 401);
        assert_eq!(refusal.reason, "signature");
        let body: Json = serde_json::from_slice(refusal.response.body()).unwrap();
        body["error"].as_str().unwrap().to_owned()
    };
    let body = Body::from_bytes(Form::Json, body.to_vec().into());
    let early = verifier.head(&Request::head(&head, NOW)).map_err(said);
    let whole =
        verifier.verify(&Request::whole(&head, &body, NOW), &Known::default()).map_err(refusal).map_err(said);
    match (early, whole) {
        (Err(early), Err(whole)) => {
            assert_eq!(early, whole, "the head's verdict stands");
            early
        }
        (Ok(()), Err(whole)) => format!("body: {whole}"),
        (Ok(()), Ok(_)) => String::new(),
        (Err(early), Ok(_)) => panic!("{early}, but let in"),
    }
}

/// `verify: {hmac: …}` with a few settings of its own.
fn hmac(settings: Json) -> Json {
    let mut whole = json!({"algorithm": "sha256", "header": "X-Signature", "secret": "s3cret"});
    for (key, value) in settings.as_object().unwrap() {
        whole[key] = value.clone();
    }
    json!({"hmac": whole})
}

#[test]
fn a_code_must_be_right_in_every_respect() {
    let plain = hmac(json!({}));
    let prefixed = hmac(json!({"prefix": "sha256="}));
    let base64 = hmac(json!({"encoding": "base64"}));
    let rotated = hmac(json!({"secret": ["new", "s3cret"]}));
    let upper = SHA256.to_uppercase();
    let with_prefix = format!("sha256={SHA256}");
    let unpadded = SHA256_BASE64.trim_end_matches('=');
    let one = |value| vec![("x-signature", value)];
    let wrong = "body: x-signature does not match the body";
    for (verify, headers, body, said) in [
        (&plain, one(SHA256), BODY, ""),
        (&plain, one(upper.as_str()), BODY, ""),
        (&prefixed, one(with_prefix.as_str()), BODY, ""),
        (&base64, one(SHA256_BASE64), BODY, ""),
        (&base64, one(unpadded), BODY, ""),
        (&rotated, one(SHA256), BODY, ""),
        (&hmac(json!({"algorithm": "sha1"})), one(SHA1), BODY, ""),
        (&hmac(json!({"algorithm": "sha512"})), one(SHA512), BODY, ""),
        // The body, the secret or the code is another.
        (&plain, one(SHA256), br#"{"id":"evt_2"}"#, wrong),
        (&plain, one(SHA256), b"", wrong),
        (&hmac(json!({"secret": "other"})), one(SHA256), BODY, wrong),
        (&hmac(json!({"secret": ["other", "s3cre"]})), one(SHA256), BODY, wrong),
        (&base64, one("AAAAsIZhpVjekm1lqD8YZjdDT0f++NR8ReN2x0nBxlE="), BODY, wrong),
        // Its form is wrong, which shows before the body is read.
        (&plain, vec![], BODY, "x-signature is missing"),
        (&plain, one(""), BODY, "x-signature has the wrong length"),
        (&plain, one(&SHA256[..62]), BODY, "x-signature has the wrong length"),
        (&plain, one(&SHA256[..63]), BODY, "x-signature is not hex"),
        (&plain, one(SHA1), BODY, "x-signature has the wrong length"),
        (&plain, one(SHA512), BODY, "x-signature has the wrong length"),
        (&plain, one(SHA256_BASE64), BODY, "x-signature is not hex"),
        (&plain, one(with_prefix.as_str()), BODY, "x-signature is not hex"),
        (&base64, one(SHA256), BODY, "x-signature has the wrong length"),
        (&base64, one("TZ_-sIZhpVjekm1lqD8YZjdDT0f--NR8ReN2x0nBxlE="), BODY, "x-signature is not base64"),
        (&prefixed, one(SHA256), BODY, "x-signature does not begin with sha256="),
        (&prefixed, one("sha1=00"), BODY, "x-signature does not begin with sha256="),
        (&prefixed, one(&format!("SHA256={SHA256}")), BODY, "x-signature does not begin with sha256="),
        (&plain, vec![("x-signature", SHA256), ("x-signature", SHA256)], BODY, "x-signature stands twice"),
        (&plain, vec![("x-signature", "00"), ("x-signature", SHA256)], BODY, "x-signature stands twice"),
    ] {
        assert_eq!(judged(verify, &headers, body), said, "{verify} {headers:?}");
    }
}

/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
#[test]
fn the_example_of_a_real_sender_is_let_in() {
    let verify = hmac(json!({
        "header": "X-Hub-Signature-256",
        "prefix": "sha256=",
        "secret": "It's a Secret to Everybody",
    }));
    let code = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(judged(&verify, &[("x-hub-signature-256", code)], b"Hello, World!"), "");
}

#[test]
fn a_token_must_be_whole_and_alone() {
    let bearer = json!({"token": {"token": "t0ken"}});
    let header = json!({"token": {"header": "X-Token", "token": ["old", "t0ken"]}});
    for (verify, headers, said) in [
        (&bearer, vec![("authorization", "Bearer t0ken")], ""),
        (&bearer, vec![("authorization", "bearer  t0ken ")], ""),
        (&bearer, vec![], "authorization is missing"),
        (&bearer, vec![("authorization", "t0ken")], "authorization has no bearer token"),
        (&bearer, vec![("authorization", "Bearert0ken")], "authorization has no bearer token"),
        (&bearer, vec![("authorization", "Bearer")], "authorization has no bearer token"),
        (&bearer, vec![("authorization", "Bearer ")], "authorization holds a wrong token"),
        (&bearer, vec![("authorization", "Bearer t0ke")], "authorization holds a wrong token"),
        (&bearer, vec![("authorization", "Bearer T0KEN")], "authorization holds a wrong token"),
        (&bearer, vec![("authorization", "Bearer t0ken"); 2], "authorization stands twice"),
        (&header, vec![("x-token", "t0ken")], ""),
        (&header, vec![("x-token", "old")], ""),
        (&header, vec![("x-token", "Bearer t0ken")], "x-token holds a wrong token"),
        (&header, vec![("x-token", "")], "x-token holds a wrong token"),
        (&header, vec![("authorization", "Bearer t0ken")], "x-token is missing"),
    ] {
        assert_eq!(judged(verify, &headers, BODY), said, "{verify} {headers:?}");
    }
}

#[test]
fn a_user_needs_name_and_password() {
    let basic = json!({"basic": {"username": "hook", "password": "a:b"}});
    let wrong = "authorization holds a wrong username or password";
    for (user, said) in [
        ("hook:a:b", ""),
        ("hook:a", wrong),
        ("hook:", wrong),
        ("other:a:b", wrong),
        (":a:b", wrong),
        ("hook", "authorization holds no password"),
    ] {
        let written = format!("basic {}", BASE64.encode(user));
        assert_eq!(judged(&basic, &[("authorization", &written)], BODY), said, "{user}");
    }
    for (written, said) in
        [("Bearer x", "authorization is not basic"), ("Basic !!", "authorization is not base64")]
    {
        assert_eq!(judged(&basic, &[("authorization", written)], BODY), said);
    }
    assert_eq!(judged(&basic, &[], BODY), "authorization is missing");
}

#[test]
fn who_asks_for_no_proof_gets_none() {
    assert_eq!(judged(&json!({"none": {"reason": "behind the VPN"}}), &[], BODY), "");
}

#[test]
fn a_challenge_names_the_scheme() {
    for (verify, challenge) in [
        (json!({"token": {"token": "t"}}), Some("Bearer")),
        (json!({"token": {"header": "X-Token", "token": "t"}}), None),
        (
            json!({"basic": {"username": "u", "password": "p"}}),
            Some(r#"Basic realm="webhook", charset="UTF-8""#),
        ),
        (hmac(json!({})), None),
    ] {
        let refusal = checked(&verify).unwrap().head(&Request::head(&head(&[]), NOW)).unwrap_err();
        let given = refusal.response.headers().get(header::WWW_AUTHENTICATE);
        assert_eq!(given.map(|value| value.to_str().unwrap()), challenge, "{verify}");
    }
}

#[test]
fn what_would_let_anybody_in_is_refused_at_check() {
    for (verify, said) in [
        (json!({}), "missing-verify verify"),
        (json!({"none": {"reason": "x"}, "token": {"token": "t"}}), "ambiguous-verify verify"),
        (json!({"none": {"reason": " "}}), "missing-reason verify.none.reason"),
        (hmac(json!({"secret": ""})), "empty-secret verify.hmac.secret"),
        (hmac(json!({"secret": []})), "empty-secret verify.hmac.secret"),
        (hmac(json!({"secret": ["a", ""]})), "empty-secret verify.hmac.secret[1]"),
        (hmac(json!({"header": "X Signature"})), "bad-header-name verify.hmac.header"),
        (json!({"token": {"token": ""}}), "empty-secret verify.token.token"),
        (json!({"token": {"token": ["", "a"]}}), "empty-secret verify.token.token[0]"),
        (json!({"token": {"token": "a", "header": ""}}), "bad-header-name verify.token.header"),
        (json!({"basic": {"username": "u", "password": ""}}), "empty-secret verify.basic.password"),
        (json!({"basic": {"username": "u:v", "password": "p"}}), "bad-username verify.basic.username"),
    ] {
        let problems = checked(&verify).err().unwrap_or_default();
        assert_eq!(places(&problems), [said], "{verify}");
    }
}

mod key_sets;
mod message_signatures;
mod schemes;
