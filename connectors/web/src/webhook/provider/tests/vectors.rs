//! The vectors of the providers' documentation, their SDKs and their tests, each against the catalogue.

use super::*;
use crate::testing::NOW;

#[derive(serde::Deserialize)]
pub(super) struct Vector {
    pub(super) id: String,
    provider: String,
    kind: String,
    scheme: String,
    pub(super) secret: String,
    secret_encoding: String,
    pub(super) secrets: Option<Json>,
    pub(super) method: String,
    pub(super) url: Option<String>,
    pub(super) headers: std::collections::BTreeMap<String, String>,
    pub(super) body: String,
    pub(super) now: Option<u64>,
    tolerance_s: Option<u64>,
    pub(super) expected_signature: Option<String>,
    pub(super) valid: bool,
    #[serde(default)]
    extra: Json,
    expect_response: Option<Json>,
    event_id: Option<String>,
    event_type: Option<String>,
}

/// Those that cannot pass yet, and why. This list only gets shorter.
const LEFT: [(&str, &str); 1] = [("msgraph-clientstate", "a delivery is taken or refused as a whole")];

/// Where a delivery is known by something else than the vector says, and why.
const KNOWN_OTHERWISE: [(&str, &str); 3] = [
    ("sendgrid-ok", "a delivery is a list of events: known by its hash until it is split"),
    ("auth0-logstream", "a delivery is a list of events: known by its hash until it is split"),
    ("adyen-payments", "the outcome is part of the id, as a later one is another event"),
];

pub(super) fn vectors() -> Vec<Vector> {
    let text = include_str!("../../../../../../tests/fixtures/webhooks/vectors.json");
    serde_json::from_str(text).unwrap()
}

impl Vector {
    /// What the catalogue calls its scheme.
    pub(super) fn name(&self) -> &str {
        match (&*self.provider, &*self.scheme) {
            ("x-twitter", _) => "x",
            ("aws-sns", _) if !self.valid => "sns",
            ("gitlab", "static-token") => "gitlab-token",
            ("hubspot", "hubspot-v1") => "hubspot-v1",
            ("adyen", "hmac-sha256-base64-hexkey") => "adyen-platform",
            ("standard-webhooks", _) if self.secret_encoding == "whpk-base64" => "standard-webhooks-ed25519",
            (provider, _) => provider,
        }
    }

    fn settings(&self) -> Json {
        let verify = match self.name() {
            // Their certificates come by an address; here it stands in the file.
            "generic" | "paypal" | "aws-sns" | "http-message-signatures" => self.own(),
            name @ ("asana" | "notion") if self.kind == "handshake" => {
                json!({"provider": name, "pending": {"secret": name}})
            }
            name => self.of_provider(name),
        };
        let mut settings = json!({"path": "/orders", "verify": verify, "methods": [self.method]});
        let signs_url = ["twilio", "square", "hubspot", "http-message-signatures"].contains(&&*self.provider);
        if let Some(url) = self.url.as_ref().filter(|_| signs_url) {
            settings["public_url"] = json!(url.split('?').next());
        }
        if self.kind == "handshake" {
            settings["methods"] = json!(["POST"]);
        }
        settings
    }

    fn of_provider(&self, name: &str) -> Json {
        let provider = find(name).unwrap_or_else(|| panic!("{} is no provider of the catalogue", self.id));
        let secret = self.secrets.clone().unwrap_or_else(|| json!(self.secret));
        let mut verify = json!({"provider": name});
        if provider.wants_verify_token() {
            verify["verify_token"] = json!(self.secret);
        }
        if let Some(key) = provider.verify().needs().setting() {
            verify[key] = if self.secret.is_empty() { json!("not looked at") } else { secret };
        }
        if !provider.parameters().is_empty() {
            verify["parameters"] = json!({"topics": "any"});
        }
        let has_time = provider.verify().tolerance().is_some();
        match (self.now, self.tolerance_s) {
            (Some(_), Some(seconds)) if has_time => verify["tolerance"] = json!(format!("{seconds}s")),
            (None, _) if has_time => verify["tolerance"] = json!("3650d"),
            _ => {}
        }
        verify
    }

