//! Who we are to a far end: credentials on each request, renewed before they expire.

mod encode;
mod place;

mod fixed;

mod digest;
mod jwt;
mod session;

mod hmac;
mod oauth1;
mod sigv4;

pub(crate) mod expiry;
pub(crate) mod jose;
pub(crate) mod metrics;
pub(crate) mod oauth2;
pub(crate) mod saml;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use karez_api::{Clock, Fault, Millis, Path, Problem, Tasks, Vault};
use reqwest::Url;
use serde::Serialize;

use crate::spec::AuthSpec;
use crate::transport::Carrier;
use crate::{Request, Response};

pub(crate) use metrics::AuthMetrics;
pub use metrics::TokensCounted;
use oauth2::{OAuth2Credentials, OAuthAccount};
pub(crate) use place::{Spot, sensitive};

/// Which credentials a request carried: two requests with one stamp carried the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) u64);

/// One way to say who we are. It sends nothing of the caller's: it marks requests, and judges refusals.
#[async_trait]
pub(crate) trait Credentials: Send + Sync {
    /// Puts them on a request, got or renewed first where that is needed. What the request had in their place goes.
    ///
    /// # Errors
    /// Class auth where a human is needed, else what kept them from being renewed.
    async fn apply(&self, request: &mut Request) -> Result<Stamp, Fault>;

    /// The far end refused a request with these credentials. True where sending it once more can help:
    /// they were renewed, or its challenge is known now.
    ///
    /// # Errors
    /// As [`Credentials::apply`].
    async fn refused(&self, stamp: Stamp, answer: &Response) -> Result<bool, Fault>;

    /// The far end took a request with these credentials: its answer may say what to use next.
    fn accepted(&self, _stamp: Stamp, _answer: &Response) {}

    /// Gets them where they are not there yet, for whoever needs [`Credentials::kept`] first.
    ///
    /// # Errors
    /// As [`Credentials::apply`].
    async fn prepare(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Values kept from the log-in, which stand for `{name}` in addresses and headers.
    fn kept(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// How they are doing.
    fn status(&self) -> AuthStatus {
        AuthStatus::default()
    }

    /// Where a human logs in.
    fn account(&self) -> Option<OAuthAccount> {
        None
    }
}

/// How credentials are doing, for people and metrics.
#[derive(Debug, Clone, Serialize)]
pub struct AuthStatus {
    /// `ready`; `idle`: not wanted yet; `expired`: renewed with the next use; `failing`: tried again by itself;
    /// `needs_login`: a human is needed.
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// In milliseconds since 1970, as the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Millis>,
    /// When the refresh token ends, where the server says so: then somebody has to log in again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_expires_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

impl Default for AuthStatus {
    fn default() -> Self {
        Self {
            state: "ready",
            why: None,
            expires_at: None,
            refresh_expires_at: None,
            subject: None,
            scope: None,
        }
    }
}

/// What credentials are built with.
#[derive(Clone)]
pub(crate) struct Build {
    /// The connection's.
    pub(crate) name: Arc<str>,
    /// The connection's address, which paths are put behind.
    pub(crate) base: Option<Url>,
    pub(crate) carrier: Arc<dyn Carrier>,
    pub(crate) vault: Option<Arc<dyn Vault>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: Arc<dyn Tasks>,
    /// For what must not be cut short when the connection is let go of.
    pub(crate) lasting: Arc<dyn Tasks>,
    pub(crate) metrics: Arc<AuthMetrics>,
    /// What stands for `{name}` in addresses, beside what the log-in brings.
    pub(crate) params: BTreeMap<String, String>,
    /// Whether the carrier shows a certificate of ours to whoever asks for one.
    pub(crate) is_certified: bool,
}

/// # Errors
/// Class fatal: what [`check`] would have told.
pub(crate) fn build(spec: &AuthSpec, cx: Build) -> Result<Arc<dyn Credentials>, Fault> {
    let wrong = |what: String| Fault::fatal(format!("the credentials of {} cannot be used: {what}", cx.name));
    Ok(match spec {
        AuthSpec::OAuth2(oauth2) => Arc::new(OAuth2Credentials::build(oauth2, cx)?),
        AuthSpec::ApiKey(key) => Arc::new(fixed::Fixed::api_key(key).map_err(wrong)?),
        AuthSpec::Bearer(bearer) => Arc::new(fixed::Fixed::bearer(bearer).map_err(wrong)?),
        AuthSpec::Basic(basic) => Arc::new(fixed::Fixed::basic(basic).map_err(wrong)?),
        AuthSpec::Digest(digest) => Arc::new(digest::DigestCredentials::new(digest)),
        AuthSpec::Jwt(jwt) => Arc::new(jwt::JwtCredentials::new(jwt, cx.clock).map_err(wrong)?),
        AuthSpec::Session(session) => {
            Arc::new(session::SessionCredentials::new(session, &cx).map_err(wrong)?)
        }
        AuthSpec::OAuth1(oauth1) => {
            Arc::new(oauth1::OAuth1Credentials::new(oauth1, cx.clock).map_err(wrong)?)
        }
        AuthSpec::AwsSigV4(sigv4) => Arc::new(sigv4::SigV4Credentials::new(sigv4, cx.clock).map_err(wrong)?),
        AuthSpec::Hmac(hmac) => Arc::new(hmac::HmacCredentials::new(hmac, cx.clock).map_err(wrong)?),
    })
}

/// What is wrong with them; `at` is their place in the connection.
pub(crate) fn check(spec: &AuthSpec, at: &Path, problems: &mut Vec<Problem>) {
    match spec {
        AuthSpec::OAuth2(oauth2) => oauth2::check(oauth2, &at.field("oauth2"), problems),
        AuthSpec::ApiKey(key) => fixed::check_api_key(key, &at.field("api_key"), problems),
        AuthSpec::Bearer(bearer) => fixed::check_bearer(bearer, &at.field("bearer"), problems),
        AuthSpec::Basic(basic) => fixed::check_basic(basic, &at.field("basic"), problems),
        AuthSpec::Digest(digest) => digest::check(digest, &at.field("digest"), problems),
        AuthSpec::Jwt(jwt) => jwt::check(jwt, &at.field("jwt"), problems),
        AuthSpec::Session(session) => session::check(session, &at.field("session"), problems),
        AuthSpec::OAuth1(oauth1) => oauth1::check(oauth1, &at.field("oauth1"), problems),
        AuthSpec::AwsSigV4(sigv4) => sigv4::check(sigv4, &at.field("aws_sigv4"), problems),
        AuthSpec::Hmac(hmac) => hmac::check(hmac, &at.field("hmac"), problems),
    }
}

/// For tests of single kinds.
#[cfg(test)]
mod testing;
