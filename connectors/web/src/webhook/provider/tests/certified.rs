//! Providers that name the certificate that they sign with, and publish it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;

use super::super::super::handshake::{Handshakes, Secrets};
use super::super::super::verify::{Denied, Fetched, Known, Missing, Request, Verified, Wanted};
use super::*;
use crate::testing::{
    CERTIFICATE, CERTIFICATE_OF_2025, CERTIFICATE_OF_2027, File, NOW, places, signed_with_rsa,
};

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:orders";
const CERTIFICATE_URL: &str = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b.pem";
const PAYPAL_URL: &str = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270";

fn sns() -> Json {
    json!({"provider": "sns", "parameters": {"topics": ["arn:other", TOPIC]}})
}

fn paypal() -> Json {
    json!({"provider": "paypal", "parameters": {"webhook_id": "WH-1"}})
}

fn checked(verify: &Json) -> Result<Verifier, Vec<Problem>> {
    let spec: Verify = serde_json::from_value(verify.clone()).unwrap();
    File::default().check(|cx| spec.check(cx, Wanted { public_url: None, verify_token: false }))
}

/// What proved it, what is missing, or why it is refused.
fn judged(verify: &Json, sent: &Sent, known: &Known) -> Result<Verified, Result<Missing, &'static str>> {
    let head = sent.head();
    let body = Body::from_bytes(Form::Json, sent.body.clone().into());
    let verdict = checked(verify).unwrap().verify(&Request::whole(&head.parts, &body, NOW), known);
    verdict.map_err(|denied| match denied {
        Denied::Missing(missing) => Ok(*missing),
        Denied::Refused(refusal) => Err(refusal.reason),
    })
}

/// With the certificate that it asks for, if it does.
fn with(verify: &Json, sent: &Sent, certificate: &str) -> Result<(), &'static str> {
    let missing = match judged(verify, sent, &Known::default()) {
        Err(Ok(missing)) => missing,
        Err(Err(reason)) => return Err(reason),
        Ok(_) => panic!("{verify}: let in without a key"),
    };
    let fetched = Fetched::read(&missing, certificate.as_bytes(), NOW).unwrap();
    let known = Known::default().with(missing.address.clone(), fetched);
    match judged(verify, sent, &known) {
        Ok(verified) => {
            assert_eq!(verified, Verified { secret: None, ..verified });
            Ok(())
        }
        Err(reason) => Err(reason.expect_err("it is known now")),
    }
}

fn time(seconds: i64) -> String {
    let now = i64::try_from(NOW.0 / 1_000).unwrap();
    jiff::Timestamp::from_second(now + seconds).unwrap().to_string()
}

fn message(kind: &str, seconds: i64) -> Json {
    let mut message = json!({
        "Type": kind, "MessageId": "m-1", "TopicArn": TOPIC, "Message": "{\"id\":\"evt_1\"}", "Timestamp": time(seconds),
        "SignatureVersion": "2", "SigningCertURL": CERTIFICATE_URL,
    });
    match kind {
        "Notification" => message["Subject"] = json!("news"),
        _ => {
            message["Token"] = json!("t0ken");
            message["SubscribeURL"] =
                json!("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t0ken");
        }
    }
    message
}

/// As the documentation says: the names in order, each with its value, a line each.
fn signed(mut message: Json) -> Sent {
    let names: &[&str] = match message["Type"].as_str() {
        Some("Notification") => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
        _ => &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
    };
    let line = |name: &&str| message[*name].as_str().map(|value| format!("{name}\n{value}\n"));
    let signed: String = names.iter().filter_map(line).collect();
    message["Signature"] = json!(STANDARD.encode(signed_with_rsa(signed.as_bytes())));
    Sent { body: message.to_string(), ..Sent::default() }
}

fn changed(sent: &Sent, name: &str, value: Json) -> Sent {
    let mut message: Json = serde_json::from_str(&sent.body).unwrap();
    message[name] = value;
    Sent { body: message.to_string(), ..sent.clone() }
}

#[test]
fn a_message_of_sns_is_signed_by_the_certificate_that_it_names() {
    let sent = signed(message("Notification", 0));
    let mut bare = message("Notification", 0);
    bare.as_object_mut().unwrap().shift_remove("Subject");
    for (sent, said) in [
        (sent.clone(), Ok(())),
        (signed(bare), Ok(())),
        (signed(message("SubscriptionConfirmation", 0)), Ok(())),
        (changed(&sent, "Message", json!("other")), Err("signature")),
        (changed(&sent, "Subject", json!("other")), Err("signature")),
        (changed(&sent, "Subject", Json::Null), Err("signature")),
        (changed(&sent, "Type", json!("SubscriptionConfirmation")), Err("signature")),
        (changed(&sent, "SubscribeURL", json!("https://a.example")), Err("signature")),
        (changed(&sent, "Signature", json!("AAAA")), Err("signature")),
        // The file says what is signed with, whatever the message says.
        (changed(&sent, "SignatureVersion", json!("1")), Ok(())),
        (changed(&sent, "UnsubscribeURL", json!("not signed")), Ok(())),
        (signed(message("Notification", -3_601)), Err("timestamp")),
        (signed(message("Notification", 301)), Err("timestamp")),
    ] {
        assert_eq!(with(&sns(), &sent, CERTIFICATE), said, "{}", sent.body);
    }
    let elsewhere = changed(&sent, "TopicArn", json!("arn:third"));
    assert_eq!(
        judged(&sns(), &elsewhere, &Known::default()),
        Err(Err("signature")),
        "nothing is fetched for it"
    );
    let others = json!({"provider": "sns", "parameters": {"topics": "arn:third"}});
    assert_eq!(with(&others, &sent, CERTIFICATE), Err("signature"));
}

