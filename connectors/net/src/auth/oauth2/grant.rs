//! The parameters of each grant.

use std::collections::BTreeMap;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use karez_api::{Fault, Secret};
use reqwest::Url;
use tokio::io::AsyncReadExt;

use super::client::{Client, Fresh};
use super::dpop::DpopKey;
use super::endpoint::Endpoint;
use super::params::Params;
use super::refusal::Refusal;
use crate::address::Template;
use crate::auth::jose::{Fallback, make};
use crate::auth::sensitive;
use crate::spec::{Exchange, Grant};
use crate::{Effect, Request};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const SAML_BEARER: &str = "urn:ietf:params:oauth:grant-type:saml2-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
/// Most bytes of a token that stands in a file.
const LONGEST_FILE: u64 = 64 << 10;

impl Grant {
    /// Whether tokens are got again at any time without a human and without spending anything.
    pub(crate) fn is_repeatable(self) -> bool {
        match self {
            Self::ClientCredentials | Self::JwtBearer | Self::SamlBearer | Self::TokenExchange => true,
            Self::AuthorizationCode | Self::DeviceCode | Self::RefreshToken => false,
        }
    }
}

impl Client {
    /// Tokens by a grant that needs nobody.
    ///
    /// # Errors
    /// None came.
    pub(crate) async fn grant(&self, dpop: Option<&DpopKey>) -> Result<Fresh, Refusal> {
        let kept = BTreeMap::new();
        if let Some(url) =
            self.spec.assertion.as_ref().and_then(|assertion| assertion.installation_url.as_deref())
        {
            return self.installation(url).await;
        }
        let url = self.address(Endpoint::Token, &kept).await?;
        let params = self.grant_params(&url).await.map_err(|fault| Refusal::passing(fault, Effect::None))?;
        self.tokens(url, params, dpop).await
    }

    async fn grant_params(&self, url: &Url) -> Result<Params, Fault> {
        let mut params = match self.spec.grant {
            Grant::JwtBearer => {
                let mut params = self.typed(JWT_BEARER);
                params.set("assertion", self.assertion(url.as_str())?);
                params
            }
            Grant::SamlBearer => {
                let saml = self.saml.as_ref().ok_or_else(|| self.missing("saml"))?;
                let mut params = self.typed(SAML_BEARER);
                params.set("assertion", saml.assertion(url.as_str(), self.there()).await?);
                params
            }
            Grant::TokenExchange => {
                let spec = self.spec.exchange.as_ref().ok_or_else(|| self.missing("exchange"))?;
                let mut params = self.typed(TOKEN_EXCHANGE);
                exchange(spec, &mut params).await?;
                params
            }
            _ => self.typed("client_credentials"),
        };
        self.put_scope(&mut params);
        self.put_targets(&mut params);
        if let Some(audience) = &self.spec.audience {
            params.set("audience", audience);
        }
        params.set_all(&self.spec.token_request.params);
        Ok(params)
    }

    /// GitHub Apps: the JWT itself is the credential of a call that yields a token.
    async fn installation(&self, url: &str) -> Result<Fresh, Refusal> {
        let passing = |fault| Refusal::passing(fault, Effect::None);
        let filled = Template::read(url).fill_address(&self.params);
        let url = filled.and_then(|text| Url::parse(&text).map_err(|what| what.to_string()));
        let url = url.map_err(|what| {
            passing(Fault::auth(format!("`installation_url` of connection {}: {what}", self.name)))
        })?;
        let mut params = Params::default();
        params.set_all(&self.spec.token_request.params);
        let mut request = Request::new(Method::POST, url);
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let extra = super::client::headers(&self.spec.token_request.headers).map_err(passing)?;
        request.headers.extend(extra);
        let bearer = format!("Bearer {}", self.assertion(request.url.as_str()).map_err(passing)?);
        request.headers.insert(AUTHORIZATION, sensitive(&bearer).map_err(|what| passing(Fault::auth(what)))?);
        request.body = params.json().into();
        let asked = self.send(&request).await?;
        self.read(asked)
    }

    fn assertion(&self, audience: &str) -> Result<String, Fault> {
        match (&self.spec.assertion, &self.assertion_key) {
            (Some(assertion), Some(key)) => {
                let fallback = Fallback {
                    issuer: self.spec.client_id.as_deref(),
                    subject: None,
                    audience: Some(audience),
                };
                make(&assertion.jwt, key, fallback, self.there())
            }
            _ => Err(self.missing("assertion")),
        }
    }

