//! What a handshake is in a file, and what is wrong with it.

use std::collections::BTreeMap;

use ::http::{Method, StatusCode};
use karez_api::{Checker, Json, Path, Problem};
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::verify::{AddressSpec, Algorithm, BodyPath, Encoding, Mac, Message};
use super::super::{checked_method, header_name};
use super::payload::{self, Payload, template};
use super::{Condition, Handshake, Headers, Of, Secrets};

/// A request that is answered here, and how.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct HandshakeSpec {
    /// Whether the request has to be verified like any other: `after` (the default), or `before` if it carries no proof.
    #[serde(default)]
    verification: Stage,
    /// Its method. Default: POST.
    method: Option<String>,
    /// What has to be true of it; all of these.
    #[serde(rename = "match")]
    conditions: Vec<ConditionSpec>,
    /// The query parameter that has to be equal to the `verify_token` of `verify`; else the answer is 403.
    verify_token: Option<String>,
    /// What `{hmac}` in the answer is.
    hmac: Option<HmacSpec>,
    /// The address in the request that is fetched before it is answered, to confirm it. The request has to be verified.
    visit: Option<AddressSpec>,
    /// What of it is a secret that the sender made up, like `{body:token}`. It is handed over to the operator, and the
    /// request is answered only while `verify` is `pending`.
    hand_over: Option<String>,
    /// What is logged as a warning when it comes.
    warning: Option<String>,
    /// What is answered.
    answer: AnswerSpec,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    Before,
    #[default]
    After,
}

/// Something about one header, query parameter or field of the body.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConditionSpec {
    /// A header.
    header: Option<String>,
    /// A query parameter.
    query: Option<String>,
    /// A field of the body, like `event.type`.
    body: Option<String>,
    /// What it has to be: text, a number, true or false. Default: anything, it only has to be there.
    is: Option<Json>,
    /// It has to be missing. Default: false.
    #[serde(default)]
    absent: bool,
}

/// A keyed hash with the first secret of `verify`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HmacSpec {
    /// `sha1`, `sha256` or `sha512`.
    algorithm: Algorithm,
    /// What is hashed, like `{query:token}` or `{body:token}`.
    of: String,
    /// How it is written. Default: `hex`.
    #[serde(default)]
    encoding: Encoding,
}

/// Texts may hold `{body:FIELD}`, `{query:NAME}`, `{header:NAME}` and `{hmac}`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AnswerSpec {
    /// Its status. Default: 200.
    #[serde(default = "ok")]
    status: u16,
    /// Headers beside the content type.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A body of plain text. Default: none.
    text: Option<String>,
    /// A JSON body, in place of `text`.
    json: Option<Json>,
}

fn ok() -> u16 {
    200
}

impl HandshakeSpec {
    pub(in super::super) fn wants_verify_token(&self) -> bool {
        self.verify_token.is_some()
    }

    /// Whether it is answered only while the file waits for its secret.
    pub(in super::super) fn hands_over(&self) -> bool {
        self.hand_over.is_some()
    }

    /// In words.
    pub(in super::super) fn shown(&self) -> String {
        let method = self.method.as_deref().unwrap_or("POST");
        let conditions: Vec<String> = self.conditions.iter().map(ConditionSpec::shown).collect();
        let unverified = if self.verification == Stage::Before { ", not signed" } else { "" };
        let visited = if self.visit.is_some() { " and a visit to the address in it" } else { "" };
        let handed =
            if self.hand_over.is_some() { " while pending, with the secret in it handed over" } else { "" };
        let answer = self.answer.shown();
        format!("{method} with {}{unverified}: {answer}{visited}{handed}", conditions.join(" and "))
    }