    fn own(&self) -> Json {
        let (header, secret) = (&self.extra["header"], &self.secret);
        match &*self.scheme {
            "static-token" => json!({"token": {"header": header, "token": secret}}),
            "basic" => {
                let (username, password) = secret.split_once(':').unwrap();
                json!({"basic": {"username": username, "password": password}})
            }
            "rfc9421" => json!({"message_signature": {
                "algorithm": "hmac-sha256", "secret": secret, "secret_encoding": "base64", "tolerance": "3650d",
                "components": ["date", "@authority", "content-type"],
            }}),
            "jwt-hs256" => json!({"jwt": {
                "algorithm": "HS256", "header": header, "secret": secret, "issuer": self.extra["iss"],
                "body_claim": self.extra["body_claim"], "body_claim_encoding": "base64",
            }}),
            "paypal-rsa" => {
                let webhook = self.extra["webhook_id"].as_str().unwrap();
                let (id, time) = ("{header:PAYPAL-TRANSMISSION-ID}", "{header:PAYPAL-TRANSMISSION-TIME}");
                let message = format!("{id}|{time}|{webhook}|{{crc32}}");
                json!({"rsa": {"header": "PAYPAL-TRANSMISSION-SIG", "message": message, "key": secret}})
            }
            "sns" => {
                let algorithm = if self.id.ends_with("v1") { "sha1" } else { "sha256" };
                let names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];
                let message: String = names.map(|name| format!("{name}\n{{body:{name}}}\n")).concat();
                json!({"rsa": {"algorithm": algorithm, "body": "Signature", "message": message, "key": secret}})
            }
            _ => {
                let (algorithm, encoding) = (&self.extra["alg"], &self.extra["enc"]);
                json!({"hmac": {"algorithm": algorithm, "header": header, "encoding": encoding, "secret": secret}})
            }
        }
    }

    fn sent(&self) -> Sent {
        let query = self.url.as_ref().and_then(|url| url.split_once('?')).map(|(_, query)| query.to_owned());
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Sent { method: Some(self.method.clone()), query, headers, body: self.body.clone() }
    }

    fn judge(&self, outcome: &Outcome, is_of_the_catalogue: bool) {
        let id = &self.id;
        let (status, handshake) = (outcome.response.status(), self.kind == "handshake");
        let said = String::from_utf8_lossy(outcome.response.body());
        if let Some(expected) = &self.expect_response {
            assert_eq!(status, expected["status"].as_u64().unwrap() as u16, "{id}: {said}");
            self.judge_answer(expected, &outcome.response);
        }
        match (self.valid, handshake) {
            (true, true) => assert_eq!(outcome.answered, ["handshake"], "{id}: {said}"),
            (true, false) => {
                assert!(status.is_success() && outcome.record.is_some(), "{id}: {status} {said}");
                if is_of_the_catalogue {
                    self.judge_names(outcome.record.as_ref().unwrap());
                }
            }
            (false, true) => assert_eq!(
                (outcome.refused.as_slice(), said.contains("1158")),
                (["handshake"].as_slice(), false),
                "{id}"
            ),
            (false, false) => {
                assert_eq!(status, 401, "{id}: {said}");
                assert!(["signature", "timestamp"].contains(&outcome.refused[0]), "{id}");
            }
        }
        assert_eq!(outcome.record.is_some(), self.valid && !handshake, "{id}");
    }

    fn judge_answer(&self, expected: &Json, response: &Response) {
        let id = &self.id;
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
        if let Some(content_type) = expected["content_type"].as_str() {
            assert_eq!(header("content-type"), Some(content_type), "{id}");
        }
        for (name, value) in expected["headers"].as_object().into_iter().flatten() {
            assert_eq!(header(name), value.as_str(), "{id}");
        }
        if let Some(body) = expected["body"].as_str() {
            assert_eq!(response.body(), body, "{id}");
        }
        if !expected["json"].is_null() {
            let body: Json = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body, expected["json"], "{id}");
        }
    }

    fn judge_names(&self, record: &Record) {
        if KNOWN_OTHERWISE.iter().any(|(id, _)| *id == self.id) {
            return;
        }
        let meta = record.meta();
        if self.event_id.is_some() {
            assert_eq!(meta.delivery_id.as_deref(), self.event_id.as_deref(), "{}", self.id);
        }
        if self.event_type.is_some() {
            assert_eq!(meta.event_type.as_deref(), self.event_type.as_deref(), "{}", self.id);
        }
    }
}

#[tokio::test]
async fn every_vector_is_judged_as_its_provider_says() {
    let mut judged = 0;
    for vector in vectors() {
        if LEFT.iter().any(|(id, _)| *id == vector.id) {
            continue;
        }
        let now = vector.now.map_or(NOW, |seconds| Millis(seconds * 1_000));
        let settings = vector.settings();
        let is_of_the_catalogue = settings["verify"]["provider"].is_string();
        match vector.sent().to(settings, now).await {
            Ok(outcome) => vector.judge(&outcome, is_of_the_catalogue),
            Err(problems) => {
                // A secret that lets anybody in does not even load; nor does a shared one where a key is due.
                let codes: Vec<_> = problems.iter().map(|problem| problem.code).collect();
                assert!(!vector.valid && codes == ["empty-secret"], "{}: {problems:?}", vector.id);
            }
        }
        judged += 1;
    }
    assert_eq!(judged + LEFT.len(), 96);
}

#[test]
fn what_is_left_is_a_vector() {
    let ids: Vec<String> = vectors().into_iter().map(|vector| vector.id).collect();
    for (id, _) in LEFT.iter().chain(&KNOWN_OTHERWISE) {
        assert!(ids.iter().any(|known| known == id), "{id}");
    }
}
