//! The answers of a webhook, and when each is given. A fault of ours is never a 4xx: senders
//! drop an event for good when they see one.

use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use karez_api::{Accepted, Fate, Response};
use serde_json::json;

use super::limits::Turned;
use super::respond::Respond;

/// A request that is turned away, and under which reason it is counted.
pub(super) struct Refusal {
    pub(super) reason: &'static str,
    pub(super) response: Box<Response>,
}

impl Refusal {
    /// The sentence of its answer.
    pub(super) fn message(&self) -> String {
        let body: Option<karez_api::Json> = serde_json::from_slice(self.response.body()).ok();
        body.and_then(|body| body["error"].as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// 401: the request does not prove where it comes from.
pub(super) fn unauthorized(message: &str, scheme: Option<&'static str>) -> Refusal {
    let mut response = error(StatusCode::UNAUTHORIZED, "signature", message);
    if let Some(scheme) = scheme {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    Refusal { reason: "signature", response: Box::new(response) }
}

/// 401: the request was signed too long ago, or too far ahead of our clock.
pub(super) fn stale(message: &str) -> Refusal {
    Refusal { reason: "timestamp", response: Box::new(error(StatusCode::UNAUTHORIZED, "timestamp", message)) }
}

/// 403: a handshake with a wrong token.
pub(super) fn forbidden(message: &str) -> Refusal {
    Refusal { reason: "handshake", response: Box::new(error(StatusCode::FORBIDDEN, "handshake", message)) }
}

/// 403 or 429: where the request comes from, or how many came from there.
pub(super) fn turned(why: &Turned) -> Refusal {
    let later = match why {
        Turned::Away => {
            let message = "requests from this address are not accepted here";
            let response = error(StatusCode::FORBIDDEN, "network", message);
            return Refusal { reason: "network", response: Box::new(response) };
        }
        Turned::Later(later) => *later,
    };
    let mut response =
        error(StatusCode::TOO_MANY_REQUESTS, "rate_limit", "too many requests; come again later");
    retry_after(&mut response, later);
    Refusal { reason: "rate_limit", response: Box::new(response) }
}

/// 503: whether the request is right cannot be told now, which is no fault of its sender.
pub(super) fn unavailable(reason: &'static str, message: &str) -> Refusal {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, reason, message);
    retry_after(&mut response, Duration::from_secs(60));
    Refusal { reason, response: Box::new(response) }
}

/// 405 with the methods that are accepted.
pub(super) fn method_not_allowed(allowed: &[Method]) -> Refusal {
    let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "method", "this method is not accepted here");
    if let Ok(value) = HeaderValue::from_str(&names.join(", ")) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    Refusal { reason: "method", response: Box::new(response) }
}

/// 415, by media type or content encoding.
pub(super) fn unsupported(reason: &'static str, message: &str) -> Refusal {
    Refusal { reason, response: Box::new(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason, message)) }
}

/// 400: the request cannot be understood.
pub(super) fn bad_request(reason: &'static str, message: &str) -> Refusal {
    Refusal { reason, response: Box::new(error(StatusCode::BAD_REQUEST, reason, message)) }
}

/// What the engine made of a delivery; `respond` is what the file or the provider wants said of what was taken.
pub(super) fn accepted(accepted: &Accepted, respond: &Respond) -> Response {
    match accepted {
        Accepted::Stored { id, fate } => stored(&id.to_string(), *fate, respond),
        Accepted::Undecodable(fault) => error(StatusCode::BAD_REQUEST, fault.code(), fault.message()),
        Accepted::Full { retry_after, reason } => {
            let mut response = error(StatusCode::SERVICE_UNAVAILABLE, reason, explain(reason));
            self::retry_after(&mut response, *retry_after);
            response
        }
    }
}

fn stored(id: &str, fate: Fate, respond: &Respond) -> Response {
    let ok = |word| respond.dress(json_response(StatusCode::OK, &Stored { status: word, id }));
    match fate {
        Fate::Duplicate => ok("duplicate"),
        Fate::Filtered => ok("filtered"),
        Fate::Delivered => ok("delivered"),
        Fate::Accepted if respond.wait.is_none() => ok("accepted"),
        // It was not delivered in time, and goes on.
        Fate::Accepted => json_response(StatusCode::ACCEPTED, &Stored { status: "accepted", id }),
        Fate::DeadLettered => {
            let message = "it could not be delivered and is kept as a dead letter";
            let body = json!({"error": message, "code": "dead_lettered", "id": id});
            json_response(StatusCode::BAD_GATEWAY, &body)
        }
    }
}

fn retry_after(response: &mut Response, time: Duration) {
    let seconds = time.as_millis().div_ceil(1_000).max(1);
    if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
}

/// The engine's word for why it takes nothing, as a sentence.
fn explain(reason: &str) -> &str {
    match reason {
        "full" => "there is no room for it at the moment",
        "stopping" => "the pipeline is stopping or being changed",
        "store" => "nothing can be stored at the moment",
        other => other,
    }
}

/// In the form of all error answers: a sentence for people, a word for programs.
fn error(status: StatusCode, code: &str, message: &str) -> Response {
    json_response(status, &json!({"error": message, "code": code}))
}

/// The answer to what was taken, the only one that is given often.
#[derive(serde::Serialize)]
struct Stored<'a> {
    status: &'a str,
    id: &'a str,
}

fn json_response(status: StatusCode, body: &impl serde::Serialize) -> Response {
    const JSON: (HeaderName, HeaderValue) =
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut response = Response::new(Bytes::from(serde_json::to_vec(body).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(JSON.0, JSON.1);
    response
}
