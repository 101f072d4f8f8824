//! `respond`: when the sender of a delivery that was taken is answered, and with what.

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use bytes::Bytes;
use karez_api::{Checker, Duration, Json, Path, Problem, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::header_name;
use super::provider::Answer;

const LONGEST_WAIT: std::time::Duration = std::time::Duration::from_secs(60);

/// `after_delivery`, or a map.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RespondSpec {
    When(When),
    Map(RespondMap),
}

/// When a delivery is answered: `stored` once its records are on disk, `after_delivery` once they have reached
/// their end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum When {
    #[default]
    Stored,
    AfterDelivery,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RespondMap {
    /// Default: `stored`.
    #[serde(default)]
    when: When,
    /// How long `after_delivery` waits; what is not delivered by then is answered with 202 and goes on. Default: 10s,
    /// at most 60s.
    timeout: Option<Duration>,
    /// The status, from 200 to 299. Default: what the provider wants, mostly 200.
    status: Option<u16>,
    /// Headers of the answer, by name.
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    /// The answer's body: a text, or a map or list that becomes JSON. Default: what became of the delivery, as JSON.
    body: Option<Json>,
}

/// A checked `respond`.
#[derive(Default)]
pub(super) struct Respond {
    /// How long the answer waits for the delivery's end.
    pub(super) wait: Option<std::time::Duration>,
    status: Option<StatusCode>,
    headers: HeaderMap,
    body: Option<Bytes>,
}

impl RespondSpec {
    pub(super) fn check(self, cx: &Checker<'_>) -> Option<Respond> {
        let map = match self {
            Self::Map(map) => map,
            Self::When(when) => RespondMap { when, ..RespondMap::default() },
        };
        map.check(cx)
    }
}

impl RespondMap {
    fn check(self, cx: &Checker<'_>) -> Option<Respond> {
        let at = Path::root().field("respond");
        let report = |field: &str, what: &str, help: &str| {
            cx.report(Problem::error("bad-value", at.field(field), what).help(help));
        };
        let wait = match (self.when, self.timeout) {
            (When::AfterDelivery, timeout) => {
                Some(timeout.map_or(std::time::Duration::from_secs(10), |timeout| timeout.0))
            }
            (When::Stored, None) => None,
            (When::Stored, Some(_)) => {
                report(
                    "timeout",
                    "nothing is waited for here",
                    "add when: after_delivery, or leave the timeout out",
                );
                return None;
            }
        };
        if wait.is_some_and(|wait| wait.is_zero() || wait > LONGEST_WAIT) {
            report("timeout", "must be above 0 and at most 60s", "senders give up sooner");
            return None;
        }
        let status = self.status.map(StatusCode::from_u16).transpose().ok().flatten();
        if self.status.is_some() && !status.is_some_and(|status| status.is_success()) {
            report("status", "a delivery that was taken is answered with 200 to 299", "like 202");
            return None;
        }
        let (headers, body) = self.content(cx, &at)?;
        Some(Respond { wait, status, headers, body })
    }

    fn content(self, cx: &Checker<'_>, at: &Path) -> Option<(HeaderMap, Option<Bytes>)> {
        let mut headers = HeaderMap::new();
        let body = match self.body {
            None => None,
            Some(Json::String(text)) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
                Some(Bytes::from(text))
            }
            Some(json) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Some(Bytes::from(json.to_string()))
            }
        };
        for (name, value) in self.headers {
            let place = at.field("headers").field(&name);
            let name: HeaderName = header_name(cx, &place, &name)?;
            let Ok(value) = HeaderValue::from_str(&value) else {
                cx.report(Problem::error("bad-value", place, "this cannot be the value of a header"));
                return None;
            };
            headers.insert(name, value);
        }
        Some((headers, body))
    }
}

impl Respond {
    /// What the provider wants to read, where the file does not say.
    pub(super) fn or(self, provider: Option<&Answer>) -> Self {
        let Some(answer) = provider.filter(|_| self.status.is_none() && self.body.is_none()) else {
            return self;
        };
        let mut headers = self.headers;
        if !answer.body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
            let own = answer.content_type.as_deref().unwrap_or("text/plain");
            headers.extend(HeaderValue::from_str(own).ok().map(|value| (header::CONTENT_TYPE, value)));
        }
        let status = StatusCode::from_u16(answer.status).ok();
        Self { status, headers, body: Some(Bytes::from(answer.body.clone())), ..self }
    }

    /// The answer to what was taken, made of the one that says what became of it.
    pub(super) fn dress(&self, said: Response) -> Response {
        let (mut parts, mut body) = said.into_parts();
        if let Some(status) = self.status {
            parts.status = status;
        }
        if let Some(own) = &self.body {
            body = own.clone();
            parts.headers.remove(header::CONTENT_TYPE);
        }
        for (name, value) in &self.headers {
            parts.headers.insert(name, value.clone());
        }
        Response::from_parts(parts, body)
    }
}
