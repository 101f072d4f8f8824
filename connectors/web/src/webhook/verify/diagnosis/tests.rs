use ::http::Request as HttpRequest;
use serde_json::json;

use super::super::{Draft, Verifier, Wanted, With};
use super::*;
use crate::testing::NOW;
use karez_api::Json;

const BODY: &str = "{\"id\":\"evt_1\",\"name\":\"Žofia\"}";
const URL: &str = "https://hooks.example.com/webhooks/orders";

/// What goes wrong between a sender and its receiver.
struct Mishap {
    /// How the sender signs.
    sender: Json,
    /// How the receiver reads it.
    receiver: Json,
    sent: &'static str,
    arrives: &'static str,
    /// What the two believe the address to be.
    urls: (Option<&'static str>, Option<&'static str>),
    query: (&'static str, &'static str),
    /// Of the clock of the sender, in seconds.
    late: i64,
    hint: &'static str,
}

fn mishap(sender: Json, receiver: Json, hint: &'static str) -> Mishap {
    Mishap {
        sender,
        receiver,
        sent: BODY,
        arrives: BODY,
        urls: (None, None),
        query: ("a=b", "a=b"),
        late: 0,
        hint,
    }
}

fn same(verify: &Json, hint: &'static str) -> Mishap {
    mishap(verify.clone(), verify.clone(), hint)
}

/// `verify: {hmac: …}` with a few settings of its own.
fn hmac(settings: Json) -> Json {
    let mut whole = json!({"algorithm": "sha256", "header": "X-Signature", "secret": "s3cret"});
    whole.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    json!({ "hmac": whole })
}

fn stripe(secret: Json) -> Json {
    json!({"provider": "stripe", "secret": secret})
}

fn verifier(verify: &Json, url: Option<&str>) -> Verifier {
    let verify: Verify = serde_json::from_value(verify.clone()).unwrap();
    let public_url = url.map(|url| PublicUrl::parse(url).unwrap());
    apart::check(|cx| verify.check(cx, Wanted { public_url, verify_token: false }))
        .unwrap_or_else(|found| panic!("{found:?}"))
}

impl Mishap {
    fn judged(&self) -> String {
        let now = Millis(NOW.0.checked_add_signed(self.late * 1_000).unwrap());
        let mut draft = Draft {
            method: ::http::Method::POST,
            query: Some(self.query.0.into()),
            headers: Default::default(),
            body: Bytes::from(self.sent),
        };
        verifier(&self.sender, self.urls.0).sign(&mut draft, With { now, key: None }).unwrap();
        let mut parts =
            HttpRequest::post(format!("/webhooks/orders?{}", self.query.1)).body(()).unwrap().into_parts().0;
        parts.headers = draft.headers;
        parts.headers.insert("host", "hooks.example.com".parse().unwrap());
        let body = if self.sent == self.arrives { draft.body } else { self.arrives.into() };
        let shared = Body::from_bytes(Form::Opaque, body.clone());
        let refusal = verifier(&self.receiver, self.urls.1)
            .verify(&Request::whole(&parts, &shared, NOW), &Known::default());
        let denied = refusal.err().unwrap_or_else(|| panic!("let in: {}", self.hint));
        let Denied::Refused(refusal) = denied else { panic!("a key is missing") };
        let verify = serde_json::from_value(self.receiver.clone()).unwrap();
        let case = Case::new(verify, self.urls.1.map(str::to_owned));
        case.explain(&refusal, &Asked { parts: &parts, body: Some(body), known: &Known::default(), now: NOW })
            .hint
    }
}

