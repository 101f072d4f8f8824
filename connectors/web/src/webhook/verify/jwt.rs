//! A signed token in a header (RFC 7519) whose claims may bind the body. The clock is the engine's
//! and the algorithm is the file's: what the token says of its own algorithm must agree.

use std::borrow::Cow;
use std::time::Duration;

use karez_api::{Body, Form, Json, JsonMap, Millis};
use subtle::{Choice, ConstantTimeEq};

use super::super::answer::{self, Refusal};
use super::Verified;
use super::mac::{Algorithm, Mac};
use super::place::{Encoding, Place};
use super::public_key::PublicKey;
use super::request::Request;
use super::secrets::Dated;
use super::token::after_scheme;

/// The one algorithm that tokens are signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
pub(super) enum JwtAlgorithm {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "HS512")]
    Hs512,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "RS512")]
    Rs512,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl JwtAlgorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

pub(super) enum JwtKeys {
    Hmac(Vec<Dated<Mac>>),
    Public(Vec<Dated<PublicKey>>),
}

pub(in super::super) struct Jwt {
    pub(super) place: Place,
    pub(super) bearer: bool,
    pub(super) algorithm: JwtAlgorithm,
    pub(super) keys: JwtKeys,
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    /// The claim that holds the SHA-256 of the body, and how it is written there.
    pub(super) body_claim: Option<(String, Encoding)>,
    /// How far clocks may be apart, and how long ago it may have been issued.
    pub(super) leeway: Duration,
    pub(super) max_age: Option<Duration>,
}

impl Jwt {
    /// All but the body's hash.
    pub(super) fn head(&self, request: &Request<'_>) -> Result<(), Refusal> {
        self.claims(request).map(drop)
    }

    pub(super) fn verify(&self, request: &Request<'_>) -> Result<Verified, Refusal> {
        let (claims, verified) = self.claims(request)?;
        let Some((name, encoding)) = &self.body_claim else {
            return Ok(verified);
        };
        let hash = Algorithm::Sha256.digest(&[Cow::Borrowed(request.body)]);
        let given = claims.get(name).and_then(Json::as_str).map(|text| encoding.decode(text.as_bytes()));
        match given {
            Some(Ok(given)) if given == hash => Ok(verified),
            Some(_) => Err(self.refuse(&format!("holds a {name} that is not the hash of the body"))),
            None => Err(self.refuse(&format!("holds no {name}"))),
        }
    }

    fn refuse(&self, what: &str) -> Refusal {
        answer::unauthorized(&format!("{} {what}", self.place.name()), self.bearer.then_some("Bearer"))
    }

    fn claims(&self, request: &Request<'_>) -> Result<(JsonMap, Verified), Refusal> {
        let refuse = |what: &str| self.refuse(what);
        let texts = self.place.texts(request, None).map_err(refuse)?;
        let [written] = &*texts else {
            return Err(refuse("stands twice"));
        };
        let token = match self.bearer {
            true => after_scheme(written, b"bearer").ok_or_else(|| refuse("has no bearer token"))?,
            false => written,
        };
        let (claims, verified) = self.opened(token, request.now).map_err(refuse)?;
        self.judge(&claims, request.now).map_err(|what| refuse(&what))?;
        Ok((claims, verified))
    }

    /// The claims of a token whose signature is right.
    fn opened(&self, token: &[u8], now: Millis) -> Result<(JsonMap, Verified), &'static str> {
        let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
        let [head, claims, signature] = *parts else {
            return Err("is no JWT");
        };
        let json = |bytes: Vec<u8>| Body::from_bytes(Form::Json, bytes.into()).into_tree();
        let map = |part| match Encoding::Base64url.decode(part).map(json) {
            Ok(Ok(Json::Object(fields))) => Ok(fields),
            _ => Err("is no JWT"),
        };
        let header = map(head)?;
        if header.get("alg").and_then(Json::as_str) != Some(self.algorithm.name()) {
            return Err("is signed with another algorithm than the file says");
        }
        if header.contains_key("crit") {
            return Err("asks for an extension that is not known here");
        }
        let signature = Encoding::Base64url.decode(signature).map_err(|_| "is no JWT")?;
        let signed = &token[..head.len() + 1 + claims.len()];
        let secret = self.keys.matching(signed, &signature, now).ok_or("has a wrong signature")?;
        Ok((map(claims)?, Verified::by(secret)))
    }

    fn judge(&self, claims: &JsonMap, now: Millis) -> Result<(), String> {
        let text = |name| claims.get(name).and_then(Json::as_str);
        if self.issuer.is_some() && text("iss") != self.issuer.as_deref() {
            return Err("is from another issuer".into());
        }
        if let Some(wanted) = &self.audience {
            let fits = match claims.get("aud") {
                Some(Json::Array(list)) => list.iter().any(|one| one.as_str() == Some(wanted)),
                one => one.and_then(Json::as_str) == Some(wanted),
            };
            if !fits {
                return Err("is for another audience".into());
            }
        }
        self.judge_times(claims, now)
    }

    fn judge_times(&self, claims: &JsonMap, now: Millis) -> Result<(), String> {
        let now = Duration::from_millis(now.0);
        let time = |name| match claims.get(name) {
            None => Ok(None),
            // NumericDate may have a fraction (RFC 7519 §2).
            Some(value) => {
                let seconds = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                seconds.map(Some).ok_or_else(|| format!("holds an {name} that is no time"))
            }
        };
        if time("exp")?.is_some_and(|end| now > end + self.leeway) {
            return Err("has expired".into());
        }
        if time("nbf")?.is_some_and(|start| now + self.leeway < start) {
            return Err("does not count yet".into());
        }
        let issued = time("iat")?;
        if issued.is_some_and(|issued| now + self.leeway < issued) {
            return Err("was issued in the future".into());
        }
        match (self.max_age, issued) {
            (None, _) => Ok(()),
            (Some(_), None) => Err("does not say when it was issued".into()),
            (Some(most), Some(issued)) if now > issued + most + self.leeway => Err("is too old".into()),
            (Some(_), Some(_)) => Ok(()),
        }
    }
}

impl JwtKeys {
    fn matching(&self, signed: &[u8], signature: &[u8], now: Millis) -> Option<usize> {
        match self {
            Self::Hmac(macs) => {
                Dated::matching(macs, now, |mac| mac.code(&[Cow::Borrowed(signed)]).ct_eq(signature))
            }
            Self::Public(keys) => {
                Dated::matching(keys, now, |key| Choice::from(u8::from(key.verifies(signed, signature))))
            }
        }
    }
}
