//! What it means that no answer came. The one way in which this crate and its users say it.

use std::error::Error;
use std::io;

use http::Method;
use karez_api::{Class, Fault};
use reqwest::Url;

use super::resolver::Forbidden;
use crate::{Effect, Failure};

/// The failure of a request without an answer. `to` is its method and place, for people.
#[must_use]
pub(super) fn failure(to: &str, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if let Some(what) = certificate_refused(&error) {
        let message = format!("{to} failed: the far end does not take {what}; look at `tls.certificate`");
        let fault = Fault::auth(message).with_code("certificate_refused");
        // It comes in place of an answer: nothing was asked.
        return Failure { fault, effect: Effect::None, response: None };
    }
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

/// What the far end says of the certificate that we showed, or did not show (RFC 8446 §6.2).
fn certificate_refused(error: &dyn Error) -> Option<&'static str> {
    use rustls::AlertDescription as Alert;
    let alert = causes(error).find_map(|cause| {
        // An I/O error passes over what it holds when it is asked for its cause.
        let held = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match held.map_or(cause, |held| held as _).downcast_ref::<rustls::Error>()? {
            rustls::Error::AlertReceived(alert) => Some(*alert),
            _ => None,
        }
    });
    match alert? {
        Alert::CertificateRequired => Some("a client without a certificate"),
        Alert::UnknownCA => Some("our certificate: it does not know who vouches for it"),
        Alert::CertificateExpired => Some("our certificate: it has expired"),
        Alert::CertificateRevoked => Some("our certificate: it was revoked"),
        Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::UnsupportedCertificate
        | Alert::AccessDenied => Some("our certificate"),
        _ => None,
    }
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
