//! Log-ins of connections on the listener of webhooks: `/oauth/start/TICKET` sends a browser to the authorization
//! server, `/oauth/callback` is where it comes back. What a log-in is, is the connections' business. A browser that
//! cannot reach this listener has `karez connect --loopback` pass its requests on.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderValue, LOCATION, REFERRER_POLICY, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use karez_api::{Class, Fault};
use karez_connectors::net::login::Logins;

const START: &str = "/oauth/start/";
pub(crate) const CALLBACK: &str = "/oauth/callback";

/// Where a browser begins the log-in of a ticket.
pub(crate) fn start_url(base: &str, ticket: &str) -> String {
    format!("{base}{START}{ticket}")
}

/// Whether a path is about log-ins, so that no pipeline has it.
pub(crate) fn is_about(path: &str) -> bool {
    path == CALLBACK || path.starts_with(START)
}

/// `path` is one that is about log-ins.
pub(super) async fn answer(logins: &Logins, head: &Parts, path: &str) -> Response<Bytes> {
    if head.method != Method::GET {
        return page(StatusCode::METHOD_NOT_ALLOWED, "A log-in is a page to open in a browser.");
    }
    match path.strip_prefix(START) {
        Some(ticket) => start(logins, ticket).await,
        None => finish(logins, head.uri.query().unwrap_or_default(), &head.headers).await,
    }
}

async fn start(logins: &Logins, ticket: &str) -> Response<Bytes> {
    let started = match logins.start(ticket).await {
        Ok(started) => started,
        Err(fault) => return failed(&fault),
    };
    let mut response = page(StatusCode::SEE_OTHER, "The log-in goes on at the other system.");
    let header = |text: &str| HeaderValue::from_str(text).ok();
    let (Some(location), Some(cookie)) = (header(started.location.as_str()), header(started.cookie.expose()))
    else {
        return page(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The other system's address cannot be sent to a browser.",
        );
    };
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

async fn finish(logins: &Logins, query: &str, headers: &HeaderMap) -> Response<Bytes> {
    let cookies = headers.get(COOKIE).and_then(|value| value.to_str().ok());
    match logins.finish(query, cookies).await {
        Ok(done) => {
            let who = done.subject.map_or(String::new(), |subject| format!(" as {subject}"));
            let text = format!("Connection {} is logged in{who}. This page can be closed.", done.connection);
            page(StatusCode::OK, &text)
        }
        Err(fault) => failed(&fault),
    }
}

fn failed(fault: &Fault) -> Response<Bytes> {
    let status = match fault.class() {
        Class::Validation | Class::Auth => StatusCode::BAD_REQUEST,
        Class::RateLimit => StatusCode::TOO_MANY_REQUESTS,
        Class::Connection | Class::Service => StatusCode::BAD_GATEWAY,
        Class::Fatal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    page(status, &format!("The log-in did not work: {}", fault.message()))
}

/// Plain text: nothing in it is run, and nothing of the address is passed on.
fn page(status: StatusCode, text: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
