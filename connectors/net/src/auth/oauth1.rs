//! OAuth 1.0a (RFC 5849): each request is signed, the parameters of its query and of a form included.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header;
use karez_api::{Clock, Fault, Path, Problem, Secret};
use uuid::Uuid;

mod rsa_sha1;

use super::encode::strict;
use super::{Credentials, Stamp, sensitive};
use crate::jose::Hash;
use crate::spec::{OAuth1, OAuth1Method};
use crate::{Request, Response};
use rsa_sha1::RsaSha1;

pub(crate) struct OAuth1Credentials {
    consumer_key: String,
    token: Option<Secret>,
    realm: Option<String>,
    signer: Signer,
    clock: Arc<dyn Clock>,
}

enum Signer {
    /// With both secrets, encoded and joined (§3.4.2).
    Hmac(Hash, Secret),
    Rsa(Box<RsaSha1>),
    Plaintext(Secret),
}

/// What is different in each request.
struct Once {
    nonce: String,
    /// Unix seconds.
    timestamp: u64,
}

impl OAuth1Credentials {
    pub(super) fn new(spec: &OAuth1, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let secret = spec.token_secret.as_ref().map_or("", Secret::expose);
        let both = Secret::new(format!("{}&{}", strict(spec.consumer_secret.expose()), strict(secret)));
        let signer = match spec.method {
            OAuth1Method::HmacSha1 => Signer::Hmac(Hash::Sha1, both),
            OAuth1Method::HmacSha256 => Signer::Hmac(Hash::Sha256, both),
            OAuth1Method::RsaSha1 => Signer::Rsa(Box::new(RsaSha1::read(&spec.consumer_secret)?)),
            OAuth1Method::Plaintext => Signer::Plaintext(both),
        };
        let (token, realm) = (spec.token.clone(), spec.realm.clone());
        Ok(Self { consumer_key: spec.consumer_key.clone(), token, realm, signer, clock })
    }

    /// The value of `Authorization`.
    fn authorization(&self, request: &Request, once: &Once) -> Result<String, Fault> {
        let own = self.own(once);
        let signature = match &self.signer {
            Signer::Plaintext(both) => both.expose().to_owned(),
            Signer::Hmac(hash, both) => {
                let code = hash.mac(both.expose().as_bytes(), base_string(request, &own).as_bytes());
                STANDARD.encode(code)
            }
            Signer::Rsa(key) => STANDARD.encode(key.sign(base_string(request, &own).as_bytes())?),
        };
        let realm = self.realm.iter().map(|realm| format!("realm=\"{}\"", strict(realm)));
        let own = own.iter().map(|(name, value)| format!("{name}=\"{}\"", strict(value)));
        let signature = format!("oauth_signature=\"{}\"", strict(signature));
        let all: Vec<String> = realm.chain(own).chain([signature]).collect();
        Ok(format!("OAuth {}", all.join(", ")))
    }

    /// The parameters of the protocol (§3.1), but for the signature.
    fn own(&self, once: &Once) -> Vec<(&'static str, String)> {
        let mut own = vec![("oauth_consumer_key", self.consumer_key.clone())];
        if let Some(token) = &self.token {
            own.push(("oauth_token", token.expose().to_owned()));
        }
        own.push(("oauth_signature_method", self.signer.name().to_owned()));
        own.push(("oauth_timestamp", once.timestamp.to_string()));
        own.push(("oauth_nonce", once.nonce.clone()));
        own.push(("oauth_version", "1.0".to_owned()));
        own
    }
}

impl Signer {
    fn name(&self) -> &'static str {
        match self {
            Self::Hmac(Hash::Sha1, _) => "HMAC-SHA1",
            Self::Hmac(..) => "HMAC-SHA256",
            Self::Rsa(_) => "RSA-SHA1",
            Self::Plaintext(_) => "PLAINTEXT",
        }
    }
}

/// §3.4.1.
fn base_string(request: &Request, own: &[(&str, String)]) -> String {
    let mut all: Vec<(String, String)> =
        own.iter().map(|(name, value)| (strict(name), strict(value))).collect();
    let mut take = |encoded: &[u8]| {
        all.extend(form_urlencoded::parse(encoded).map(|(name, value)| (strict(&*name), strict(&*value))));
    };
    take(request.url.query().unwrap_or_default().as_bytes());
    if is_form(request) {
        take(&request.body);
    }
    all.sort();
    let all: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    // A port that is the scheme's own does not stand in a URL, and its host is in lower case.
    let mut address = request.url.clone();
    address.set_query(None);
    address.set_fragment(None);
    format!("{}&{}&{}", request.method.as_str(), strict(address.as_str()), strict(all.join("&")))
}

fn is_form(request: &Request) -> bool {
    let kind = request.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[async_trait]
impl Credentials for OAuth1Credentials {
    async fn apply(&self, request: &mut Request) -> Result<Stamp, Fault> {
        let once = Once { nonce: Uuid::new_v4().simple().to_string(), timestamp: self.clock.now().0 / 1_000 };
        let value = self.authorization(request, &once)?;
        request.headers.insert(header::AUTHORIZATION, sensitive(&value).map_err(Fault::auth)?);
        Ok(Stamp(0))
    }

    async fn refused(&self, _stamp: Stamp, _answer: &Response) -> Result<bool, Fault> {
        Ok(false)
    }
}

pub(super) fn check(spec: &OAuth1, at: &Path, problems: &mut Vec<Problem>) {
    if spec.method == OAuth1Method::RsaSha1
        && let Err(what) = RsaSha1::read(&spec.consumer_secret)
    {
        problems.push(Problem::error("bad-key", at.field("consumer_secret"), what));
    }
    if spec.token_secret.is_some() && spec.token.is_none() {
        problems.push(Problem::error("unused", at.field("token_secret"), "it needs `token`"));
    }
}

#[cfg(test)]
mod tests;
