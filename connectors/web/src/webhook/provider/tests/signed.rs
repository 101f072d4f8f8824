//! Each provider of the catalogue, with requests signed by a small signer that shares nothing with
//! what checks them: one that is right, and those that must fail.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac as _};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::testing::{CERTIFICATE, NOW, signed_with_rsa};

/// How a provider signs, as its documentation says. `B` is the body, `T` the time, `U` the address with the query.
struct Row {
    provider: &'static str,
    secret: &'static str,
    code: Code,
    /// What is signed.
    signed: &'static str,
    /// `C` is the code.
    headers: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Code {
    /// HMAC with SHA-256; with the secret as text.
    Hex,
    Base64,
    /// With SHA-1.
    Sha1Hex,
    Sha1Base64,
    /// With the secret decoded.
    OfBase64,
    OfBase64Hex,
    OfHex,
    /// No HMAC.
    Hash,
    Ed25519Hex,
    Ed25519Base64,
    Ed25519Plain,
    Ecdsa,
    Rsa,
    /// A token with the hash of the body in this claim, signed with HS256.
    JwtHex(&'static str),
    JwtBase64(&'static str),
    /// Signed with ES256.
    JwtEs256(&'static str),
    /// The secret itself: the body is not signed.
    Token,
}

const URL: &str = "https://hooks.example.com/webhooks/orders";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const IN_HEX: &str = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056";

const ROWS: &[Row] = &[
    row("stripe", "whsec_abc", Code::Hex, "T.B", "Stripe-Signature: t=T,v1=C,v0=00"),
    row("github", "s3cret", Code::Hex, "B", "X-Hub-Signature-256: sha256=C"),
    row("slack", "s3cret", Code::Hex, "v0:T:B", "X-Slack-Signature: v0=C|X-Slack-Request-Timestamp: T"),
    row("shopify", "s3cret", Code::Base64, "B", "X-Shopify-Hmac-Sha256: C"),
    row(
        "standard-webhooks",
        WHSEC,
        Code::OfBase64,
        "m.T.B",
        "webhook-id: m|webhook-timestamp: T|webhook-signature: v1,C v2,x",
    ),
    row(
        "standard-webhooks-ed25519",
        "",
        Code::Ed25519Base64,
        "m.T.B",
        "webhook-id: m|webhook-timestamp: T|webhook-signature: v1a,C",
    ),
    row("svix", WHSEC, Code::OfBase64, "m.T.B", "svix-id: m|svix-timestamp: T|svix-signature: v1,C"),
    row(
        "gitlab",
        WHSEC,
        Code::OfBase64,
        "m.T.B",
        "webhook-id: m|webhook-timestamp: T|webhook-signature: v1,C",
    ),
    row("gitlab-token", "s3cret", Code::Token, "", "X-Gitlab-Token: C"),
    row(
        "sendgrid",
        "",
        Code::Ecdsa,
        "TB",
        "X-Twilio-Email-Event-Webhook-Signature: C|X-Twilio-Email-Event-Webhook-Timestamp: T",
    ),
    row("discord", "", Code::Ed25519Hex, "TB", "X-Signature-Ed25519: C|X-Signature-Timestamp: T"),
    row("zoom", "s3cret", Code::Hex, "v0:T:B", "x-zm-signature: v0=C|x-zm-request-timestamp: T"),
    row("meta", "s3cret", Code::Hex, "B", "X-Hub-Signature-256: sha256=C"),
    row("linear", "s3cret", Code::Hex, "B", "Linear-Signature: C"),
    row("intercom", "s3cret", Code::Sha1Hex, "B", "X-Hub-Signature: sha1=C"),
    row(
        "hubspot",
        "s3cret",
        Code::Base64,
        "POSTUBT",
        "X-HubSpot-Signature-v3: C|X-HubSpot-Request-Timestamp: T",
    ),
    row("hubspot-v1", "s3cret", Code::Hash, "SB", "X-HubSpot-Signature: C|X-HubSpot-Signature-Version: v1"),
    row(
        "hubspot-v2",
        "s3cret",
        Code::Hash,
        "SPOSTUB",
        "X-HubSpot-Signature: C|X-HubSpot-Signature-Version: v2",
    ),
    row("square", "s3cret", Code::Base64, "UB", "X-Square-HmacSha256-Signature: C"),
    row(
        "twilio",
        "s3cret",
        Code::Sha1Base64,
        "UBodyaidevt",
        "X-Twilio-Signature: C|Content-Type: application/x-www-form-urlencoded",
    ),
    row(
        "mandrill",
        "s3cret",
        Code::Sha1Base64,
        "UBodyaidevt",
        "X-Mandrill-Signature: C|Content-Type: application/x-www-form-urlencoded",
    ),
    row("trello", "s3cret", Code::Sha1Base64, "BU", "X-Trello-Webhook: C"),
    row("adyen", IN_HEX, Code::OfHex, "psp::acc:ref:1130:EUR:AUTHORISATION:true", ""),
    row("adyen-platform", IN_HEX, Code::OfHex, "B", "HmacSignature: C"),
    row("mailgun", "s3cret", Code::Hex, "Ttok", ""),
    row("docusign", "s3cret", Code::Base64, "B", "X-DocuSign-Signature-1: AAAA|X-DocuSign-Signature-7: C"),
    row("dropbox", "s3cret", Code::Hex, "B", "X-Dropbox-Signature: C"),
    row("paddle", "s3cret", Code::Hex, "T:B", "Paddle-Signature: ts=T;h1=00;h1=C"),
    row("pagerduty", "s3cret", Code::Hex, "B", "X-PagerDuty-Signature: v1=00,v1=C"),
    row("sentry", "s3cret", Code::Hex, "B", "Sentry-Hook-Signature: C"),
    row("typeform", "s3cret", Code::Base64, "B", "Typeform-Signature: sha256=C"),
    row("calendly", "s3cret", Code::Hex, "T.B", "Calendly-Webhook-Signature: t=T,v1=C"),
    row(
        "zendesk",
        "s3cret",
        Code::Base64,
        "TB",
        "X-Zendesk-Webhook-Signature: C|X-Zendesk-Webhook-Signature-Timestamp: T",
    ),
    row("okta", "s3cret", Code::Token, "", "Authorization: C"),
    row("auth0", "Bearer t", Code::Token, "", "Authorization: C"),
    row("microsoft-graph", "s3cret", Code::Token, "", ""),
    row("jira", "s3cret", Code::Hex, "B", "X-Hub-Signature: sha256=C"),
    row("bitbucket", "s3cret", Code::Hex, "B", "X-Hub-Signature: sha256=C"),
    row("asana", "s3cret", Code::Hex, "B", "X-Hook-Signature: C"),
    row(
        "box",
        "s3cret",
        Code::Base64,
        "BT",
        "BOX-SIGNATURE-PRIMARY: C|BOX-SIGNATURE-SECONDARY: AAAA|BOX-DELIVERY-TIMESTAMP: T|BOX-SIGNATURE-VERSION: 1|BOX-SIGNATURE-ALGORITHM: HmacSHA256",
    ),
    row("notion", "s3cret", Code::Hex, "B", "X-Notion-Signature: sha256=C"),
    row("x", "s3cret", Code::Base64, "B", "x-twitter-webhooks-signature: sha256=C"),
    row("airtable", "czNjcmV0", Code::OfBase64Hex, "B", "X-Airtable-Content-MAC: hmac-sha256=C"),
    row("vercel", "s3cret", Code::Sha1Hex, "B", "x-vercel-signature: C"),
    row("webflow", "s3cret", Code::Hex, "T:B", "x-webflow-signature: C|x-webflow-timestamp: T"),
    row("netlify", "s3cret", Code::JwtHex("sha256"), "TB", "X-Webhook-Signature: C"),
    row(
        "fusionauth",
        "s3cret",
        Code::JwtBase64("request_body_sha256"),
        "TB",
        "X-FusionAuth-Signature-JWT: C",
    ),
    row("livekit", "s3cret", Code::JwtBase64("sha256"), "TB", "Authorization: C"),
    row("plaid", "", Code::JwtEs256("request_body_sha256"), "TB", "Plaid-Verification: C"),
    row("vonage", "s3cret", Code::JwtHex("payload_hash"), "TB", "Authorization: Bearer C"),
    row("wise", "", Code::Rsa, "B", "X-Signature-SHA256: C"),
    row("highlevel", "", Code::Ed25519Plain, "B", "X-GHL-Signature: C"),
    row("highlevel-rsa", "", Code::Rsa, "B", "X-WH-Signature: C"),
    row("freshchat", "", Code::Rsa, "B", "X-Freshchat-Signature: C"),
    row("ringcentral", "s3cret", Code::Token, "", "Verification-Token: C"),
    row("salesforce", "s3cret", Code::Token, "", ""),
    row("elevenlabs", "s3cret", Code::Hex, "T.B", "ElevenLabs-Signature: t=T,v0=C"),
];

const fn row(
    provider: &'static str,
    secret: &'static str,
    code: Code,
    signed: &'static str,
    headers: &'static str,
) -> Row {
    Row { provider, secret, code, signed, headers }
}

impl Row {
    /// Whether its requests carry a time.
    fn has_time(&self) -> bool {
        find(self.provider).unwrap().verify().tolerance().is_some()
    }

    fn body(&self, time: &str, code: &str) -> String {
        match self.provider {
            "twilio" | "mandrill" => "id=evt&Body=a".into(),
            "linear" => format!(r#"{{"webhookTimestamp":{time}}}"#),
            "mailgun" => format!(r#"{{"signature":{{"timestamp":"{time}","token":"tok","signature":"{code}"}}}}"#),
            "microsoft-graph" => format!(r#"{{"value":[{{"clientState":"{code}"}},{{"clientState":"{code}"}}]}}"#),
            "adyen" => json!({"notificationItems": [{"NotificationRequestItem": {
                "pspReference": "psp", "merchantAccountCode": "acc", "merchantReference": "ref", "success": "true",
                "amount": {"value": 1130, "currency": "EUR"}, "eventCode": "AUTHORISATION",
                "additionalData": {"hmacSignature": code},
            }}]})
            .to_string(),
            _ => r#"{"id":"evt_1"}"#.into(),
        }
    }

    /// As the provider writes it.
    fn time(&self, seconds: u64) -> String {
        match self.provider {
            "linear" | "hubspot" | "webflow" => (seconds * 1_000).to_string(),
            "zendesk" | "box" => {
                jiff::Timestamp::from_second(seconds.try_into().unwrap()).unwrap().to_string()
            }
            _ => seconds.to_string(),
        }
    }

    fn sent(&self, keys: &Keys, seconds: u64) -> Sent {
        let time = self.time(seconds);
        let signed = match self.provider {
            "mailgun" => format!("{time}tok"),
            // What the form's parts are, in order.
            "twilio" | "mandrill" => format!("{URL}?a=bBodyaidevt"),
            "adyen" => self.signed.to_owned(),
            _ => self.filled_in(&time),
        };
        let code = self.code.of(keys, self.secret, signed.as_bytes());
        let line = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            let value = match value {
                "C" => code.clone(),
                "T" => time.clone(),
                // The time first: a code may begin with any letter.
                _ => value
                    .replace("=T", &format!("={time}"))
                    .replace("=C", &format!("={code}"))
                    .replace(",C", &format!(",{code}"))
                    .replace("Bearer C", &format!("Bearer {code}")),
            };
            (name.to_owned(), value)
        };
        let headers = self.headers.split('|').filter(|line| !line.is_empty()).map(line).collect();
        let query = match self.provider {
            "salesforce" => format!("token={code}"),
            _ => "a=b".into(),
        };
        Sent { method: None, query: Some(query), headers, body: self.body(&time, &code) }
    }

    /// Letter by letter, so that nothing put in is looked at again.
    fn filled_in(&self, time: &str) -> String {
        let template = self.signed.replace("POST", "\u{1}");
        template
            .chars()
            .map(|letter| match letter {
                'B' => self.body(time, ""),
                'T' => time.to_owned(),
                'U' => format!("{URL}?a=b"),
                'S' => self.secret.to_owned(),
                '\u{1}' => "POST".to_owned(),
                other => other.to_string(),
            })
            .collect()
    }

    fn settings(&self, secret: &str) -> Json {
        let provider = find(self.provider).unwrap();
        let mut verify = json!({"provider": self.provider});
        if let Some(key) = provider.verify().needs().setting() {
            verify[key] = json!(secret);
        }
        if provider.wants_verify_token() {
            verify["verify_token"] = json!("my-token");
        }
        let mut settings = json!({"path": "/orders", "verify": verify});
        if self.signed.contains('U') && self.provider != "adyen" {
            settings["public_url"] = json!(URL);
        }
        settings
    }
}

/// The keys of those that sign with one.
struct Keys {
    ed25519: Ed25519KeyPair,
    ecdsa: EcdsaKeyPair,
    /// The same key, for signatures as JWT has them.
    fixed: EcdsaKeyPair,
}

impl Keys {
    fn new(seed: u8) -> Self {
        let random = SystemRandom::new();
        let algorithm = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self {
            ed25519: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(),
            ecdsa: EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap(),
            fixed: EcdsaKeyPair::from_pkcs8(
                &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                pkcs8.as_ref(),
                &random,
            )
            .unwrap(),
        }
    }
}

impl Code {
    fn of(self, keys: &Keys, secret: &str, signed: &[u8]) -> String {
        let sha256 = |key: &[u8]| {
            Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(signed).finalize().into_bytes()
        };
        let sha1 = |key: &[u8]| {
            Hmac::<Sha1>::new_from_slice(key).unwrap().chain_update(signed).finalize().into_bytes()
        };
        let of_base64 = || STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
        match self {
            Self::Hex => hex::encode(sha256(secret.as_bytes())),
            Self::Base64 => STANDARD.encode(sha256(secret.as_bytes())),
            Self::Sha1Hex => hex::encode(sha1(secret.as_bytes())),
            Self::Sha1Base64 => STANDARD.encode(sha1(secret.as_bytes())),
            Self::OfBase64 => STANDARD.encode(sha256(&of_base64())),
            Self::OfBase64Hex => hex::encode(sha256(&of_base64())),
            Self::OfHex => STANDARD.encode(sha256(&hex::decode(secret).unwrap())),
            Self::Hash => hex::encode(Sha256::digest(signed)),
            Self::Ed25519Hex => hex::encode(keys.ed25519.sign(signed)),
            Self::Ed25519Base64 => STANDARD.encode(keys.ed25519.sign(signed)),
            Self::Ecdsa => STANDARD.encode(keys.ecdsa.sign(&SystemRandom::new(), signed).unwrap()),
            Self::Ed25519Plain => STANDARD.encode(keys.ed25519.sign(signed)),
            Self::Rsa => STANDARD.encode(signed_with_rsa(signed)),
            Self::JwtHex(claim) => self.token(keys, secret, claim, signed, |hash| hex::encode(hash)),
            Self::JwtBase64(claim) => self.token(keys, secret, claim, signed, |hash| STANDARD.encode(hash)),
            Self::JwtEs256(claim) => self.token(keys, secret, claim, signed, |hash| hex::encode(hash)),
            Self::Token => secret.to_owned(),
        }
    }

    /// `signed` is the time and then the body.
    fn token(
        self,
        keys: &Keys,
        secret: &str,
        claim: &str,
        signed: &[u8],
        written: impl Fn(&[u8]) -> String,
    ) -> String {
        let (time, body) = signed.split_at(10);
        let time: u64 = std::str::from_utf8(time).unwrap().parse().unwrap();
        let issuer = if claim == "payload_hash" { "Vonage" } else { "netlify" };
        let claims = json!({"iss": issuer, "iat": time, claim: written(&Sha256::digest(body))});
        let algorithm = if matches!(self, Self::JwtEs256(_)) { "ES256" } else { "HS256" };
        let part = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": algorithm})), part(&claims));
        let code = match self {
            Self::JwtEs256(_) => {
                keys.fixed.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec()
            }
            _ => {
                let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
                mac.chain_update(&signed).finalize().into_bytes().to_vec()
            }
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(code))
    }

    /// What stands in the file.
    fn key(self, keys: &Keys, secret: &str) -> String {
        match self {
            Self::Ed25519Hex => hex::encode(keys.ed25519.public_key()),
            Self::Ed25519Base64 => format!("whpk_{}", STANDARD.encode(keys.ed25519.public_key())),
            Self::Ed25519Plain => STANDARD.encode(keys.ed25519.public_key()),
            Self::Ecdsa | Self::JwtEs256(_) => STANDARD.encode(keys.ecdsa.public_key()),
            Self::Rsa => CERTIFICATE.into(),
            _ => secret.to_owned(),
        }
    }

    /// Another one of the same form.
    fn wrong_key(self, secret: &str) -> String {
        match self {
            Self::OfBase64 => "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into(),
            Self::OfBase64Hex => "AAAA".into(),
            Self::OfHex => "00".repeat(32),
            Self::Rsa => other_rsa_key(),
            _ => self.key(&Keys::new(2), &format!("{secret}-old")),
        }
    }
}

/// Of the vectors, whose signer is not here.
fn other_rsa_key() -> String {
    let vectors = include_str!("../../../../../../tests/fixtures/webhooks/vectors.json");
    let vectors: Vec<Json> = serde_json::from_str(vectors).unwrap();
    vectors.iter().find(|vector| vector["id"] == "paypal-ok").unwrap()["secret"].as_str().unwrap().into()
}

async fn judged(row: &Row, sent: &Sent, key: &str) -> Result<(), &'static str> {
    let outcome = sent
        .to(row.settings(key), NOW)
        .await
        .unwrap_or_else(|problems| panic!("{}: {problems:?}", row.provider));
    match (outcome.record, &*outcome.refused) {
        (Some(_), []) => {
            assert!(outcome.response.status().is_success(), "{}", row.provider);
            Ok(())
        }
        (None, [reason]) => {
            assert_eq!(outcome.response.status(), 401, "{}", row.provider);
            Err(reason)
        }
        (_, refused) => panic!("{}: {refused:?}", row.provider),
    }
}

#[tokio::test]
async fn what_a_provider_signed_is_let_in_and_nothing_else() {
    let keys = Keys::new(1);
    let now = NOW.0 / 1_000;
    for row in ROWS {
        let name = row.provider;
        let key = row.code.key(&keys, row.secret);
        let sent = row.sent(&keys, now);
        assert_eq!(judged(row, &sent, &key).await, Ok(()), "{name}: {:?} {}", sent.headers, sent.body);
        let wrong = row.code.wrong_key(row.secret);
        assert_eq!(judged(row, &sent, &wrong).await, Err("signature"), "{name}: another key");
        let bare = Sent { headers: Vec::new(), query: None, body: "{}".into(), ..sent.clone() };
        assert_eq!(judged(row, &bare, &key).await, Err("signature"), "{name}: nothing signed");
        if row.code == Code::Token {
            continue;
        }
        let tampered = Sent { body: tampered(name, &sent.body), ..sent.clone() };
        assert_eq!(judged(row, &tampered, &key).await, Err("signature"), "{name}: another body");
        if row.signed.contains('U') && name != "adyen" {
            let elsewhere = Sent { query: Some("a=c".into()), ..sent.clone() };
            assert_eq!(judged(row, &elsewhere, &key).await, Err("signature"), "{name}: another address");
        }
        if row.has_time() {
            for seconds in [now - 3_600, now + 3_600] {
                let sent = row.sent(&keys, seconds);
                assert_eq!(judged(row, &sent, &key).await, Err("timestamp"), "{name}: {seconds} of {now}");
            }
        }
    }
}

/// One letter of what is signed.
fn tampered(name: &str, body: &str) -> String {
    let (from, to) = match name {
        "mailgun" => ("tok", "tik"),
        "adyen" => ("1130", "1131"),
        "linear" => ("Timestamp", "timestamp"),
        _ => ("evt", "ev7"),
    };
    body.replace(from, to)
}

#[test]
fn every_provider_is_among_those_that_sign_here() {
    let certified = ["paypal", "sns", "sns-sha1"];
    let mut rows: Vec<&str> = ROWS.iter().map(|row| row.provider).chain(certified).collect();
    rows.sort_unstable();
    assert_eq!(rows, names());
}
