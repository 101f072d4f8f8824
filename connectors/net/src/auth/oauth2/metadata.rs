//! What an authorization server says of itself: OpenID Connect Discovery 1.0 §4, RFC 8414.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::CACHE_CONTROL;
use karez_api::Fault;
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::client::{Asked, Client};
use super::refusal::Refusal;
use crate::{Effect, Response};

/// How long a document counts at least and at most, whatever it says.
const SHORTEST: Duration = Duration::from_secs(300);
const LONGEST: Duration = Duration::from_secs(86_400);
/// After a failure nobody asks again for this long.
const PAUSE: Duration = Duration::from_secs(10);

/// The fields that are used here.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Document {
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: Option<Url>,
    pub(crate) token_endpoint: Option<Url>,
    pub(crate) revocation_endpoint: Option<Url>,
    pub(crate) introspection_endpoint: Option<Url>,
    pub(crate) device_authorization_endpoint: Option<Url>,
    pub(crate) pushed_authorization_request_endpoint: Option<Url>,
    pub(crate) jwks_uri: Option<Url>,
    #[serde(default)]
    pub(crate) require_pushed_authorization_requests: bool,
    #[serde(default)]
    pub(crate) authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    pub(crate) mtls_endpoint_aliases: Aliases,
}

/// RFC 8705 §5: where clients with certificates ask.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Aliases {
    pub(crate) token_endpoint: Option<Url>,
    pub(crate) revocation_endpoint: Option<Url>,
    pub(crate) introspection_endpoint: Option<Url>,
    pub(crate) device_authorization_endpoint: Option<Url>,
    pub(crate) pushed_authorization_request_endpoint: Option<Url>,
}

/// The document of one issuer, fetched when it is wanted.
pub(crate) struct Metadata {
    issuer: Option<String>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    document: Option<(Arc<Document>, Instant)>,
    failed: Option<(Refusal, Instant)>,
}

impl Metadata {
    pub(crate) fn new(issuer: Option<String>) -> Self {
        Self { issuer, known: Mutex::default() }
    }

    /// Nothing where the file names no issuer. While it cannot be fetched anew, the one of before counts.
    ///
    /// # Errors
    /// It cannot be fetched or used.
    pub(crate) async fn document(&self, client: &Client) -> Result<Option<Arc<Document>>, Refusal> {
        let Some(issuer) = &self.issuer else {
            return Ok(None);
        };
        let mut known = self.known.lock().await;
        let now = client.clock.instant();
        let fresh = known.document.as_ref().filter(|(_, until)| now < *until);
        if let Some((document, _)) = fresh {
            return Ok(Some(Arc::clone(document)));
        }
        let paused =
            known.failed.as_ref().filter(|(_, until)| now < *until).map(|(refusal, _)| refusal.clone());
        let fetched = match paused {
            Some(refusal) => Err(refusal),
            None => fetch(client, issuer).await,
        };
        match (fetched, &known.document) {
            (Ok((document, lifetime)), _) => {
                let document = Arc::new(document);
                *known = Known { document: Some((Arc::clone(&document), now + lifetime)), failed: None };
                Ok(Some(document))
            }
            (Err(refusal), before) => {
                let before = before.as_ref().map(|(document, _)| Arc::clone(document));
                known.failed = Some((refusal.clone(), now + PAUSE));
                before.map(Some).ok_or(refusal)
            }
        }
    }
}

async fn fetch(client: &Client, issuer: &str) -> Result<(Document, Duration), Refusal> {
    let mut last = None;
    for address in addresses(issuer) {
        let asked = client.get(address.clone()).await?;
        if asked.answer.status == StatusCode::NOT_FOUND {
            last = Some(unusable(issuer, format!("there is no metadata at {address}")));
            continue;
        }
        return read(&asked, issuer, &address).map_err(|what| unusable(issuer, what));
    }
    Err(last.unwrap_or_else(|| unusable(issuer, "it is no address".into())))
}

/// OpenID Connect appends to the path, RFC 8414 puts it before the path.
fn addresses(issuer: &str) -> Vec<Url> {
    let appended = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let inserted = Url::parse(issuer).map(|mut url| {
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
        url
    });
    Url::parse(&appended).into_iter().chain(inserted).collect()
}

fn read(asked: &Asked, issuer: &str, address: &Url) -> Result<(Document, Duration), String> {
    let status = asked.answer.status;
    if !status.is_success() {
        return Err(format!("{address} answered {status}"));
    }
    let document: Document =
        serde_json::from_slice(&asked.answer.body).map_err(|_| format!("{address} holds no metadata"))?;
    // Byte for byte (RFC 8414 §3.3): whoever else it speaks for is not whom the file means.
    if document.issuer != issuer {
        let claimed: String = document.issuer.chars().take(200).collect();
        return Err(format!("{address} speaks for {claimed:?}; write that as `issuer` if it is meant"));
    }
    if issuer.starts_with("https:") && document.all().any(|url| url.scheme() != "https") {
        return Err(format!("{address} names an endpoint without TLS"));
    }
    Ok((document, lifetime(&asked.answer)))
}

impl Document {
    fn all(&self) -> impl Iterator<Item = &Url> {
        let aliases = &self.mtls_endpoint_aliases;
        [
            &self.authorization_endpoint,
            &self.token_endpoint,
            &self.revocation_endpoint,
            &self.introspection_endpoint,
            &self.device_authorization_endpoint,
            &self.pushed_authorization_request_endpoint,
            &self.jwks_uri,
            &aliases.token_endpoint,
            &aliases.revocation_endpoint,
            &aliases.introspection_endpoint,
            &aliases.device_authorization_endpoint,
            &aliases.pushed_authorization_request_endpoint,
        ]
        .into_iter()
        .flatten()
    }
}

/// `max-age`, within bounds.
pub(crate) fn lifetime(answer: &Response) -> Duration {
    let control = answer.headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let age = control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok());
    Duration::from_secs(age.unwrap_or(0)).clamp(SHORTEST, LONGEST)
}

fn unusable(issuer: &str, what: String) -> Refusal {
    let fault = Fault::connection(format!("the metadata of {issuer} cannot be used: {what}"));
    Refusal::passing(fault, Effect::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_where_both_standards_put_it() {
        for (issuer, expected) in [
            (
                "https://as.example",
                [
                    "https://as.example/.well-known/openid-configuration",
                    "https://as.example/.well-known/oauth-authorization-server",
                ],
            ),
            (
                "https://as.example/tenant/",
                [
                    "https://as.example/tenant/.well-known/openid-configuration",
                    "https://as.example/.well-known/oauth-authorization-server/tenant",
                ],
            ),
        ] {
            let found: Vec<String> = addresses(issuer).iter().map(Url::to_string).collect();
            assert_eq!(found, expected);
        }
    }
}
