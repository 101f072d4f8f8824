//! Where an authorization server is asked: as the file says, else as its metadata says.

use std::collections::BTreeMap;

use karez_api::Fault;
use reqwest::Url;

use super::client::Client;
use super::metadata::Document;
use super::refusal::Refusal;
use crate::Effect;
use crate::address::Template;
use crate::spec::OAuth2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Authorization,
    Token,
    Refresh,
    Revocation,
    Introspection,
    Device,
    Pushed,
    Keys,
}

impl Endpoint {
    /// The setting.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Authorization => "authorization_url",
            Self::Token => "token_url",
            Self::Refresh => "refresh_url",
            Self::Revocation => "revocation_url",
            Self::Introspection => "introspection_url",
            Self::Device => "device_authorization_url",
            Self::Pushed => "pushed_authorization_url",
            Self::Keys => "jwks_url",
        }
    }

    pub(crate) fn said(self, spec: &OAuth2) -> Option<&str> {
        let said = match self {
            Self::Authorization => &spec.authorization_url,
            Self::Token => &spec.token_url,
            Self::Refresh => &spec.refresh_url,
            Self::Revocation => &spec.revocation_url,
            Self::Introspection => &spec.introspection_url,
            Self::Device => &spec.device_authorization_url,
            Self::Pushed => &spec.pushed_authorization_url,
            Self::Keys => &spec.jwks_url,
        };
        said.as_deref()
    }

    /// Who has a certificate shows it, whether it proves the client or only binds its tokens (RFC 8705 §5).
    fn in_document(self, document: &Document, is_certified: bool) -> Option<&Url> {
        let aliases = &document.mtls_endpoint_aliases;
        let (alias, usual) = match self {
            Self::Authorization => (&None, &document.authorization_endpoint),
            Self::Token | Self::Refresh => (&aliases.token_endpoint, &document.token_endpoint),
            Self::Revocation => (&aliases.revocation_endpoint, &document.revocation_endpoint),
            Self::Introspection => (&aliases.introspection_endpoint, &document.introspection_endpoint),
            Self::Device => (&aliases.device_authorization_endpoint, &document.device_authorization_endpoint),
            Self::Pushed => (
                &aliases.pushed_authorization_request_endpoint,
                &document.pushed_authorization_request_endpoint,
            ),
            Self::Keys => (&None, &document.jwks_uri),
        };
        alias.as_ref().filter(|_| is_certified).or(usual.as_ref())
    }
}

impl Client {
    /// Nothing where neither the file nor the metadata says.
    ///
    /// # Errors
    /// The metadata is needed and cannot be had, or what is said is no address.
    pub(crate) async fn find(
        &self,
        endpoint: Endpoint,
        kept: &BTreeMap<String, String>,
    ) -> Result<Option<Url>, Refusal> {
        if let Some(said) = endpoint.said(&self.spec) {
            let filled = Template::read(said).fill_address(&self.values(kept));
            let url =
                filled.and_then(|text| Url::parse(&text).map_err(|what| format!("it is no address: {what}")));
            return url.map(Some).map_err(|what| self.unusable(endpoint, &what));
        }
        if endpoint == Endpoint::Refresh && self.spec.token_url.is_some() {
            return Box::pin(self.find(Endpoint::Token, kept)).await;
        }
        let document = self.metadata.document(self).await?;
        Ok(document.and_then(|document| endpoint.in_document(&document, self.is_certified).cloned()))
    }

    /// # Errors
    /// As [`Client::find`], or nobody says where it is.
    pub(crate) async fn address(
        &self,
        endpoint: Endpoint,
        kept: &BTreeMap<String, String>,
    ) -> Result<Url, Refusal> {
        let found = self.find(endpoint, kept).await?;
        found.ok_or_else(|| self.unusable(endpoint, "neither the file nor the issuer's metadata says it"))
    }

    /// What stands for `{name}`. The file's go first: a far end does not replace what somebody wrote.
    pub(super) fn values(&self, kept: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut values = kept.clone();
        values.extend(self.params.clone());
        values
    }

    fn unusable(&self, endpoint: Endpoint, what: &str) -> Refusal {
        let message = format!("`auth.oauth2.{}` of connection {}: {what}", endpoint.name(), self.name);
        Refusal::passing(Fault::auth(message), Effect::None)
    }
}
