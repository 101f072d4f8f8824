//! Credentials that are the same for each request: a token, or a user name and a password.

use ::http::header;
use base64::Engine as _;
use karez_api::Json;
use subtle::ConstantTimeEq;

use super::super::answer::{self, Refusal};
use super::path::BodyPath;
use super::place::Place;
use super::request::Request;
use super::secrets::{Dated, Keys};
use super::signed::items;
use super::{BASE64, Verified, by};

pub(in super::super) struct Token {
    pub(super) place: Place,
    /// It stands after `Bearer `.
    pub(super) bearer: bool,
    pub(super) each: Option<BodyPath>,
    pub(super) tokens: Keys,
}

impl Token {
    pub(super) fn head(&self, request: &Request<'_>) -> Result<(), Refusal> {
        match self.place.in_head() {
            true => self.verify(request).map(drop),
            false => Ok(()),
        }
    }

    pub(super) fn verify(&self, request: &Request<'_>) -> Result<Verified, Refusal> {
        let refuse = |what: String| answer::unauthorized(&what, self.bearer.then_some("Bearer"));
        match &self.each {
            None => self.one(request, None).map_err(refuse),
            Some(path) => items(request, path)
                .map_err(refuse)?
                .iter()
                .try_fold(Verified::default(), |_, item| self.one(request, Some(item)).map_err(refuse)),
        }
    }

    fn one(&self, request: &Request<'_>, item: Option<&Json>) -> Result<Verified, String> {
        let about = |what: &str| format!("{} {what}", self.place.name());
        let texts = self.place.texts(request, item).map_err(about)?;
        let [written] = &*texts else {
            return Err(about("stands twice"));
        };
        let given = match self.bearer {
            true => after_scheme(written, b"bearer").ok_or_else(|| about("has no bearer token"))?,
            false => written,
        };
        let matched = Dated::matching(&self.tokens, request.now, |token| token.ct_eq(given));
        matched.map(by).ok_or_else(|| about("holds a wrong token"))
    }
}

pub(in super::super) struct Basic {
    pub(super) username: Vec<u8>,
    pub(super) password: Vec<u8>,
}

impl Basic {
    pub(super) fn verify(&self, request: &Request<'_>) -> Result<Verified, Refusal> {
        let refuse = |what: &str| {
            answer::unauthorized(
                &format!("authorization {what}"),
                Some(r#"Basic realm="webhook", charset="UTF-8""#),
            )
        };
        let written = request.header(&header::AUTHORIZATION).map_err(refuse)?;
        let encoded = after_scheme(written, b"basic").ok_or_else(|| refuse("is not basic"))?;
        let pair = BASE64.decode(encoded).map_err(|_| refuse("is not base64"))?;
        // RFC 7617 §2: a user name holds no colon, a password may.
        let colon = pair.iter().position(|byte| *byte == b':').ok_or_else(|| refuse("holds no password"))?;
        let matched = self.username.ct_eq(&pair[..colon]) & self.password.ct_eq(&pair[colon + 1..]);
        match bool::from(matched) {
            true => Ok(by(0)),
            false => Err(refuse("holds a wrong username or password")),
        }
    }
}

/// What follows the scheme of an `Authorization`; scheme names have no case (RFC 9110 §11.1).
pub(super) fn after_scheme<'a>(written: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (given, rest) = written.split_at_checked(scheme.len())?;
    (given.eq_ignore_ascii_case(scheme) && rest.first() == Some(&b' ')).then(|| rest.trim_ascii())
}
