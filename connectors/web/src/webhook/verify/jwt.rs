//! A signed token in a header (RFC 7519) whose claims may bind the body. The clock is the engine's
//! and the algorithm is the file's: what the token says of its own algorithm must agree.

mod algorithm;

use std::borrow::Cow;
use std::time::Duration;

use karez_api::{Json, JsonMap, Millis};
use karez_net::jose::{Named, PublicKey, Token, fields};
use reqwest::Url;
use subtle::{Choice, ConstantTimeEq};

use super::super::answer::{self, Refusal};
use super::fetched::{Kind, Known, Missing};
use super::mac::{Algorithm, Mac};
use super::place::{Encoding, Place};
use super::request::Request;
use super::secrets::Dated;
use super::token::after_scheme;

use super::{Denied, Verified, by};
pub(super) use algorithm::JwtAlgorithm;

/// How long a set of keys is believed that it has no other key, in milliseconds.
const MINUTE: u64 = 60_000;

pub(super) enum JwtKeys {
    Hmac(Vec<Dated<Mac>>),
    Public(Vec<Dated<PublicKey>>),
    /// The address of a set of keys.
    Set(Url),
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
    /// All but the body's hash, and the signature where its key stands elsewhere.
    pub(super) fn head(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let texts = self.texts(request)?;
        let token = self.token(&texts)?;
        if !matches!(self.keys, JwtKeys::Set(_)) {
            self.proved(&token, request.now)?;
        }
        self.claims(&token, request.now).map(drop)
    }

    pub(super) fn verify(&self, request: &Request<'_>, known: &Known) -> Result<Verified, Denied> {
        let texts = self.texts(request)?;
        let token = self.token(&texts)?;
        let verified = match &self.keys {
            JwtKeys::Set(address) => self.proved_by_set(&token, address, known, request.now)?,
            _ => self.proved(&token, request.now)?,
        };
        let claims = self.claims(&token, request.now)?;
        let issued = claims.get("iat").and_then(Json::as_f64);
        let at = issued.map(|seconds| Millis((seconds * 1_000.0) as u64));
        let verified = Verified { at, ..verified };
        let Some((name, encoding)) = &self.body_claim else {
            return Ok(verified);
        };
        let hash = Algorithm::Sha256.digest(&[Cow::Borrowed(request.body)]);
        let given = claims.get(name).and_then(Json::as_str).map(|text| encoding.decode(text.as_bytes()));
        match given {
            Some(Ok(given)) if given == hash => Ok(verified),
            Some(_) => Err(self.refuse(&format!("holds a {name} that is not the hash of the body")).into()),
            None => Err(self.refuse(&format!("holds no {name}")).into()),
        }
    }

    /// The set that the keys stand in, if they do not stand in the file.
    pub(super) fn set(&self) -> Option<Missing> {
        match &self.keys {
            JwtKeys::Set(address) => Some(self.missing(address)),
            _ => None,
        }
    }

    fn missing(&self, address: &Url) -> Missing {
        Missing { address: address.clone(), kind: Kind::Set(self.algorithm) }
    }

    fn refuse(&self, what: &str) -> Refusal {
        answer::unauthorized(&format!("{} {what}", self.place.name()), self.bearer.then_some("Bearer"))
    }

    fn texts(&self, request: &Request<'_>) -> Result<Vec<Vec<u8>>, Refusal> {
        self.place.texts(request, None).map_err(|what| self.refuse(what))
    }

    /// The parts of a token that is signed as the file says.
    fn token<'t>(&self, texts: &'t [Vec<u8>]) -> Result<Token<'t>, Refusal> {
        let [written] = texts else {
            return Err(self.refuse("stands twice"));
        };
        let written = match self.bearer {
            true => after_scheme(written, b"bearer").ok_or_else(|| self.refuse("has no bearer token"))?,
            false => written,
        };
        let token = Token::read(written).ok_or_else(|| self.refuse("is no JWT"))?;
        if token.header.get("alg").and_then(Json::as_str) != Some(self.algorithm.name()) {
            return Err(self.refuse("is signed with another algorithm than the file says"));
        }
        if token.header.contains_key("crit") {
            return Err(self.refuse("asks for an extension that is not known here"));
        }
        Ok(token)
    }

    fn proved(&self, token: &Token<'_>, now: Millis) -> Result<Verified, Refusal> {
        let secret = self.keys.matching(token.signed, &token.signature, now);
        secret.map(by).ok_or_else(|| self.refuse("has a wrong signature"))
    }

    /// A key that is not in the set may have been added since: the set is asked for again, but not each time that
    /// somebody makes a key up.
    fn proved_by_set(
        &self,
        token: &Token<'_>,
        address: &Url,
        known: &Known,
        now: Millis,
    ) -> Result<Verified, Denied> {
        let missing = || Denied::Missing(Box::new(self.missing(address)));
        let id = match token.header.get("kid") {
            None => None,
            Some(Json::String(id)) => Some(id),
            Some(_) => return Err(self.refuse("names its key in a way that is not known here").into()),
        };
        let set = known.set(address).ok_or_else(missing)?;
        let named = |key: &&Named| id.is_none_or(|id| key.id.as_ref() == Some(id));
        let mut named = set.iter().filter(named).peekable();
        if named.peek().is_none() {
            let age = known.fetched_at(address).map_or(u64::MAX, |at| now.0.saturating_sub(at.0));
            return match age >= MINUTE {
                true => Err(missing()),
                false => Err(self.refuse("names a key that its issuer does not have").into()),
            };
        }
        match named.any(|named| named.key.verifies(token.signed, &token.signature)) {
            true => Ok(Verified::default()),
            false => Err(self.refuse("has a wrong signature").into()),
        }
    }

    fn claims(&self, token: &Token<'_>, now: Millis) -> Result<JsonMap, Refusal> {
        let claims = fields(token.claims).ok_or_else(|| self.refuse("is no JWT"))?;
        self.judge(&claims).map_err(|what| self.refuse(what))?;
        let about = |what: String| format!("{} {what}", self.place.name());
        self.judge_times(&claims, now).map_err(|what| answer::stale(&about(what)))?;
        Ok(claims)
    }

    fn judge(&self, claims: &JsonMap) -> Result<(), &'static str> {
        let text = |name| claims.get(name).and_then(Json::as_str);
        if self.issuer.is_some() && text("iss") != self.issuer.as_deref() {
            return Err("is from another issuer");
        }
        if let Some(wanted) = &self.audience {
            let fits = match claims.get("aud") {
                Some(Json::Array(list)) => list.iter().any(|one| one.as_str() == Some(wanted)),
                one => one.and_then(Json::as_str) == Some(wanted),
            };
            if !fits {
                return Err("is for another audience");
            }
        }
        Ok(())
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
            Self::Set(_) => None,
        }
    }
}
