//! What an answer, or the lack of one, means for a record. Decides nothing about retries.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use ::http::{HeaderMap, StatusCode, header};
use karez_api::{Class, Fault, Millis, Outcome};
use reqwest::Url;

use super::client::chain;

/// Longest excerpt of an answer in a message, in characters.
const EXCERPT: usize = 200;
/// What a far end can ask for at most; the engine's own `max_wait` is far below.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The outcome of an answered request. `to` is the request's method and place, for people.
pub(super) fn answer(to: &str, status: StatusCode, headers: &HeaderMap, body: &[u8], now: Millis) -> Outcome {
    let said = |what: &str| match excerpt(body) {
        text if text.is_empty() => format!("{to} {what} {status}"),
        text => format!("{to} {what} {status}: {text}"),
    };
    let code = format!("http_{}", status.as_u16());
    let wait = || retry_after(headers, now);
    match status.as_u16() {
        200..=299 => Outcome::Done,
        300..=399 => Outcome::Refused(Fault::validation(code, redirect(to, status, headers))),
        401 | 403 => Outcome::NotSent(Fault::auth(said("answered")).with_code(code)),
        429 => Outcome::NotSent(Fault::rate_limit(said("answered"), wait()).with_code(code)),
        // Not the record's fault; what was done before the answer is not known.
        408 | 425 | 500..=599 => {
            Outcome::Unknown(Fault::service(said("answered")).with_code(code).with_retry_after(wait()))
        }
        400..=499 => Outcome::Refused(Fault::validation(code, said("refused the record with"))),
        _ => Outcome::Unknown(Fault::service(said("answered")).with_code(code)),
    }
}

/// The outcome of a request without an answer.
pub(super) fn failure(to: &str, error: reqwest::Error) -> Outcome {
    let error = error.without_url();
    let message = format!("{to} failed: {}", chain(&error));
    if error.is_builder() {
        return Outcome::Refused(Fault::validation("bad_request", message));
    }
    let code = if error.is_timeout() { "timeout" } else { "connection" };
    let fault = Fault::new(Class::Connection, code, message);
    match error.is_connect() {
        true => Outcome::NotSent(fault),
        false => Outcome::Unknown(fault),
    }
}

/// Method and URL for messages: neither credentials nor query.
pub(super) fn place(method: &::http::Method, url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{method} {}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn redirect(to: &str, status: StatusCode, headers: &HeaderMap) -> String {
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let host = match location.map(Url::parse) {
        Some(Ok(url)) => Cow::from(url.host_str().unwrap_or("nowhere").to_owned()),
        Some(Err(_)) => Cow::from("the same host"),
        None => Cow::from("nowhere"),
    };
    format!("{to} answered {status} and points to {host}; redirects are not followed, set the final url")
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds or a date. Junk, negative numbers and dates that
/// are past say nothing. At most ten years.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Millis) -> Option<Duration> {
    headers
        .get_all(header::RETRY_AFTER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(|text| wait(text.trim(), now))
        .map(|wait| wait.min(LONGEST_WAIT))
}

fn wait(text: &str, now: Millis) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds is a very long time all the same.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let since_epoch = at.duration_since(UNIX_EPOCH).ok()?;
    since_epoch.checked_sub(Duration::from_millis(now.0)).filter(|wait| !wait.is_zero())
}

/// The beginning of an answer, printable and on one line.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * EXCERPT)]);
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(EXCERPT).collect()
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
