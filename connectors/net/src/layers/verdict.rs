//! What an answer means: rules of the request and of the connection first, then its status, then whether it is what was
//! asked for. An HTML page under a good status is an error, not a list of no records.

use http::{HeaderMap, StatusCode, header};
use karez_api::{Class, Fault, Millis};
use reqwest::Url;

use super::rules::Rules;
use crate::spec::{ErrorRule, Meaning};
use crate::told::retry_after;
use crate::transport::place;
use crate::{Effect, Failure, Request, Response, excerpt};

/// Longest excerpt of an answer in a message, in characters.
const EXCERPT: usize = 200;

/// Judges answers of one connection.
pub(crate) struct Judge {
    rules: Rules,
    /// Whether redirects are an intermediate answer rather than an error.
    follows: bool,
}

/// An answer that will not do.
pub(crate) struct Refusal {
    pub(crate) failure: Failure,
    /// Whether other credentials may help.
    pub(crate) renewable: bool,
}

impl Judge {
    /// # Errors
    /// Which rule, by its number, and what is wrong with which of its fields.
    pub(crate) fn new(rules: &[ErrorRule], follows: bool) -> Result<Self, (usize, &'static str, String)> {
        Ok(Self { rules: Rules::new(rules)?, follows })
    }

    /// The answer, if it is a good one.
    pub(crate) fn judge(
        &self,
        request: &Request,
        answer: Response,
        now: Millis,
    ) -> Result<Response, Refusal> {
        match self.means(request, &answer) {
            Some(Meaning::Success) => Ok(answer),
            Some(Meaning::Auth) => Err(refusal(request, answer, Class::Auth, true, now)),
            Some(Meaning::RateLimit) => Err(refusal(request, answer, Class::RateLimit, false, now)),
            Some(Meaning::Validation) => Err(refusal(request, answer, Class::Validation, false, now)),
            Some(Meaning::Service) => Err(refusal(request, answer, Class::Service, false, now)),
            None => self.by_status(request, answer, now),
        }
    }

    fn means(&self, request: &Request, answer: &Response) -> Option<Meaning> {
        // Parsed once, and only where a rule asks for it.
        let mut body = None;
        let own = request.rules.as_deref().and_then(|rules| rules.means(answer, &mut body));
        own.or_else(|| self.rules.means(answer, &mut body))
    }

    fn by_status(&self, request: &Request, answer: Response, now: Millis) -> Result<Response, Refusal> {
        let class = match answer.status.as_u16() {
            200..=299 => return expected(request, answer),
            304 if is_conditional(&request.headers) => return Ok(answer),
            300..=399 if self.follows && answer.headers.contains_key(header::LOCATION) => return Ok(answer),
            300..=399 => return Err(redirected(request, answer)),
            403 if is_spent(&answer.headers, now) => Class::RateLimit,
            401 | 403 | 407 => Class::Auth,
            400 | 495 | 496 if wants_certificate(&answer) => Class::Auth,
            429 => Class::RateLimit,
            // Not the request's fault; what was done before the answer is not known.
            408 | 425 | 500..=599 => Class::Service,
            400..=499 => Class::Validation,
            _ => Class::Service,
        };
        let renewable = answer.status == StatusCode::UNAUTHORIZED;
        Err(refusal(request, answer, class, renewable, now))
    }
}

/// Whether an answer with a good status is of a kind that was asked for.
fn expected(request: &Request, answer: Response) -> Result<Response, Refusal> {
    let Some(accepts) = request.accepts else { return Ok(answer) };
    if answer.body.is_empty() {
        return Ok(answer);
    }
    let found = media_type(&answer.headers).unwrap_or_default();
    if accepts.iter().any(|accepted| is_kind(found, accepted)) {
        return Ok(answer);
    }
    let found = if found.is_empty() { "no media type" } else { found };
    let message = format!("{}, not {}", described(request, &answer, found), accepts.join(" or "));
    let fault = Fault::service(message).with_code("unexpected_content");
    // The status says that it was done.
    Err(Refusal { failure: Failure::answered(fault, Effect::Unknown, answer), renewable: false })
}

/// `GET https://… answered 200 with 12 bytes of text/html: the beginning`.
fn described(request: &Request, answer: &Response, kind: &str) -> String {
    let to = place(&request.method, &request.url);
    let beginning = match excerpt(&answer.body, EXCERPT) {
        text if text.is_empty() => String::new(),
        text => format!(" ({text})"),
    };
    format!("{to} answered {} with {} bytes of {kind}{beginning}", answer.status, answer.body.len())
}

fn refusal(request: &Request, answer: Response, class: Class, renewable: bool, now: Millis) -> Refusal {
    let to = place(&request.method, &request.url);
    let message = match excerpt(&answer.body, EXCERPT) {
        text if text.is_empty() => format!("{to} answered {}", answer.status),
        text => format!("{to} answered {}: {text}", answer.status),
    };
    let code = format!("http_{}", answer.status.as_u16());
    let waits = matches!(class, Class::RateLimit | Class::Service);
    let wait = if waits { retry_after(&answer.headers, now) } else { None };
    let fault = Fault::new(class, code, message).with_retry_after(wait);
    let effect = if class == Class::Service { Effect::Unknown } else { Effect::None };
    Refusal { failure: Failure::answered(fault, effect, answer), renewable }
}

fn redirected(request: &Request, answer: Response) -> Refusal {
    let location = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let host = match location.map(Url::parse) {
        Some(Ok(url)) => url.host_str().unwrap_or("nowhere").to_owned(),
        Some(Err(_)) => "the same host".to_owned(),
        None => "nowhere".to_owned(),
    };
    let to = place(&request.method, &request.url);
    let status = answer.status;
    let message =
        format!("{to} answered {status} and points to {host}; redirects are not followed, set the final url");
    let fault = Fault::validation(format!("http_{}", status.as_u16()), message);
    Refusal { failure: Failure::answered(fault, Effect::None, answer), renewable: false }
}

/// GitHub and others answer 403 where 429 is meant: nothing is left, or there is a time to come back.
fn is_spent(headers: &HeaderMap, now: Millis) -> bool {
    let left = headers.get("x-ratelimit-remaining").or_else(|| headers.get("ratelimit-remaining"));
    left.is_some_and(|left| left == "0") || retry_after(headers, now).is_some()
}

/// nginx, and what is built on it, answers 400 with a page of its own to whoever shows no certificate, or a wrong one;
/// where that was given a page of another kind, the statuses are its own.
fn wants_certificate(answer: &Response) -> bool {
    const SAID: [&[u8]; 2] = [b"No required SSL certificate was sent", b"The SSL certificate error"];
    answer.status.as_u16() != 400
        || SAID.iter().any(|said| memchr::memmem::find(&answer.body, said).is_some())
}

fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(header::IF_NONE_MATCH) || headers.contains_key(header::IF_MODIFIED_SINCE)
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

/// `application/vnd.api+json` is `application/json` too (RFC 6839).
fn is_kind(found: &str, accepted: &str) -> bool {
    let suffix = accepted.split_once('/').map(|(_, subtype)| subtype);
    let found_suffix = found.rsplit_once('+').map(|(_, suffix)| suffix);
    found.eq_ignore_ascii_case(accepted)
        || matches!((found_suffix, suffix), (Some(found), Some(wanted)) if found.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
