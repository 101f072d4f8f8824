//! What an authorization server means when it yields no token: whether a human, the file or only time can help.
//! Of its answer nothing goes on but the error's code and description, both bounded.

use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use karez_api::{Class, Fault, Json, Millis};

use crate::told::retry_after;
use crate::{Effect, Failure, Response};

const LONGEST_CODE: usize = 64;
const LONGEST_DESCRIPTION: usize = 200;
/// The longest wait that a server is granted.
const MOST_PATIENCE: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// What was granted counts no more: only another log-in, key or token helps.
    Grant(Said),
    /// The client or its request is not accepted: the file or the registration there has to change.
    Client(Said),
    /// It may pass by itself.
    Passing {
        fault: Fault,
        /// Whether the server may have acted all the same, so that its answer was lost.
        effect: Effect,
        /// The code, where there was one.
        code: String,
    },
}

/// The server's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: String,
    pub(crate) description: Option<String>,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.description {
            Some(description) => write!(f, "{} ({description})", self.code),
            None => f.write_str(&self.code),
        }
    }
}

impl Said {
    pub(crate) fn new(code: &str, description: Option<&str>) -> Self {
        let description = description.map(|text| shown(text, LONGEST_DESCRIPTION));
        Self { code: shown(code, LONGEST_CODE), description: description.filter(|text| !text.is_empty()) }
    }

    /// RFC 6749 §5.2, RFC 8628 §3.5, OpenID Connect Core §3.1.2.6.
    fn judged(self, status: StatusCode) -> Refusal {
        match &*self.code {
            "invalid_grant"
            | "access_denied"
            | "expired_token"
            | "interaction_required"
            | "login_required"
            | "consent_required"
            | "account_selection_required" => Refusal::Grant(self),
            "temporarily_unavailable" | "server_error" | "slow_down" | "authorization_pending" => {
                let fault = Fault::service(format!("the token endpoint says {self}"));
                Refusal::Passing { fault, effect: Effect::None, code: self.code }
            }
            _ if status.is_server_error() => {
                let fault = Fault::service(format!("the token endpoint answered {status}: {self}"));
                Refusal::Passing { fault, effect: Effect::Unknown, code: self.code }
            }
            _ => Refusal::Client(self),
        }
    }
}

impl Refusal {
    /// An answer that yields no token. `said` is what was found in its body.
    pub(crate) fn judge(answer: &Response, said: Option<Said>, now: Millis) -> Self {
        let status = answer.status;
        let retry_after = retry_after(&answer.headers, now).map(|wait| wait.min(MOST_PATIENCE));
        if status == StatusCode::TOO_MANY_REQUESTS {
            let fault = Fault::rate_limit("the token endpoint asks for patience (429)", retry_after);
            return Self::Passing { fault, effect: Effect::None, code: String::new() };
        }
        if let Some(said) = said {
            return match said.judged(status) {
                Self::Passing { fault, effect, code } => {
                    Self::Passing { fault: fault.with_retry_after(retry_after), effect, code }
                }
                other => other,
            };
        }
        let is_page =
            answer.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
                || answer.body.trim_ascii_start().starts_with(b"<");
        let code = status.as_u16();
        match code {
            400 | 401 | 403 | 404 | 405 | 410 | 415 | 422 if !is_page => {
                Self::Client(Said::new(&format!("http_{code}"), Some("the token endpoint gave no reason")))
            }
            _ => {
                let what = match () {
                    () if status.is_redirection() => "a redirect, which is not followed with credentials",
                    () if is_page => "a web page in place of a token",
                    () if status.is_success() => "nothing that can be read as a token",
                    () => "no token",
                };
                let fault = Fault::service(format!("the token endpoint answered {code} with {what}"));
                let fault = fault.with_retry_after(retry_after);
                Self::Passing { fault, effect: Effect::Unknown, code: String::new() }
            }
        }
    }

    pub(crate) fn passing(fault: Fault, effect: Effect) -> Self {
        Self::Passing { fault, effect, code: String::new() }
    }

    /// For people, without what is to be done.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Grant(said) | Self::Client(said) => {
                Fault::auth(format!("the authorization server says {said}")).with_code(code_of(said))
            }
            Self::Passing { fault, .. } => fault.clone(),
        }
    }
}