#[test]
fn a_certificate_counts_in_its_time_only() {
    let sent = signed(message("Notification", 0));
    let chain = format!("{CERTIFICATE}{CERTIFICATE_OF_2025}");
    for (certificate, said) in [
        (CERTIFICATE, Ok(())),
        (&*chain, Ok(())),
        (CERTIFICATE_OF_2025, Err("signature")),
        (CERTIFICATE_OF_2027, Err("signature")),
    ] {
        assert_eq!(with(&sns(), &sent, certificate), said);
    }
    let missing = judged(&sns(), &sent, &Known::default()).unwrap_err().unwrap();
    for bytes in ["", "\n", "<html>", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Fetched::read(&missing, bytes.as_bytes(), NOW).is_err(), "{bytes}");
    }
}

/// Nothing is fetched from where the sender could not be.
#[test]
fn no_certificate_is_asked_for_that_is_not_the_senders() {
    let asks = |url: &str| {
        let sent = changed(&signed(message("Notification", 0)), "SigningCertURL", json!(url));
        judged(&sns(), &sent, &Known::default()).unwrap_err().map(|missing| missing.address)
    };
    for url in [
        CERTIFICATE_URL,
        "https://sns.cn-north-1.amazonaws.com.cn/a.pem",
        "https://sns.eu-west-1.amazonaws.com:443/a.pem",
    ] {
        assert_eq!(asks(url), Ok(Url::parse(url).unwrap()));
    }
    for url in [
        "https://sns.us-west-2.amazonaws.com.evil.example/x.pem",
        "https://evil.example/sns.us-west-2.amazonaws.com/x.pem",
        "https://evil.example\\@sns.us-west-2.amazonaws.com/x.pem",
        "https://sns.us-west-2.amazonaws.com@evil.example/x.pem",
        "https://user@sns.us-west-2.amazonaws.com/x.pem",
        "https://sns.us-west-2.amazonaws.com:8443/x.pem",
        "https://sns.us-west-2.amazonaws.com./x.pem",
        "https://sns.us-west-2.amazonaws.com/x.pem#y",
        "https://sns.us-west-2.amazonaws.com/x.txt",
        "https://sns.us-west-2.amazonaws.com/a/../x.pem/y",
        "https://s3.us-west-2.amazonaws.com/x.pem",
        "https://xsns.us-west-2.amazonaws.com/x.pem",
        "https://sns.us\nwest.example/x.pem",
        "http://sns.us-west-2.amazonaws.com/x.pem",
        "http://127.0.0.1/x.pem",
        "file:///etc/passwd.pem",
        "x.pem",
        "",
    ] {
        assert_eq!(asks(url), Err("signature"), "{url}");
    }
}

