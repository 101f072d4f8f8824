//! Requests that carry a code made from what they say: keyed hashes, hashes with a secret inside,
//! and signatures.

use std::borrow::Cow;

use ::http::HeaderName;
use karez_api::Json;
use karez_net::jose::{PublicKey, Scheme};
use subtle::{Choice, ConstantTimeEq};

use super::super::answer::{self, Refusal};
use super::fetched::{Kind, Known, Missing};
use super::mac::{Algorithm, Mac};
use super::message::{Given, Message};
use super::path::{BodyPath, plain};
use super::pinned::Address;
use super::place::{Encoding, Place, Written};
use super::request::Request;
use super::secrets::Dated;
use super::time::Timestamp;
use super::url::PublicUrl;
use super::{Denied, Verified, by};

/// Most items of one body that carry a code each.
const MOST_ITEMS: usize = 1_000;

/// A checked scheme with its keys.
pub(in super::super) struct Signed {
    pub(super) written: Written,
    pub(super) message: Message,
    pub(super) timestamp: Option<Timestamp>,
    /// Headers that must have these values.
    pub(super) require: Vec<(HeaderName, String)>,
    /// Fields of the body that must have one of these values.
    pub(super) require_fields: Vec<(BodyPath, Vec<String>)>,
    /// The list in the body whose items carry a code each.
    pub(super) each: Option<BodyPath>,
    pub(super) body_hash: Option<BodyHash>,
    pub(super) public_url: Option<PublicUrl>,
    pub(super) proof: Proof,
}

/// A hash of the body that stands in something signed.
pub(super) struct BodyHash {
    pub(super) place: Place,
    pub(super) algorithm: Algorithm,
    pub(super) encoding: Encoding,
}

pub(super) enum Proof {
    Hmac(Algorithm, Vec<Dated<Mac>>),
    /// The secret is a part of the message.
    Hash(Algorithm, Vec<Dated<Vec<u8>>>),
    Public(Vec<Dated<PublicKey>>),
    /// The key of the certificate that a request names.
    Certificate(Scheme, Address),
}

impl Proof {
    fn length(&self) -> Option<usize> {
        match self {
            Self::Hmac(algorithm, _) | Self::Hash(algorithm, _) => Some(algorithm.length()),
            Self::Public(keys) => keys.first().and_then(|key| key.value.length()),
            Self::Certificate(scheme, _) => scheme.length(),
        }
    }
}

impl Signed {
    /// What the head alone shows: a code that is missing, malformed or of the wrong length.
    pub(super) fn head(&self, request: &Request<'_>) -> Result<(), Refusal> {
        self.required(request).map_err(unauthorized)?;
        match self.written.place.in_head() {
            true => self.codes(request, None).map(drop).map_err(unauthorized),
            false => Ok(()),
        }
    }

    pub(super) fn verify(&self, request: &Request<'_>, known: &Known) -> Result<Verified, Denied> {
        self.required(request).map_err(unauthorized)?;
        let timestamp = self.timestamp.as_ref().map(|timestamp| timestamp.text(request)).transpose();
        let timestamp = timestamp.map_err(unauthorized)?;
        // Before a key is fetched: who does not know them cannot have one fetched.
        self.required_fields(request).map_err(unauthorized)?;
        let certified = self.certified(request, known)?;
        let asked = Asked { request, timestamp: timestamp.as_deref(), certified };
        let one = |item| self.one(&asked, item).map_err(unauthorized);
        let verified = match &self.each {
            None => one(None)?,
            Some(path) => {
                let mut items = items(request, path).map_err(unauthorized)?.iter();
                items.try_fold(Verified::default(), |_, item| one(Some(item)))?
            }
        };
        // Only who signed it is told how far its clock is off.
        if let (Some(rule), Some(text)) = (&self.timestamp, &timestamp) {
            let at = rule.judge(text, request.now).map_err(|what| answer::stale(&what))?;
            return Ok(Verified { at: Some(at), ..verified });
        }
        Ok(verified)
    }

    fn required(&self, request: &Request<'_>) -> Result<(), String> {
        self.require.iter().try_for_each(|(name, value)| match request.header(name) {
            Ok(given) if given == value.as_bytes() => Ok(()),
            Ok(_) => Err(format!("{name} is not {value}")),
            Err(what) => Err(format!("{name} {what}")),
        })
    }

    fn required_fields(&self, request: &Request<'_>) -> Result<(), String> {
        self.require_fields.iter().try_for_each(|(path, values)| {
            let found = request.field(path).and_then(plain);
            match found.is_some_and(|found| values.iter().any(|value| *value == found)) {
                true => Ok(()),
                false => Err(format!("{path} is none of those that are taken here")),
            }
        })
    }

