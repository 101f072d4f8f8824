//! Requests signed by the product itself: what it signs is what the providers' own vectors say, and is let in.

use karez_api::Secret;
use x509_cert::der::pem::{LineEnding, encode_string};

use super::vectors::vectors;
use super::*;
use crate::testing::NOW;
use crate::webhook::trial::{Call, Trial, Verdict};

const URL: &str = "https://hooks.example.com/webhooks/orders";

fn pem(der: &[u8]) -> Secret {
    Secret::new(encode_string("PRIVATE KEY", LineEnding::LF, der).unwrap())
}

/// A private key, as `openssl genpkey` writes it.
fn private_key(scheme: &str) -> Secret {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
    let random = SystemRandom::new();
    match scheme.split('-').next() {
        Some("Ed25519") => pem(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()),
        Some("RSA") => Secret::new(include_str!("../../../../../../tests/fixtures/webhooks/rsa-key.pem")),
        _ => pem(EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap().as_ref()),
    }
}

fn trial(provider: &'static Provider) -> Trial {
    let shown = provider.description();
    let secret = match &*shown.key {
        text if text.starts_with("base64") => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        text if text.starts_with("hex") => "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056",
        _ => "s3cret",
    };
    // Airtable's has no such word before it.
    let secret = if shown.key == "base64" { &secret["whsec_".len()..] } else { secret };
    let by_secret = shown.takes == Some("secret");
    Trial {
        provider,
        secrets: if by_secret { vec![Secret::new(secret)] } else { Vec::new() },
        keys: Vec::new(),
        parameters: shown.parameters.into_keys().map(|name| (name, "a".to_owned())).collect(),
        private_key: (!by_secret).then(|| private_key(&shown.scheme)),
        verify_token: None,
    }
}

fn call(provider: &Provider) -> Call {
    let form = provider.description().signed.is_some_and(|signed| signed.contains("sorted_form"));
    let (content_type, body) = match provider.name() {
        "adyen" => {
            ("application/json", r#"{"notificationItems":[{"NotificationRequestItem":{"success":"true"}}]}"#)
        }
        "microsoft-graph" => ("application/json", r#"{"value":[{"id":1},{"id":2}]}"#),
        _ if form => ("application/x-www-form-urlencoded", "From=%2B1&Body=a%20b"),
        _ => ("application/json", r#"{"id":"evt_1"}"#),
    };
    let headers = vec![("content-type".to_owned(), content_type.to_owned())];
    Call { method: "POST".into(), url: format!("{URL}?a=b"), headers, body: body.into() }
}

#[test]
fn what_is_signed_here_is_let_in_until_it_is_touched_or_old() {
    // Nobody should sign with RSA and SHA-1 any more.
    for provider in providers().filter(|provider| provider.description().scheme != "RSA-SHA1") {
        let name = provider.name();
        let mut trial = trial(provider);
        let signed = trial.sign(&call(provider), NOW).unwrap_or_else(|error| panic!("{name}: {error}"));
        if let Some(pem) = trial.private_key.take() {
            trial.keys = vec![provider.verify().private_key(pem.expose()).unwrap().public()];
        }
        let judged =
            |call: &Call, now| trial.judge(call, now).unwrap_or_else(|error| panic!("{name}: {error}"));
        let verdict = judged(&signed, NOW);
        assert!(matches!(verdict, Verdict::Accepted(_)), "{name}: {verdict:?} of {signed:?}");
        if provider.description().window.is_some() {
            for now in [NOW.0 - 4 * 86_400_000, NOW.0 + 4 * 86_400_000] {
                assert!(matches!(judged(&signed, Millis(now)), Verdict::Refused { .. }), "{name}: at {now}");
            }
        }
        if provider.description().signed.is_some_and(|signed| signed.contains("{body}")) {
            let touched = Call { body: [&*signed.body, b" "].concat().into(), ..signed };
            let verdict = judged(&touched, NOW);
            let Verdict::Refused { hint, .. } = &verdict else { panic!("{name}: {verdict:?}") };
            assert!(!hint.is_empty(), "{name}");
        }
    }
}

#[test]
fn codes_are_those_of_the_vectors() {
    let mut compared = 0;
    for vector in vectors() {
        let (Some(expected), Some(provider)) = (&vector.expected_signature, find(vector.name())) else {
            continue;
        };
        let shown = provider.description();
        // A list of secrets is signed with its first; of two addresses that fit only one is signed.
        if !vector.valid
            || shown.takes != Some("secret")
            || vector.secrets.is_some()
            || vector.id == "twilio-port"
        {
            continue;
        }
        let id = &vector.id;
        let trial = Trial { secrets: vec![Secret::new(&*vector.secret)], ..trial(provider) };
        let headers = vector.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let call = Call {
            method: vector.method.clone(),
            url: vector.url.clone().unwrap_or_else(|| URL.into()),
            headers,
            body: vector.body.clone().into(),
        };
        let now = vector.now.map_or(NOW, |seconds| Millis(seconds * 1_000));
        let at = match trial.judge(&call, now).unwrap() {
            Verdict::Accepted(delivery) => delivery.signed_at.unwrap_or(now),
            _ => continue,
        };
        let signed = trial.sign(&call, at).unwrap_or_else(|error| panic!("{id}: {error}"));
        let whole = format!("{:?} {} {}", signed.headers, signed.url, String::from_utf8_lossy(&signed.body));
        assert!(whole.contains(&**expected), "{id}: no {expected} in {whole}");
        compared += 1;
    }
    assert!(compared >= 30, "{compared}");
}

#[test]
fn odd_requests_are_looked_into_without_harm_and_without_secrets() {
    let odd: [&[u8]; 9] = [
        b"",
        b"\xff\xfe",
        b"{",
        b"\"",
        b"{\"a\":\"\\",
        b"[]",
        b"{\"a\":\"\\ud800\"}",
        b"\xef\xbb\xbf{}",
        b"a%=&%zz=1",
    ];
    for provider in providers() {
        let name = provider.name();
        let trial = trial(provider);
        let keys = trial.private_key.as_ref().map(|pem| provider.verify().private_key(pem.expose()));
        let keys = keys.and_then(Result::ok).map(|key| key.public()).into_iter().collect();
        let trial = Trial { private_key: None, keys, ..trial };
        let values = ["", "v1=", "t=1,v1=00", "\u{fc}", "v0=AAAA"].into_iter().cycle();
        for (body, value) in odd.into_iter().zip(values) {
            let mut call =
                Call { body: body.to_vec().into(), url: format!("{URL}?%zz&a=%ff"), ..call(provider) };
            let names = provider.verify().header_names();
            call.headers.extend(names.into_iter().map(|name| (name, value.to_owned())));
            // Keys that would have to be fetched are named in an error.
            let Ok(verdict) = trial.judge(&call, NOW) else { continue };
            let Verdict::Refused { why, hint, .. } = &verdict else {
                panic!("{name}: {verdict:?} of {call:?}")
            };
            let mut secrets = trial.secrets.iter().map(Secret::expose);
            let shown = secrets.find(|secret| why.contains(secret) || hint.contains(secret));
            assert_eq!(shown, None, "{name}: {why} {hint}");
        }
    }
}