    /// Tokens for a refresh token, which this may spend.
    ///
    /// # Errors
    /// None came.
    pub(crate) async fn refresh(
        &self,
        refresh_token: &Secret,
        kept: &BTreeMap<String, String>,
        dpop: Option<&DpopKey>,
    ) -> Result<Fresh, Refusal> {
        let url = self.address(Endpoint::Refresh, kept).await?;
        let mut params = Params::default();
        let usual = match (self.spec.grant, &self.spec.token_request.grant_type) {
            (Grant::RefreshToken, Some(other)) => other,
            _ => "refresh_token",
        };
        params.set("grant_type", usual);
        params.set("refresh_token", refresh_token.expose());
        self.put_targets(&mut params);
        params.set_all(&self.spec.token_request.params);
        for (name, value) in self.spec.refresh_params.iter().flatten() {
            let filled = Template::read(value).fill(&self.values(kept)).unwrap_or_else(|_| value.clone());
            params.set(name, filled);
        }
        self.tokens(url, params, dpop).await
    }

    /// Tokens for the code that a log-in yielded (RFC 6749 §4.1.3).
    ///
    /// # Errors
    /// None came.
    pub(crate) async fn exchange_code(
        &self,
        code: &Code<'_>,
        kept: &BTreeMap<String, String>,
        dpop: Option<&DpopKey>,
    ) -> Result<Fresh, Refusal> {
        let url = self.address(Endpoint::Token, kept).await?;
        let mut params = self.typed("authorization_code");
        params.set("code", code.code.expose());
        params.set("redirect_uri", code.redirect_url);
        if let Some(verifier) = code.verifier {
            params.set("code_verifier", verifier.expose());
        }
        self.put_targets(&mut params);
        params.set_all(&self.spec.token_request.params);
        self.tokens(url, params, dpop).await
    }

    /// Tokens for a device code, as soon as the human is done (RFC 8628 §3.4).
    ///
    /// # Errors
    /// None came; `authorization_pending` and `slow_down` pass.
    pub(crate) async fn exchange_device_code(
        &self,
        device_code: &Secret,
        dpop: Option<&DpopKey>,
    ) -> Result<Fresh, Refusal> {
        let url = self.address(Endpoint::Token, &BTreeMap::new()).await?;
        let mut params = self.typed(DEVICE_CODE);
        params.set("device_code", device_code.expose());
        self.put_targets(&mut params);
        params.set_all(&self.spec.token_request.params);
        self.tokens(url, params, dpop).await
    }

    fn typed(&self, usual: &str) -> Params {
        let mut params = Params::default();
        params.set("grant_type", self.spec.token_request.grant_type.as_deref().unwrap_or(usual));
        params
    }

    pub(crate) fn put_scope(&self, params: &mut Params) {
        if !self.spec.scopes.is_empty() {
            let separator = self.spec.scope_separator.as_deref().unwrap_or(" ");
            params.set("scope", self.spec.scopes.join(separator));
        }
    }

    /// RFC 8707.
    pub(crate) fn put_targets(&self, params: &mut Params) {
        for resource in &self.spec.resource {
            params.add("resource", resource);
        }
    }

    fn missing(&self, setting: &str) -> Fault {
        Fault::fatal(format!("connection {}: `auth.oauth2.{setting}` is missing", self.name))
    }
}

/// What a log-in came back with.
pub(crate) struct Code<'a> {
    pub(crate) code: &'a Secret,
    pub(crate) redirect_url: &'a str,
    pub(crate) verifier: Option<&'a Secret>,
}

/// RFC 8693 §2.1.
async fn exchange(spec: &Exchange, params: &mut Params) -> Result<(), Fault> {
    let subject = match (&spec.subject_token, &spec.subject_token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(file)) => token_in(file).await?,
        (None, None) => {
            return Err(Fault::fatal("`exchange` has neither `subject_token` nor `subject_token_file`"));
        }
    };
    params.set("subject_token", subject.expose());
    params.set("subject_token_type", spec.subject_token_type.as_deref().unwrap_or(JWT_TYPE));
    if let Some(actor) = &spec.actor_token {
        params.set("actor_token", actor.expose());
        params.set("actor_token_type", spec.actor_token_type.as_deref().unwrap_or(JWT_TYPE));
    }
    if let Some(kind) = &spec.requested_token_type {
        params.set("requested_token_type", kind);
    }
    Ok(())
}

async fn token_in(file: &str) -> Result<Secret, Fault> {
    let unreadable = |what: std::io::Error| Fault::auth(format!("`subject_token_file` {file}: {what}"));
    let mut text = String::new();
    let open = tokio::fs::File::open(file).await.map_err(unreadable)?;
    open.take(LONGEST_FILE).read_to_string(&mut text).await.map_err(unreadable)?;
    match text.trim() {
        "" => Err(Fault::auth(format!("`subject_token_file` {file} is empty"))),
        token => Ok(Secret::new(token)),
    }
}
