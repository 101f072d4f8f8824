//! Why a request was refused: tries what often goes wrong, and names the first that would explain it. Pure, and
//! seldom run. It never lets a request in, and what it says holds neither a secret nor a code.

mod address;
mod code;
mod keys;

use ::http::HeaderName;
use ::http::request::Parts;
use bytes::Bytes;
use karez_api::{Body, Form, Millis};

use super::super::answer::Refusal;
use super::super::provider::{self, Provider};
use super::spec::Verify;
use super::time::Unit;
use super::url::PublicUrl;
use super::{Denied, Known, Request, apart, rewrite};

/// Largest body that is written anew, in bytes; a larger one is only looked at as it is.
const LARGEST_REWRITTEN: usize = 256 << 10;

/// Most headers and providers that are named at once.
const MOST_NAMED: usize = 3;

/// A webhook that refuses requests: what its file says, to be said otherwise.
pub(in super::super) struct Case {
    /// While it is explained, with the scheme in place of the provider.
    scheme: Verify,
    url: Option<String>,
}

/// A refused request.
pub(in super::super) struct Asked<'a> {
    pub(in super::super) parts: &'a Parts,
    /// Nothing where it was refused before it was read.
    pub(in super::super) body: Option<Bytes>,
    /// Keys that were fetched, for senders that publish them.
    pub(in super::super) known: &'a Known,
    pub(in super::super) now: Millis,
}

/// What helps who looks after a webhook. Not for who sent the request.
#[derive(Debug)]
pub(in super::super) struct Explanation {
    pub(in super::super) hint: String,
    /// The request would be let in if the hint were heeded: nobody without the secret can bring that about.
    pub(in super::super) certain: bool,
}

/// What may have gone wrong, and all that would be otherwise then.
#[derive(Default)]
struct Suspicion {
    hint: String,
    scheme: Option<Verify>,
    url: Option<String>,
    query: Option<Option<String>>,
    body: Option<Bytes>,
}

impl Case {
    pub(in super::super) fn new(verify: Verify, url: Option<String>) -> Self {
        Self { scheme: verify, url }
    }

    /// The scheme of a provider is put together here, where it is needed, and not for each webhook that is loaded.
    pub(in super::super) fn explain(&self, refusal: &Refusal, asked: &Asked<'_>) -> Explanation {
        match apart::check(|cx| self.scheme.clone().resolved(cx)) {
            Ok(scheme) => Self { scheme, url: self.url.clone() }.explained(refusal, asked),
            // Wrong settings are reported by their check.
            Err(_) => Explanation { hint: String::new(), certain: false },
        }
    }

    fn explained(&self, refusal: &Refusal, asked: &Asked<'_>) -> Explanation {
        let certain = |hint| Explanation { hint, certain: true };
        if refusal.reason == "timestamp" {
            return certain(self.stale(asked));
        }
        let found = asked.body.as_ref().and_then(|body| {
            let found = self.suspicions(asked, body).find(|suspicion| self.fits(suspicion, asked, body));
            found.map(|suspicion| suspicion.hint).or_else(|| self.another_provider(asked, body))
        });
        let guess = || Explanation { hint: self.guess(refusal, asked.parts), certain: false };
        found.map_or_else(guess, certain)
    }