    /// The key that a request says it is signed with, from where such keys may come.
    fn certified<'k>(
        &self,
        request: &Request<'_>,
        known: &'k Known,
    ) -> Result<Option<&'k PublicKey>, Denied> {
        let Proof::Certificate(scheme, address) = &self.proof else {
            return Ok(None);
        };
        let address = address.of(request).map_err(unauthorized)?;
        match known.certificate(&address, request.now) {
            Some(Ok(key)) => Ok(Some(key)),
            Some(Err(what)) => Err(unauthorized(format!("the certificate {what}")).into()),
            None => Err(Denied::Missing(Box::new(Missing { address, kind: Kind::Certificate(*scheme) }))),
        }
    }

    fn codes(&self, request: &Request<'_>, item: Option<&Json>) -> Result<Vec<Vec<u8>>, String> {
        self.written.codes(request, item, self.proof.length())
    }

    fn one(&self, asked: &Asked<'_>, item: Option<&Json>) -> Result<Verified, String> {
        let request = asked.request;
        let codes = self.codes(request, item)?;
        let hashed_apart = self.body_hash.as_ref().map_or(Ok(false), |hash| hash.holds(request))?;
        let urls = self.public_url.as_ref().map(|url| url.forms(request.query));
        let given = |url| Given { timestamp: asked.timestamp, url, item, hashed_apart, ..Given::default() };
        let verified = match &urls {
            None => self.matching(asked, given(None), &codes)?,
            Some(urls) => urls.iter().try_fold(None, |found: Option<Verified>, url| {
                let matched = self.matching(asked, given(Some(url)), &codes)?;
                Ok::<_, String>(found.or(matched))
            })?,
        };
        verified.ok_or_else(|| format!("{} does not match the body", self.written.place.name()))
    }

    /// What made one of the codes.
    fn matching(
        &self,
        asked: &Asked<'_>,
        given: Given<'_>,
        codes: &[Vec<u8>],
    ) -> Result<Option<Verified>, String> {
        let Asked { request, certified, .. } = *asked;
        let now = request.now;
        let fits = |key: &PublicKey, message: &[u8]| codes.iter().any(|code| key.verifies(message, code));
        let secret = match &self.proof {
            Proof::Hmac(_, macs) => {
                let message = self.message.of(request, &given)?;
                Dated::matching(macs, now, |mac| among(&mac.code(&message), codes))
            }
            Proof::Hash(algorithm, secrets) => {
                // What a request lacks it lacks with each of the secrets: said before they are tried.
                self.message.of(request, &given)?;
                Dated::matching(secrets, now, |secret| {
                    let message = self.message.of(request, &Given { secret, ..given });
                    message.map_or(Choice::from(0), |message| among(&algorithm.digest(&message), codes))
                })
            }
            Proof::Public(keys) => {
                let message = whole(self.message.of(request, &given)?);
                Dated::matching(keys, now, |key| Choice::from(u8::from(fits(key, &message))))
            }
            Proof::Certificate(..) => {
                let message = whole(self.message.of(request, &given)?);
                return Ok(certified.filter(|key| fits(key, &message)).map(|_| Verified::default()));
            }
        };
        Ok(secret.map(by))
    }
}

/// What is looked at, whichever part of it is signed.
struct Asked<'a> {
    request: &'a Request<'a>,
    timestamp: Option<&'a str>,
    certified: Option<&'a PublicKey>,
}

impl BodyHash {
    /// Whether it is there; what is there must be right.
    fn holds(&self, request: &Request<'_>) -> Result<bool, String> {
        let Ok(texts) = self.place.texts(request, None) else {
            return Ok(false);
        };
        let hash = self.algorithm.digest(&[Cow::Borrowed(request.body)]);
        let right = texts.iter().all(|text| self.encoding.decode(text).is_ok_and(|given| given == hash));
        match right {
            true => Ok(true),
            false => Err(format!("{} is not the hash of the body", self.place.name())),
        }
    }
}

fn unauthorized(what: String) -> Refusal {
    answer::unauthorized(&what, None)
}

fn among(code: &[u8], codes: &[Vec<u8>]) -> Choice {
    codes.iter().fold(Choice::from(0), |any, given| any | code.ct_eq(given))
}

fn whole<'m>(pieces: Vec<Cow<'m, [u8]>>) -> Cow<'m, [u8]> {
    let mut pieces = pieces;
    match pieces.len() {
        1 => pieces.swap_remove(0),
        _ => Cow::Owned(pieces.concat()),
    }
}

/// The items of a list in the body: one at least, or nothing would be signed.
pub(super) fn items<'r>(request: &'r Request<'_>, path: &BodyPath) -> Result<&'r [Json], String> {
    match request.field(path) {
        Some(Json::Array(items)) if (1..=MOST_ITEMS).contains(&items.len()) => Ok(items),
        Some(Json::Array(_)) => Err(format!("{path} is empty or too long")),
        _ => Err(format!("{path} is no list in the body")),
    }
}