#[test]
fn an_event_of_paypal_is_signed_by_the_certificate_that_it_names() {
    let body = r#"{"id":"WH-evt","event_type":"PAYMENT.CAPTURE.COMPLETED"}"#;
    let event = |seconds: i64, webhook: &str, url: &str, algorithm: &str| {
        let time = time(seconds);
        let signed = format!("t-1|{time}|{webhook}|{}", crc32fast::hash(body.as_bytes()));
        let headers = [
            ("paypal-transmission-id", "t-1".to_owned()),
            ("paypal-transmission-time", time),
            ("paypal-transmission-sig", STANDARD.encode(signed_with_rsa(signed.as_bytes()))),
            ("paypal-cert-url", url.to_owned()),
            ("paypal-auth-algo", algorithm.to_owned()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Sent { headers, body: body.to_owned(), ..Sent::default() }
    };
    let right = event(0, "WH-1", PAYPAL_URL, "SHA256withRSA");
    for (sent, said) in [
        (right.clone(), Ok(())),
        (Sent { body: body.replace("evt", "ev7"), ..right.clone() }, Err("signature")),
        (event(0, "WH-2", PAYPAL_URL, "SHA256withRSA"), Err("signature")),
        (event(0, "WH-1", PAYPAL_URL, "SHA1withRSA"), Err("signature")),
        (
            event(0, "WH-1", "https://paypal.com.evil.example/v1/notifications/certs/C", "SHA256withRSA"),
            Err("signature"),
        ),
        (event(0, "WH-1", "https://api.paypal.com/redirect?to=x", "SHA256withRSA"), Err("signature")),
        (event(-3 * 86_400 - 1, "WH-1", PAYPAL_URL, "SHA256withRSA"), Err("timestamp")),
        (event(301, "WH-1", PAYPAL_URL, "SHA256withRSA"), Err("timestamp")),
    ] {
        assert_eq!(with(&paypal(), &sent, CERTIFICATE), said, "{:?}", sent.headers);
    }
    let doubled = [right.headers.clone(), vec![("paypal-cert-url".into(), PAYPAL_URL.into())]].concat();
    assert_eq!(with(&paypal(), &Sent { headers: doubled, ..right }, CERTIFICATE), Err("signature"));
}

/// Of the old topics, made with another implementation, in 2012.
#[test]
fn a_message_of_the_first_signature_version_is_let_in_where_the_file_says_so() {
    let vectors: Vec<Json> =
        serde_json::from_str(include_str!("../../../../../../tests/fixtures/webhooks/vectors.json")).unwrap();
    let vector = vectors.iter().find(|vector| vector["id"] == "sns-notification-v1").unwrap();
    let sent = Sent { body: vector["body"].as_str().unwrap().into(), ..Sent::default() };
    let certificate = vector["secret"].as_str().unwrap();
    let topics = json!({"topics": "arn:aws:sns:us-west-2:123456789012:MyTopic"});
    let verify = |provider| json!({"provider": provider, "parameters": topics});
    // Only who signed it is told that it is old.
    assert_eq!(with(&verify("sns-sha1"), &sent, certificate), Err("timestamp"));
    let tampered = changed(&sent, "Message", json!("Hello world?"));
    for (provider, sent, certificate) in
        [("sns", &sent, certificate), ("sns-sha1", &tampered, certificate), ("sns-sha1", &sent, CERTIFICATE)]
    {
        assert_eq!(with(&verify(provider), sent, certificate), Err("signature"), "{provider}");
    }
}

#[test]
fn what_a_provider_wants_to_know_is_asked_for() {
    for (verify, said) in [
        (json!({"provider": "sns"}), "missing-parameter verify.provider"),
        (json!({"provider": "sns", "parameters": {"topics": []}}), "missing-parameter verify.provider"),
        (
            json!({"provider": "paypal", "parameters": {"webhook_id": ""}}),
            "missing-parameter verify.provider",
        ),
        (
            json!({"provider": "paypal", "parameters": {"webhook_id": ["a", "b"]}}),
            "bad-message verify.provider.message",
        ),
        (
            json!({"provider": "github", "secret": "s", "parameters": {"topics": "a"}}),
            "unknown-parameter verify.parameters.topics",
        ),
        (
            json!({"provider": "sns", "secret": "s", "parameters": {"topics": "a"}}),
            "misplaced-setting verify.secret",
        ),
        (
            json!({"token": {"token": "t"}, "parameters": {"topics": "a"}}),
            "misplaced-setting verify.parameters",
        ),
    ] {
        let problems = checked(&verify).err().unwrap_or_default();
        assert_eq!(places(&problems), [said], "{verify}");
    }
}

/// A subscription is confirmed at Amazon and nowhere else, and its end is told.
#[test]
fn a_subscription_is_confirmed_where_it_was_made() {
    let with = Secrets { verify_token: None, secrets: &[], pending: false };
    for provider in ["sns", "sns-sha1"] {
        let of_provider = find(provider).unwrap().handshakes();
        let handshakes =
            File::default().check(|cx| Handshakes::check(cx, Vec::new(), of_provider, &with)).unwrap();
        let answered = |message: Json| {
            let sent = Sent { body: message.to_string(), ..Sent::default() };
            let (head, body) = (sent.head(), Body::from_bytes(Form::Json, sent.body.into()));
            let answered = handshakes.after(&Request::whole(&head.parts, &body, NOW))?;
            Some(
                answered
                    .map(|answered| (answered.visit.map(String::from), answered.warning.is_some()))
                    .map_err(drop),
            )
        };
        let mut message = message("SubscriptionConfirmation", 0);
        let url = message["SubscribeURL"].as_str().unwrap().to_owned();
        assert_eq!(answered(message.clone()), Some(Ok((Some(url), false))));
        for url in [
            "https://evil.example/?Action=ConfirmSubscription",
            "https://sns.eu-west-1.amazonaws.com/x?a",
            "http://127.0.0.1/",
        ] {
            message["SubscribeURL"] = json!(url);
            assert_eq!(answered(message.clone()), Some(Err(())), "{url}");
        }
        message["Type"] = json!("UnsubscribeConfirmation");
        assert_eq!(answered(message.clone()), Some(Ok((None, true))));
        message["Type"] = json!("Notification");
        assert_eq!(answered(message), None);
    }
}