    fn suspicions<'s>(
        &'s self,
        asked: &'s Asked<'_>,
        body: &'s Bytes,
    ) -> impl Iterator<Item = Suspicion> + 's {
        let rewritten = Some(&**body).filter(|body| body.len() <= LARGEST_REWRITTEN);
        self.ended(asked.now)
            .chain(self.written_otherwise())
            .chain(self.read_otherwise())
            .chain(rewritten.into_iter().flat_map(another_body))
            .chain(self.another_address(asked.parts))
    }

    fn fits(&self, suspicion: &Suspicion, asked: &Asked<'_>, body: &Bytes) -> bool {
        let reason = self.refused(suspicion, asked, body);
        reason.is_none_or(|reason| reason == "timestamp")
    }

    /// Why it would be refused then; nothing if it would not.
    fn refused(&self, suspicion: &Suspicion, asked: &Asked<'_>, body: &Bytes) -> Option<&'static str> {
        let scheme = suspicion.scheme.as_ref().unwrap_or(&self.scheme).clone();
        let url = suspicion.url.as_ref().or(self.url.as_ref()).map(|url| PublicUrl::parse(url)).transpose();
        let checked = url.ok().and_then(|url| apart::check(|cx| scheme.check_resolved(cx, url)).ok());
        let Some(verifier) = checked else {
            return Some("settings");
        };
        let parts = suspicion.query.as_ref().and_then(|query| with_query(asked.parts, query.as_deref()));
        let body = Body::from_bytes(Form::Opaque, suspicion.body.as_ref().unwrap_or(body).clone());
        let request = Request::whole(parts.as_ref().unwrap_or(asked.parts), &body, asked.now);
        match verifier.verify(&request, asked.known) {
            Ok(_) => None,
            Err(Denied::Refused(refusal)) => Some(refusal.reason),
            Err(Denied::Missing(_)) => Some("keys"),
        }
    }

    fn stale(&self, asked: &Asked<'_>) -> String {
        let body = asked.body.clone().unwrap_or_default();
        let units = [(Unit::Seconds, "seconds"), (Unit::Milliseconds, "milliseconds")];
        let otherwise = units.into_iter().find(|(unit, _)| {
            let mut scheme = self.scheme.clone();
            if let Some(timestamp) = scheme.code().and_then(|code| code.timestamp.as_mut()) {
                timestamp.unit = *unit;
            }
            let suspicion = Suspicion { scheme: Some(scheme), ..Suspicion::default() };
            self.refused(&suspicion, asked, &body).is_none()
        });
        match otherwise {
            Some((_, name)) => format!("the signature is right, and the timestamp is a time in {name}: set its `unit`"),
            None => "the signature is right: the request was held up or sent again, or one of the two clocks is off by as much"
                .into(),
        }
    }

    /// What can be said without trying anything; nothing where the refusal says it all.
    fn guess(&self, refusal: &Refusal, parts: &Parts) -> String {
        let own = self.scheme.header_names();
        if own.is_empty() || own.iter().any(|name| parts.headers.contains_key(name)) {
            let message = refusal.message();
            return match ["does not match", "a wrong"].iter().any(|what| message.contains(what)) {
                true => "nothing that often goes wrong explains it: the secret is another one, or the body was changed on the way".into(),
                false => String::new(),
            };
        }
        let others = provider::providers().filter(|other| {
            let names = other.verify().header_names();
            names.iter().any(|name| parts.headers.contains_key(name) && name != "authorization")
        });
        let others: Vec<_> = others.map(Provider::name).take(MOST_NAMED).collect();
        if !others.is_empty() {
            return format!("the request looks like one of {}", others.join(" or "));
        }
        match signatures(parts).as_slice() {
            [] => "the request carries no signature: is a secret set at the sender, and does a proxy keep the header?".into(),
            names => format!("the request carries {} in its place", names.join(" and ")),
        }
    }

    /// The same secret in the way of another sender.
    fn another_provider(&self, asked: &Asked<'_>, body: &Bytes) -> Option<String> {
        let mut own = self.scheme.clone();
        let (secret, key) = (own.secrets().and_then(|it| it.clone()), own.keys().and_then(|it| it.clone()));
        let fits = |other: &&Provider| {
            let mut scheme = other.verify();
            match (scheme.keys(), &key, &secret) {
                (Some(place), Some(key), _) => *place = Some(key.clone()),
                (None, _, Some(secret)) => match scheme.secrets() {
                    Some(place) => *place = Some(secret.clone()),
                    None => return false,
                },
                _ => return false,
            }
            self.fits(&Suspicion { scheme: Some(scheme), ..Suspicion::default() }, asked, body)
        };
        let others: Vec<_> =
            provider::providers().filter(fits).map(Provider::name).take(MOST_NAMED).collect();
        (!others.is_empty())
            .then(|| format!("it is signed in the way of {}: is `provider` right?", others.join(" or ")))
    }
}

fn another_body(body: &[u8]) -> impl Iterator<Item = Suspicion> {
    rewrite::forms(body).map(|(name, form)| Suspicion {
        hint: format!("the signature fits the body {name}: it was changed on the way, but has to arrive byte by byte as it was signed"),
        body: Some(form.into()),
        ..Suspicion::default()
    })
}

/// Headers that are called like one that holds a code.
fn signatures(parts: &Parts) -> Vec<&str> {
    let looks = |name: &&HeaderName| {
        ["signature", "hmac", "digest", "token"].iter().any(|word| name.as_str().contains(word))
    };
    parts.headers.keys().filter(looks).map(HeaderName::as_str).take(MOST_NAMED).collect()
}

fn with_query(parts: &Parts, query: Option<&str>) -> Option<Parts> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = parts.clone();
    parts.uri = format!("{}{query}", parts.uri.path()).parse().ok()?;
    Some(parts)
}

#[cfg(test)]
mod tests;