/// The server's word as a fault's code, where it is a word that is known.
fn code_of(said: &Said) -> &'static str {
    match &*said.code {
        "invalid_grant" => "invalid_grant",
        "invalid_client" => "invalid_client",
        "unauthorized_client" => "unauthorized_client",
        "access_denied" => "access_denied",
        "expired_token" => "expired_token",
        "invalid_scope" => "invalid_scope",
        _ => "auth",
    }
}

/// It could not be asked, or did not answer.
impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        // Whoever could not be reached is not who refuses us, unless it is our certificate that it does not take.
        let fault = match failure.fault.class() {
            Class::Auth | Class::Connection | Class::RateLimit | Class::Service => failure.fault,
            _ => Fault::connection(failure.fault.message()),
        };
        Self::passing(fault, failure.effect)
    }
}

/// What stands in the usual places (RFC 6749 §5.2, and what many do in its place).
pub(crate) fn said(body: &Json) -> Option<Said> {
    let text = |name: &str| body.get(name).and_then(Json::as_str).filter(|text| !text.is_empty());
    match body.get("error") {
        Some(Json::String(code)) if !code.is_empty() => {
            Some(Said::new(code, text("error_description").or_else(|| text("message"))))
        }
        Some(Json::Object(error)) => {
            let field = |name: &str| error.get(name).and_then(Json::as_str);
            Some(Said::new(field("code").or_else(|| field("type")).unwrap_or("error"), field("message")))
        }
        _ => None,
    }
}

/// Bounded, in one line.
fn shown(text: &str, most: usize) -> String {
    text.chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .take(most)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use http::header::RETRY_AFTER;

    use super::*;

    fn judged(status: u16, kind: &'static str, body: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        let body = Bytes::from_static(body.as_bytes());
        let read = serde_json::from_slice(&body).ok().and_then(|body: Json| said(&body));
        let answer = Response { status: StatusCode::from_u16(status).unwrap(), headers, body, cached: false };
        match Refusal::judge(&answer, read, Millis(0)) {
            Refusal::Grant(said) => format!("grant {said}"),
            Refusal::Client(said) => format!("client {said}"),
            Refusal::Passing { fault, .. } => {
                format!("{} {}", fault.class().name(), fault.retry_after().map_or(0, |wait| wait.as_secs()))
            }
        }
    }

    #[test]
    fn only_what_a_human_must_mend_is_final() {
        let json = "application/json";
        for (status, kind, body, expected) in [
            (400, json, r#"{"error":"invalid_grant"}"#, "grant invalid_grant"),
            (
                401,
                json,
                r#"{"error":"invalid_grant","error_description":"revoked\n"}"#,
                "grant invalid_grant (revoked)",
            ),
            (400, json, r#"{"error":"access_denied"}"#, "grant access_denied"),
            (400, json, r#"{"error":"interaction_required"}"#, "grant interaction_required"),
            (401, json, r#"{"error":"invalid_client"}"#, "client invalid_client"),
            (400, json, r#"{"error":"unauthorized_client"}"#, "client unauthorized_client"),
            (400, json, r#"{"error":{"code":"bad","message":"no"}}"#, "client bad (no)"),
            (400, json, "{}", "client http_400 (the token endpoint gave no reason)"),
            (200, json, r#"{"error":"invalid_grant"}"#, "grant invalid_grant"),
            (429, json, r#"{"error":"invalid_grant"}"#, "rate_limit 7"),
            (503, json, r#"{"error":"temporarily_unavailable"}"#, "service 7"),
            (400, json, r#"{"error":"temporarily_unavailable"}"#, "service 7"),
            (500, json, r#"{"error":"oops"}"#, "service 7"),
            (502, "text/html; charset=utf-8", "<html>", "service 7"),
            (403, "text/html", "blocked", "service 7"),
            (403, "text/plain", "\n<!doctype html>", "service 7"),
            (200, "text/html", "<html>", "service 7"),
            (302, "text/plain", "", "service 7"),
        ] {
            assert_eq!(judged(status, kind, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let said = Said::new(&"c".repeat(1_000), Some(&"d".repeat(1_000)));
        assert_eq!((said.code.len(), said.description.unwrap().len()), (64, 200));
    }
}