#[test]
fn what_often_goes_wrong_is_named() {
    let plain = hmac(json!({}));
    let square = json!({"provider": "square", "secret": "s3cret"});
    let old = json!(["new", {"secret": "old", "not_after": "2026-11-01T00:00:00Z"}]);
    let whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let of_base64 = |text: &str| hmac(json!({"secret": text, "secret_encoding": "base64"}));
    let changed = |sent, arrives, hint| Mishap { sent, arrives, ..same(&plain, hint) };
    let address = |sent, known, hint| Mishap { urls: (Some(sent), Some(known)), ..same(&square, hint) };
    let mishaps = [
        mishap(stripe(json!("old")), stripe(old), "the secret whose not_after was 2026-11-01T00:00:00Z"),
        mishap(hmac(json!({"algorithm": "sha1"})), plain.clone(), "it fits with algorithm: sha1"),
        mishap(hmac(json!({"encoding": "base64"})), plain.clone(), "it fits with encoding: base64"),
        mishap(hmac(json!({"prefix": "sha256="})), plain.clone(), "it fits with prefix: \"sha256=\""),
        mishap(plain.clone(), hmac(json!({"prefix": "v1="})), "it fits with prefix: \"\""),
        mishap(
            hmac(json!({"algorithm": "sha512", "encoding": "base64"})),
            plain.clone(),
            "algorithm: sha512 and encoding: base64",
        ),
        mishap(
            of_base64("czNjcmV0czNjcmV0"),
            hmac(json!({"secret": "czNjcmV0czNjcmV0"})),
            "decoded as base64",
        ),
        mishap(
            hmac(json!({"secret": "czNjcmV0czNjcmV0"})),
            of_base64("czNjcmV0czNjcmV0"),
            "taken as the text that it is",
        ),
        mishap(
            hmac(json!({"secret": "00ff00ff", "secret_encoding": "hex"})),
            hmac(json!({"secret": "00ff00ff"})),
            "decoded as hex",
        ),
        mishap(
            hmac(json!({"secret": whsec, "secret_encoding": "base64", "secret_prefix": "whsec_"})),
            hmac(json!({"secret": whsec})),
            "decoded as base64 behind its whsec_",
        ),
        mishap(hmac(json!({"secret": whsec})), of_base64(&whsec[6..]), "nothing that often goes wrong"),
        mishap(
            plain.clone(),
            hmac(json!({"secret": " s3cret\n"})),
            "written without the white space around it",
        ),
        mishap(plain.clone(), hmac(json!({"secret": "\"s3cret\""})), "written without the quotes around it"),
        mishap(hmac(json!({"secret": "s3cret\n"})), plain.clone(), "with a line break at its end"),
        mishap(stripe(json!("other")), stripe(json!("s3cret")), "nothing that often goes wrong explains it"),
        Mishap { late: -400, ..same(&stripe(json!("s3cret")), "one of the two clocks is off by as much") },
        mishap(
            hmac(
                json!({"message": "{timestamp}{body}", "timestamp": {"header": "X-Time", "unit": "milliseconds"}}),
            ),
            hmac(json!({"message": "{timestamp}{body}", "timestamp": {"header": "X-Time"}})),
            "a time in milliseconds: set its `unit`",
        ),
        changed("{\"id\": 1}\n", "{\"id\": 1}", "fits the body with a line break at its end"),
        changed("{\"id\": 1}", "{\"id\": 1}\n", "fits the body without its last line break"),
        changed("a\nb\n", "a\r\nb\r\n", "with LF in place of CRLF"),
        changed("{\"a\":1,\"b\":[]}", "{\n  \"a\": 1,\n  \"b\": []\n}", "as JSON without spaces"),
        changed("{\"a\": 1, \"b\": []}", "{\"a\":1,\"b\":[]}", "as JSON with a space after , and :"),
        changed("{\"a\":\"\\u017d\"}", "{\"a\":\"Ž\"}", "as JSON without spaces, with \\u escapes"),
        changed("{\"id\":1}", "{\"id\":2}", "nothing that often goes wrong explains it"),
        address(
            "http://hooks.example.com/webhooks/orders",
            URL,
            "signed http://hooks.example.com/webhooks/orders: write public_url: http://",
        ),
        address(
            URL,
            "https://hooks.example.com:8443/webhooks/orders",
            "write public_url: https://hooks.example.com/",
        ),
        address(
            URL,
            "https://hooks.example.com/webhooks/orders/",
            "write public_url: https://hooks.example.com/webhooks/orders",
        ),
        address(
            URL,
            "https://elsewhere.example.com/",
            "the sender signed https://hooks.example.com/webhooks/orders:",
        ),
        Mishap {
            urls: (Some(URL), Some(URL)),
            query: ("a=[b]", "a=%5Bb%5D"),
            ..same(&square, "the sender signed the address with the query unescaped")
        },
        mishap(
            json!({"provider": "svix", "secret": whsec}),
            json!({"provider": "stripe", "secret": whsec}),
            "in the way of gitlab or standard-webhooks or svix",
        ),
        mishap(
            json!({"token": {"header": "Authorization", "token": "t"}}),
            json!({"token": {"header": "Authorization", "token": "t "}}),
            "written without the white space around it",
        ),
        mishap(
            json!({"token": {"token": "t"}}),
            json!({"token": {"header": "Authorization", "token": "t"}}),
            "it stands behind the word Bearer: leave `header` out",
        ),
        mishap(
            json!({"jwt": {"algorithm": "HS256", "secret": "czNjcmV0", "secret_encoding": "base64"}}),
            json!({"jwt": {"algorithm": "HS256", "secret": "czNjcmV0"}}),
            "decoded as base64",
        ),
    ];
    let mut wrong = Vec::new();
    for (index, mishap) in mishaps.iter().enumerate() {
        let said = mishap.judged();
        if !said.contains(mishap.hint) {
            wrong.push(format!("{index}: {:?} is not in {said:?}", mishap.hint));
        }
        let secret =
            ["s3cret", "whsec_Mf", "czNjcm", "00ff00ff"].iter().find(|secret| said.contains(**secret));
        assert_eq!(secret, None, "{index}: {said}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_head_that_lacks_its_code_is_told_by_what_it_has() {
    let said = |headers: &[(&str, &str)]| {
        let request = headers
            .iter()
            .fold(HttpRequest::post("/"), |request, (name, value)| request.header(*name, *value));
        let parts = request.body(()).unwrap().into_parts().0;
        let verify = serde_json::from_value(stripe(json!("s3cret"))).unwrap();
        let asked = Asked { parts: &parts, body: None, known: &Known::default(), now: NOW };
        let refusal = verifier(&stripe(json!("s3cret")), None).head(&Request::head(&parts, NOW));
        Case::new(verify, None).explain(&refusal.err().unwrap(), &asked).hint
    };
    assert!(said(&[]).contains("carries no signature"));
    assert_eq!(said(&[("linear-signature", "x")]), "the request looks like one of linear");
    assert!(said(&[("x-my-hmac", "x")]).contains("carries x-my-hmac in its place"));
    assert_eq!(said(&[("stripe-signature", "v1=00")]), "", "that it has the wrong length is said already");
}

#[test]
fn a_large_body_is_not_written_anew() {
    let text = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size));
    let said = |size: usize| {
        let text: &'static str = text(size).leak();
        let arrives = format!("{text}\n").leak();
        Mishap { sent: text, arrives, ..same(&hmac(json!({})), "") }.judged()
    };
    assert!(said(LARGEST_REWRITTEN / 2).contains("without its last line break"));
    assert!(said(LARGEST_REWRITTEN).contains("nothing that often goes wrong"));
}
