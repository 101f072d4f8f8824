//! From the settings of a signed token to a scheme with its keys.

use ::http::header;
use karez_api::{Checker, Problem};
use reqwest::Url;

use super::super::super::header_name;
use super::super::Verifier;
use super::super::jwt::{Jwt, JwtAlgorithm, JwtKeys};
use super::super::mac::{Algorithm, Mac};
use super::super::pinned::may_be_fetched;
use super::super::place::Place;
use super::super::secrets::{Dated, empty_secret};
use super::super::spec::JwtSpec;
use super::Places;
use super::signature::public_keys;

impl JwtSpec {
    pub(super) fn check(self, cx: &Checker<'_>, places: &Places) -> Option<Verifier> {
        let at = &places.scheme;
        let place = match &self.header {
            None => Place::Headers(vec![header::AUTHORIZATION]),
            Some(name) => Place::Headers(vec![header_name(cx, &at.field("header"), name)?]),
        };
        let keys = self.keys(cx, places)?;
        Some(Verifier::Jwt(Box::new(Jwt {
            place,
            bearer: self.header.is_none(),
            algorithm: self.algorithm,
            keys,
            issuer: self.issuer,
            audience: self.audience,
            body_claim: self.body_claim.map(|name| (name, self.body_claim_encoding)),
            leeway: self.leeway.0,
            max_age: self.max_age.map(|age| age.0),
        })))
    }

    fn keys(&self, cx: &Checker<'_>, places: &Places) -> Option<JwtKeys> {
        let hash = match self.algorithm {
            JwtAlgorithm::Hs256 => Some(Algorithm::Sha256),
            JwtAlgorithm::Hs512 => Some(Algorithm::Sha512),
            _ => None,
        };
        let (unfit, fit) = match hash {
            Some(_) => (self.key.is_some().then_some("key"), "secret"),
            None => (self.secret.is_some().then_some("secret"), "key"),
        };
        if let Some(name) = unfit {
            let message = format!("this algorithm has a `{fit}`, no `{name}`");
            cx.report(Problem::error("misplaced-setting", places.scheme.field(name), message).on_key());
            return None;
        }
        if let Some(address) = &self.jwks {
            return self.set(cx, places, address);
        }
        match (hash, self.algorithm.scheme()) {
            (Some(hash), _) => self.macs(cx, places, hash),
            (None, scheme) => {
                public_keys(cx, &places.key, self.key.as_ref(), scheme?, "").map(JwtKeys::Public)
            }
        }
    }

    fn set(&self, cx: &Checker<'_>, places: &Places, address: &str) -> Option<JwtKeys> {
        let at = places.scheme.field("jwks");
        if self.algorithm.scheme().is_none() || self.key.is_some() {
            let message = "a set of keys stands in place of `key`, where there is one";
            cx.report(Problem::error("misplaced-setting", at, message).on_key());
            return None;
        }
        let url = Url::parse(address).ok().filter(may_be_fetched);
        if url.is_none() {
            cx.report(
                Problem::error("bad-url", at, "the keys cannot be fetched from there")
                    .help("write an address that begins with https://"),
            );
        }
        url.map(JwtKeys::Set)
    }

    fn macs(&self, cx: &Checker<'_>, places: &Places, hash: Algorithm) -> Option<JwtKeys> {
        let Some(secret) = &self.secret else {
            cx.report(empty_secret(places.secret.clone()));
            return None;
        };
        let secrets = secret.bytes(cx, &places.secret, self.secret_encoding, "")?;
        let mac = |secret: Dated<Vec<u8>>| {
            Some(Dated { value: Mac::new(hash, &secret.value)?, not_after: secret.not_after })
        };
        Some(JwtKeys::Hmac(secrets.into_iter().filter_map(mac).collect()))
    }
}
