//! What it means that no answer came. The one way in which this crate and its users say it.

use std::error::Error;

use http::Method;
use karez_api::{Class, Fault};
use reqwest::Url;

use super::resolver::Forbidden;
use crate::{Effect, Failure};

/// The failure of a request without an answer. `to` is its method and place, for people.
#[must_use]
pub(super) fn failure(to: &str, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let message = format!("{to} failed: {}", chain(&error));
    let effect = if error.is_builder() || error.is_connect() { Effect::None } else { Effect::Unknown };
    let fault = match &error {
        error if error.is_builder() => Fault::validation("bad_request", message),
        error if is_forbidden(error) => Fault::connection(message).with_code("private_address"),
        error if error.is_timeout() => Fault::new(Class::Connection, "timeout", message),
        _ => Fault::connection(message),
    };
    Failure { fault, effect, response: None }
}

/// Method and URL for messages: neither credentials nor query.
#[must_use]
pub fn place(method: &Method, url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{method} {}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// An error with its causes on one line.
#[must_use]
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        let message = cause.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
    }
    text
}

fn is_forbidden(error: &dyn Error) -> bool {
    causes(error).any(|cause| cause.is::<Forbidden>())
}

fn causes<'a>(error: &'a (dyn Error + 'a)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}
