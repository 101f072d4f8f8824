//! The answers of a webhook, and when each is given. A fault of ours is never a 4xx: senders
//! drop an event for good when they see one.

use ::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use karez_api::{Accepted, Response};
use serde_json::json;

use super::provider::Answer;

/// A request that is turned away, and under which reason it is counted.
pub(super) struct Refusal {
    pub(super) reason: &'static str,
    pub(super) response: Box<Response>,
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

/// 503: whether the request is right cannot be told now, which is no fault of its sender.
pub(super) fn unavailable(reason: &'static str, message: &str) -> Refusal {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, reason, message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
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

/// What the engine made of a delivery; `own` is what the provider wants to read if it was taken.
pub(super) fn accepted(accepted: &Accepted, own: Option<&Answer>) -> Response {
    match (accepted, own) {
        (Accepted::Stored { .. }, Some(own)) => written(own),
        (accepted, _) => said(accepted),
    }
}

fn written(own: &Answer) -> Response {
    let mut response = Response::new(Bytes::from(own.body.clone()));
    *response.status_mut() = StatusCode::from_u16(own.status).unwrap_or(StatusCode::OK);
    let content_type = HeaderValue::from_str(own.content_type.as_deref().unwrap_or("text/plain"));
    if let Ok(content_type) = content_type
        && !own.body.is_empty()
    {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

fn said(accepted: &Accepted) -> Response {
    match accepted {
        Accepted::Stored { id, duplicate, filtered } => {
            let status = match (duplicate, filtered) {
                (true, _) => "duplicate",
                (false, true) => "filtered",
                (false, false) => "accepted",
            };
            json_response(StatusCode::OK, &Stored { status, id: &id.to_string() })
        }
        Accepted::Undecodable(fault) => error(StatusCode::BAD_REQUEST, fault.code(), fault.message()),
        Accepted::Full { retry_after, reason } => {
            let mut response = error(StatusCode::SERVICE_UNAVAILABLE, reason, explain(reason));
            let seconds = retry_after.as_millis().div_ceil(1_000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
            response
        }
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
