//! Proof of possession (RFC 9449): tokens that count only together with a key of ours.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use karez_api::{Fault, Json, JsonMap, Millis, Secret};
use reqwest::Url;
use serde_json::json;
use uuid::Uuid;

use crate::Response;
use crate::auth::jose::{SigningKey, thumbprint};
use crate::jose::{BASE64URL, Hash};
use crate::spec::JwtAlgorithm;

/// Far ends whose last nonce is remembered.
const MOST_NONCES: usize = 16;
const LONGEST_NONCE: usize = 1 << 10;

/// The key that tokens are bound to.
pub(crate) struct DpopKey {
    pem: Secret,
    key: SigningKey,
    public: Json,
}

impl DpopKey {
    /// # Errors
    /// There is no randomness to be had.
    pub(crate) fn generate() -> Result<Self, Fault> {
        Self::read(SigningKey::generate_es256()?)
    }

    /// # Errors
    /// It is no key for ES256.
    pub(crate) fn read(pem: Secret) -> Result<Self, Fault> {
        let key = SigningKey::read(JwtAlgorithm::ES256, &pem)
            .map_err(|what| Fault::fatal(format!("the key that the tokens are bound to: {what}")))?;
        Ok(Self { public: key.public_jwk(), key, pem })
    }

    pub(crate) fn pem(&self) -> &Secret {
        &self.pem
    }

    /// `jkt` of RFC 9449 §6.1.
    pub(crate) fn thumbprint(&self) -> String {
        thumbprint(&self.public)
    }

    /// For one request (RFC 9449 §4.2); `token` is what goes with it.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub(crate) fn proof(
        &self,
        to: To<'_>,
        token: Option<&Secret>,
        now: Millis,
    ) -> Result<HeaderValue, Fault> {
        let mut header = JsonMap::new();
        header.insert("typ".into(), "dpop+jwt".into());
        header.insert("jwk".into(), self.public.clone());
        let mut address = to.url.clone();
        address.set_query(None);
        address.set_fragment(None);
        let mut claims = JsonMap::new();
        claims.insert("jti".into(), Uuid::new_v4().to_string().into());
        claims.insert("htm".into(), to.method.as_str().into());
        claims.insert("htu".into(), address.as_str().into());
        claims.insert("iat".into(), json!(now.0 / 1_000));
        if let Some(token) = token {
            claims.insert("ath".into(), of_token(token).into());
        }
        if let Some(nonce) = to.nonce {
            claims.insert("nonce".into(), nonce.into());
        }
        let proof = self.key.sign(header, claims)?;
        HeaderValue::try_from(proof).map_err(|_| Fault::fatal("a proof of possession does not fit a header"))
    }
}

/// The request that a proof is for.
pub(crate) struct To<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    pub(crate) nonce: Option<&'a str>,
}

/// `ath`: the hash of the token.
fn of_token(token: &Secret) -> String {
    BASE64URL.encode(Hash::Sha256.digest(token.expose().as_bytes()))
}

/// What servers want to see in the next proof (RFC 9449 §8, §9), by their origin.
#[derive(Default)]
pub(crate) struct Nonces(Mutex<BTreeMap<String, String>>);

impl Nonces {
    pub(crate) fn of(&self, url: &Url) -> Option<String> {
        self.map().get(&origin(url)).cloned()
    }

    /// Remembers the nonce of an answer. True where it is another than before.
    pub(crate) fn learn(&self, url: &Url, headers: &HeaderMap) -> bool {
        let nonce = headers.get("dpop-nonce").and_then(|nonce| nonce.to_str().ok());
        let Some(nonce) = nonce.filter(|nonce| !nonce.is_empty() && nonce.len() <= LONGEST_NONCE) else {
            return false;
        };
        let mut map = self.map();
        if map.len() >= MOST_NONCES && !map.contains_key(&origin(url)) {
            map.pop_first();
        }
        map.insert(origin(url), nonce.to_owned()).as_deref() != Some(nonce)
    }

    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer refuses a proof only because its nonce is missing or old.
pub(crate) fn wants_nonce(answer: &Response) -> bool {
    let challenge = || {
        let all = answer.headers.get_all(http::header::WWW_AUTHENTICATE);
        all.iter().any(|one| one.to_str().is_ok_and(|text| text.contains("use_dpop_nonce")))
    };
    let body = || {
        let body: Option<Json> = serde_json::from_slice(&answer.body).ok();
        body.is_some_and(|body| body["error"] == "use_dpop_nonce")
    };
    answer.headers.contains_key("dpop-nonce")
        && match answer.status {
            StatusCode::UNAUTHORIZED => challenge() || body(),
            StatusCode::BAD_REQUEST => body(),
            _ => false,
        }
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Token;

    #[test]
    fn the_token_is_hashed_as_in_the_rfc() {
        let token = Secret::new("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
        assert_eq!(of_token(&token), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    }

    #[test]
    fn a_proof_is_about_one_request() {
        let key = DpopKey::generate().unwrap();
        let again = DpopKey::read(key.pem().clone()).unwrap();
        assert_eq!(key.thumbprint(), again.thumbprint());
        let url = Url::parse("https://api.example.com/a?secret=1#x").unwrap();
        let to = To { method: &Method::GET, url: &url, nonce: Some("n") };
        let proof = key.proof(to, Some(&Secret::new("t")), Millis(5_999)).unwrap();
        let token = Token::read(proof.as_bytes()).unwrap();
        assert_eq!((&token.header["typ"], &token.header["alg"]), (&json!("dpop+jwt"), &json!("ES256")));
        assert!(token.header["jwk"].get("d").is_none());
        let claims = crate::jose::fields(token.claims).unwrap();
        assert_eq!(claims["htu"], "https://api.example.com/a");
        assert_eq!(
            (&claims["htm"], &claims["iat"], &claims["nonce"]),
            (&json!("GET"), &json!(5), &json!("n"))
        );
    }

    #[test]
    fn a_nonce_is_of_its_origin_and_new_once() {
        let nonces = Nonces::default();
        let url = Url::parse("https://api.example.com/a").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("dpop-nonce", HeaderValue::from_static("one"));
        assert!(nonces.learn(&url, &headers));
        assert!(!nonces.learn(&url, &headers));
        assert_eq!(nonces.of(&Url::parse("https://api.example.com/b").unwrap()).as_deref(), Some("one"));
        assert_eq!(nonces.of(&Url::parse("https://other.example.com/").unwrap()), None);
    }
}