    pub(super) fn check(self, cx: &Checker<'_>, at: &Path, with: &Secrets<'_>) -> Option<Handshake> {
        let method = match self.method.as_deref() {
            None => Method::POST,
            // Some only look whether somebody is there.
            Some("HEAD") => Method::HEAD,
            Some(name) => checked_method(cx, &at.field("method"), name)?,
        };
        let match_at = at.field("match");
        if self.conditions.is_empty() {
            cx.report(Problem::error("missing-match", match_at, "every request would be answered so"));
            return None;
        }
        let conditions = self.conditions.into_iter().enumerate();
        let conditions: Option<Vec<_>> =
            conditions.map(|(index, spec)| spec.check(cx, &match_at.index(index))).collect();
        let token = match (self.verify_token, with.verify_token) {
            (None, _) => None,
            (Some(parameter), Some(token)) => Some((parameter, token.clone())),
            // Reported where the token is missing.
            (Some(_), None) => return None,
        };
        let hmac = match self.hmac {
            None => None,
            Some(spec) => Some(spec.check(cx, &at.field("hmac"), with)?),
        };
        let visit = match &self.visit {
            None => None,
            Some(_) if self.verification == Stage::Before => {
                let message = "anybody could have an address fetched: `verification` has to be `after`";
                cx.report(Problem::error("unverified-visit", at.field("visit"), message).on_key());
                return None;
            }
            Some(spec) => Some(spec.check(cx, &at.field("visit"))?),
        };
        let hand_over = match self.hand_over {
            None => None,
            Some(_) if self.verification == Stage::After => {
                let message = "without its secret nothing is verified: `verification` has to be `before`";
                cx.report(Problem::error("verified-hand-over", at.field("hand_over"), message).on_key());
                return None;
            }
            Some(text) => Some(template(cx, &at.field("hand_over"), &text)?),
        };
        let (status, headers, body) = self.answer.check(cx, &at.field("answer"))?;
        Some(Handshake {
            stage: self.verification,
            method,
            conditions: conditions?,
            token,
            hmac,
            status,
            headers,
            body,
            visit,
            hand_over,
            warning: self.warning,
        })
    }
}

impl ConditionSpec {
    fn shown(&self) -> String {
        let place = match (&self.header, &self.query, &self.body) {
            (Some(name), ..) => format!("header {name}"),
            (_, Some(name), _) => format!("query parameter {name}"),
            (.., name) => format!("field {}", name.as_deref().unwrap_or_default()),
        };
        match &self.is {
            _ if self.absent => format!("no {place}"),
            Some(Json::String(is)) => format!("{place} = {is}"),
            Some(is) => format!("{place} = {is}"),
            None => place,
        }
    }

    fn check(self, cx: &Checker<'_>, at: &Path) -> Option<Condition> {
        let of = match (self.header, self.query, self.body) {
            (Some(name), None, None) => Of::Header(header_name(cx, &at.field("header"), &name)?),
            (None, Some(name), None) => Of::Query(name),
            (None, None, Some(path)) => Of::Field(
                BodyPath::parse(&path)
                    .map_err(|what| cx.report(Problem::error("bad-field", at.field("body"), what)))
                    .ok()?,
            ),
            _ => {
                let message = "it looks at exactly one of header, query and body";
                cx.report(Problem::error("ambiguous-place", at.clone(), message));
                return None;
            }
        };
        if self.absent && self.is.is_some() {
            cx.report(Problem::error("ambiguous-match", at.clone(), "what is absent has no value"));
            return None;
        }
        Some(Condition { of, is: self.is, absent: self.absent })
    }
}

impl HmacSpec {
    fn check(self, cx: &Checker<'_>, at: &Path, with: &Secrets<'_>) -> Option<(Mac, Message, Encoding)> {
        let Some(secret) = with.secrets.first() else {
            cx.report(Problem::error("missing-secret", at.clone(), "`verify` has no secret to hash with"));
            return None;
        };
        let message = template(cx, &at.field("of"), &self.of)?;
        Some((Mac::new(self.algorithm, secret.as_bytes())?, message, self.encoding))
    }
}

impl AnswerSpec {
    fn shown(&self) -> String {
        let body = match (&self.text, &self.json) {
            (Some(text), _) => format!(" {text}"),
            (_, Some(json)) => format!(" {json}"),
            _ => String::new(),
        };
        let headers = self.headers.iter().map(|(name, value)| format!(", {name}: {value}"));
        format!("{}{body}{}", self.status, headers.collect::<String>())
    }

    fn check(self, cx: &Checker<'_>, at: &Path) -> Option<(StatusCode, Headers, Payload)> {
        let status = StatusCode::from_u16(self.status).ok().filter(|status| status.is_success());
        if status.is_none() {
            cx.report(Problem::error("bad-status", at.field("status"), "it is not from 200 to 299"));
        }
        let headers: Option<Vec<_>> = self
            .headers
            .iter()
            .map(|(name, text)| {
                let place = at.field("headers").field(name);
                Some((header_name(cx, &place, name)?, template(cx, &place, text)?))
            })
            .collect();
        let body = match (self.text, self.json) {
            (None, None) => Payload::None,
            (Some(text), None) => Payload::Text(template(cx, &at.field("text"), &text)?),
            (None, Some(json)) => Payload::Json(payload::tree(cx, &at.field("json"), json)?),
            (Some(_), Some(_)) => {
                cx.report(Problem::error("ambiguous-answer", at.clone(), "keep one of text and json"));
                return None;
            }
        };
        Some((status?, headers?, body))
    }
}
