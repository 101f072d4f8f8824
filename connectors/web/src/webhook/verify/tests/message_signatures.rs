//! Signatures over parts of a message (RFC 9421), made by a small signer that shares nothing with what checks them.

use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PSS_SHA512,
};
use sha2::{Digest as _, Sha256, Sha512};

use super::*;
use crate::testing::{CERTIFICATE, rsa_key, signed_with_rsa};

const SECONDS: u64 = NOW.0 / 1_000;
const URL: &str = "https://Hooks.example:443/webhooks/orders";
const SENT: &str = r#"{"id":"evt_1"}"#;

fn digest(body: &str) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// A request before it is signed.
#[derive(Clone)]
struct Message {
    method: &'static str,
    query: &'static str,
    headers: Vec<(&'static str, String)>,
    body: &'static str,
}

impl Message {
    fn new() -> Self {
        let headers = vec![("content-digest", digest(SENT)), ("x-id", " a ".into()), ("x-id", "b".into())];
        Self { method: "POST", query: "?a=b", headers, body: SENT }
    }

    fn line(&self, name: &str) -> String {
        match name {
            "@method" => self.method.into(),
            "@target-uri" => format!("{URL}{}", self.query),
            "@authority" => "hooks.example".into(),
            "@path" => "/webhooks/orders".into(),
            "@query" => self.query.into(),
            "@request-target" => format!("/webhooks/orders{}", self.query),
            "@scheme" => "https".into(),
            _ => {
                let lines = self.headers.iter().filter(|(header, _)| *header == name);
                lines.map(|(_, value)| value.trim()).collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// With the headers of a signature that covers these.
    fn signed(mut self, covered: &[&str], params: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let list: Vec<String> = covered.iter().map(|name| format!("{name:?}")).collect();
        let input = format!("({}){params}", list.join(" "));
        let lines: String = covered.iter().map(|name| format!("{name:?}: {}\n", self.line(name))).collect();
        let code = STANDARD.encode(sign(format!("{lines}\"@signature-params\": {input}").as_bytes()));
        self.headers.push(("signature-input", format!("sig1={input}")));
        self.headers.push(("signature", format!("sig1=:{code}:")));
        self
    }

    fn header(mut self, name: &str, change: impl Fn(&str) -> String) -> Self {
        for (_, value) in self.headers.iter_mut().filter(|(header, _)| *header == name) {
            *value = change(value);
        }
        self
    }
}

/// Nothing if it is let in; a head that is refused is refused with its body too.
fn said(verify: &Json, message: &Message) -> String {
    let spec: Verify = serde_json::from_value(verify.clone()).unwrap();
    let wanted = Wanted { public_url: Some(PublicUrl::parse(URL).unwrap()), verify_token: false };
    let verifier = File::default().check(|cx| spec.check(cx, wanted)).unwrap();
    let request = ::http::Request::builder().method(message.method).uri(format!("/in{}", message.query));
    let request = message.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
    let (head, ()) = request.body(()).unwrap().into_parts();
    let body = Body::from_bytes(Form::Json, message.body.into());
    let why = |refusal: Refusal| {
        let said: Json = serde_json::from_slice(refusal.response.body()).unwrap();
        said["error"].as_str().unwrap().to_owned()
    };
    let early = verifier.head(&Request::head(&head, NOW)).map_err(why).err();
    let whole = verifier.verify(&Request::whole(&head, &body, NOW), &Known::default());
    let whole = whole.map_err(|denied| why(refusal(denied))).err().unwrap_or_default();
    assert!(early.is_none_or(|early| early == whole));
    whole
}

fn mac(base: &[u8]) -> Vec<u8> {
    Mac::new(Algorithm::Sha256, b"s3cret").unwrap().code(&[base.into()])
}

fn hmac(own: Json) -> Json {
    let mut whole = json!({"algorithm": "hmac-sha256", "secret": "s3cret"});
    for (key, value) in own.as_object().unwrap() {
        whole[key] = value.clone();
    }
    json!({"message_signature": whole})
}

const COVERED: [&str; 3] = ["@method", "@target-uri", "content-digest"];

fn created() -> String {
    format!(";created={SECONDS}")
}

#[test]
fn each_algorithm_lets_its_own_signatures_in() {
    let random = SystemRandom::new();
    let ed25519 = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let ecdsa = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let pss = |base: &[u8]| {
        let mut code = vec![0; 256];
        rsa_key().sign(&RSA_PSS_SHA512, &random, base, &mut code).unwrap();
        code
    };
    type Sign<'s> = Box<dyn Fn(&[u8]) -> Vec<u8> + 's>;
    let ways: [(&str, &str, Json, Sign<'_>); 5] = [
        ("hmac-sha256", "secret", json!(["new", "s3cret"]), Box::new(mac)),
        (
            "ed25519",
            "key",
            json!(hex::encode(ed25519.public_key())),
            Box::new(|base| ed25519.sign(base).as_ref().to_vec()),
        ),
        (
            "ecdsa-p256-sha256",
            "key",
            json!(hex::encode(ecdsa.public_key())),
            Box::new(|base| ecdsa.sign(&random, base).unwrap().as_ref().to_vec()),
        ),
        ("rsa-v1_5-sha256", "key", json!(CERTIFICATE), Box::new(signed_with_rsa)),
        ("rsa-pss-sha512", "key", json!(CERTIFICATE), Box::new(pss)),
    ];
    for (index, (algorithm, setting, key, sign)) in ways.iter().enumerate() {
        let verify = json!({"message_signature": {"algorithm": algorithm, *setting: key}});
        let message = Message::new().signed(&COVERED, &format!("{};alg={algorithm:?}", created()), sign);
        assert_eq!(said(&verify, &message), "", "{algorithm}");
        let (_, _, _, other) = &ways[(index + 1) % ways.len()];
        let forged = Message::new().signed(&COVERED, &created(), other);
        assert_eq!(said(&verify, &forged), "signature does not match the request", "{algorithm}");
    }
}

#[test]
fn all_that_is_covered_counts() {
    let every = [
        "@method",
        "@target-uri",
        "@authority",
        "@scheme",
        "@path",
        "@query",
        "@request-target",
        "x-id",
        "content-digest",
    ];
    let right = Message::new().signed(&every, &format!("{};nonce=\"n\\\"1\";tag=\"t\"", created()), mac);
    let wrong = "signature does not match the request";
    let header =
        |name: &str, from: &str, to: &str| right.clone().header(name, |value| value.replace(from, to));
    for (message, expected) in [
        (right.clone(), ""),
        (Message { method: "PUT", ..right.clone() }, wrong),
        (Message { query: "?a=c", ..right.clone() }, wrong),
        (Message { query: "", ..right.clone() }, wrong),
        (header("x-id", "b", "c"), wrong),
        (header("content-digest", "sha-256", "sha-512"), wrong),
        (header("signature-input", "tag=\"t\"", "tag=\"u\""), wrong),
        (header("signature-input", " \"x-id\"", ""), wrong),
        (
            Message { body: r#"{"id":"evt_2"}"#, ..right.clone() },
            "content-digest is not the hash of the body",
        ),
        (Message { headers: vec![], ..right.clone() }, "signature-input is missing"),
        (header("signature-input", "sig1", "sig2"), "signature-input holds no signature that counts here"),
        (header("signature", ":", "\""), "signature-input holds no signature that counts here"),
        (header("signature", ":", "?"), "signature is no dictionary"),
        (header("signature-input", "(", "["), "signature-input is no dictionary"),
    ] {
        assert_eq!(said(&hmac(json!({})), &message), expected, "{:?}", message.headers);
    }
    let doubled = [right.headers.clone(), vec![("signature", "sig1=:AAAA:".into())]].concat();
    assert_eq!(said(&hmac(json!({})), &Message { headers: doubled, ..right }), "signature stands twice");
}

#[test]
fn what_the_file_asks_for_has_to_be_covered() {
    let lacks = |name: &str| format!("signature-input does not cover {name}");
    for (own, covered, expected) in [
        (json!({}), &COVERED[..], String::new()),
        (json!({}), &["content-digest", "@authority", "@method"], String::new()),
        (json!({}), &["@target-uri", "content-digest"], lacks("@method")),
        (json!({}), &["@method", "content-digest"], lacks("@target-uri or @authority")),
        (json!({}), &["@method", "@target-uri"], lacks("content-digest")),
        (json!({"components": ["x-id"]}), &["x-id"], String::new()),
        (json!({"components": ["x-id"]}), &["@method"], lacks("x-id")),
        (json!({"components": ["x-id"]}), &["x-id", "x-id"], "signature-input covers x-id twice".into()),
        (json!({"components": ["x-id"]}), &["x-id", "x-none"], "x-none is missing".into()),
        (json!({"components": ["x-id"]}), &["x-id", "X-Id"], "\"X-Id\" is covered, which is no field".into()),
        (
            json!({"components": ["x-id"]}),
            &["x-id", "@status"],
            "@status is covered, which is not known here".into(),
        ),
    ] {
        let message = Message::new().signed(covered, &created(), mac);
        assert_eq!(said(&hmac(own.clone()), &message), expected, "{own} {covered:?}");
    }
    let message = Message::new().signed(&COVERED, &created(), mac);
    let otherwise =
        message.header("signature-input", |input| input.replace("\"@method\"", "\"@method\";req"));
    let expected = "signature-input covers @method in a way that is not known here";
    assert_eq!(said(&hmac(json!({})), &otherwise), expected);
}

#[test]
fn a_signature_counts_for_its_time_its_key_and_its_algorithm() {
    let no_end = "the signature holds an end that is no time";
    let pinned = json!({"label": "sig1", "keyid": "k"});
    let other_key = "signature-input names another key than the file";
    for (own, params, expected) in [
        (json!({}), format!(";created={}", SECONDS - 300), ""),
        (json!({}), format!(";created={}", SECONDS - 301), "the timestamp is 301 s old, which is too old"),
        (json!({}), format!(";created={}", SECONDS + 300), ""),
        (
            json!({}),
            format!(";created={}", SECONDS + 301),
            "the timestamp is 301 s ahead of our clock, which is too far",
        ),
        (
            json!({"future": "10s"}),
            format!(";created={}", SECONDS + 11),
            "the timestamp is 11 s ahead of our clock, which is too far",
        ),
        (json!({"tolerance": "1h"}), format!(";created={}", SECONDS - 3_600), ""),
        (json!({}), String::new(), "the signature does not say when it was made"),
        (json!({}), ";created=\"now\"".into(), "the signature does not say when it was made"),
        (json!({}), format!("{};expires={}", created(), SECONDS), ""),
        (json!({}), format!("{};expires={}", created(), SECONDS - 1), "the signature has expired"),
        (json!({}), format!("{};expires=\"never\"", created()), no_end),
        (
            json!({}),
            format!("{};alg=\"none\"", created()),
            "signature-input names another algorithm than the file",
        ),
        (
            json!({}),
            format!("{};alg=hmac-sha256", created()),
            "signature-input names another algorithm than the file",
        ),
        (pinned.clone(), format!("{};keyid=\"k\"", created()), ""),
        (pinned.clone(), format!("{};keyid=\"l\"", created()), other_key),
        (pinned, created(), other_key),
        (json!({"label": "sig2"}), created(), "signature-input holds no signature that counts here"),
        (json!({"secret": "other"}), created(), "signature does not match the request"),
    ] {
        let message = Message::new().signed(&COVERED, &params, mac);
        assert_eq!(said(&hmac(own.clone()), &message), expected, "{own} {params}");
    }
}

#[test]
fn of_several_signatures_one_has_to_be_right() {
    let right = Message::new().signed(&COVERED, &created(), mac);
    let before = |name: &'static str, own: &'static str| {
        move |value: &str| match name {
            "first" => format!("{own}, {value}"),
            _ => format!("{value}, {own}"),
        }
    };
    for order in ["first", "last"] {
        let message = right
            .clone()
            .header(
                "signature-input",
                before(order, r#"other=("@method" "@authority" "content-digest");created=1"#),
            )
            .header("signature", before(order, "other=:AAAA:"));
        assert_eq!(said(&hmac(json!({})), &message), "", "{order}");
    }
}

#[test]
fn a_digest_is_of_the_body_in_each_way_that_is_known() {
    let sha512 = format!("sha-512=:{}:", STANDARD.encode(Sha512::digest(SENT)));
    let wrong = "content-digest is not the hash of the body";
    for (value, expected) in [
        (digest(SENT), ""),
        (sha512.clone(), ""),
        (format!("md5=:AAAA:, {sha512}"), ""),
        (format!("{}, {sha512}", digest("{}")), wrong),
        ("sha-256=:AAAA:".into(), wrong),
        ("sha-256=abc".into(), wrong),
        ("md5=:AAAA:".into(), "content-digest holds neither sha-256 nor sha-512"),
    ] {
        let message = Message::new().header("content-digest", |_| value.clone());
        assert_eq!(said(&hmac(json!({})), &message.signed(&COVERED, &created(), mac)), expected, "{value}");
    }
}

/// RFC 9421 §B.2.6.
#[test]
fn the_example_of_the_standard_is_right() {
    let verify = json!({"message_signature": {
        "algorithm": "ed25519", "key": "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=", "tolerance": "3650d",
        "components": ["date", "@method", "@path", "@authority", "content-type", "content-length"],
    }});
    let spec: Verify = serde_json::from_value(verify).unwrap();
    let wanted = Wanted {
        public_url: Some(PublicUrl::parse("https://example.com/foo").unwrap()),
        verify_token: false,
    };
    let verifier = File::default().check(|cx| spec.check(cx, wanted)).unwrap();
    for (date, right) in [("Tue, 20 Apr 2021 02:07:55 GMT", true), ("Tue, 20 Apr 2021 02:07:56 GMT", false)] {
        let head = head(&[
            ("date", date),
            ("content-type", "application/json"),
            ("content-length", "18"),
            (
                "signature-input",
                r#"sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
            ),
            (
                "signature",
                "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
            ),
        ]);
        let body = Body::from_bytes(Form::Json, r#"{"hello": "world"}"#.into());
        assert_eq!(verifier.verify(&Request::whole(&head, &body, NOW), &Known::default()).is_ok(), right);
    }
}

#[test]
fn what_is_wrong_with_the_settings_is_said_at_its_place() {
    let check = |verify: &Json, public_url: Option<&str>| {
        let spec: Verify = serde_json::from_value(verify.clone()).unwrap();
        let public_url = public_url.map(|url| PublicUrl::parse(url).unwrap());
        let found = File::default().check(|cx| spec.check(cx, Wanted { public_url, verify_token: false }));
        places(&found.err().unwrap_or_default())
    };
    let at = "verify.message_signature";
    for (own, url, expected) in [
        (json!({}), None, format!("missing-public-url {at}")),
        (json!({"components": ["date"]}), None, String::new()),
        (json!({"components": []}), Some(URL), format!("missing-components {at}.components")),
        (json!({"components": ["Date"]}), Some(URL), format!("bad-component {at}.components[0]")),
        (json!({"components": ["date", "@status"]}), Some(URL), format!("bad-component {at}.components[1]")),
        (json!({"secret": ""}), Some(URL), format!("empty-secret {at}.secret")),
        (json!({"key": "k"}), Some(URL), format!("misplaced-setting {at}.key")),
        (json!({"algorithm": "ed25519"}), Some(URL), format!("misplaced-setting {at}.secret")),
    ] {
        assert_eq!(check(&hmac(own.clone()), url).join(" "), expected, "{own}");
    }
}
