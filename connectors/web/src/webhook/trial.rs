//! One request of a provider, outside of a daemon: signed as the provider would, or judged as the daemon would.
//! Takes nothing in and answers nobody.

mod call;
mod sample;

use ::http::request::Parts;
use ::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use karez_api::{Body, Checker, Form, Json, Millis, Problem, Secret};
use uuid::Uuid;

use super::answer::Refusal;
use super::handshake::{Answered, Handshakes, Secrets};
use super::provider::Provider;
use super::verify::{
    Asked, Case, Denied, Draft, Known, Needs, Parameters, PublicUrl, Request, Verifier, Verify, With, apart,
};

pub use call::Call;

/// A provider with the keys that are tried.
pub struct Trial {
    pub provider: &'static Provider,
    /// Of providers that share one; any may match.
    pub secrets: Vec<Secret>,
    /// Public keys of providers that sign with one of their own, also in place of those that a daemon would fetch;
    /// any may match.
    pub keys: Vec<String>,
    /// What stands under `parameters`: names and values, several of one name for a list.
    pub parameters: Vec<(String, String)>,
    /// For signing as such a provider: PKCS#8 in PEM.
    pub private_key: Option<Secret>,
    /// What the provider asks for once, before it sends anything.
    pub verify_token: Option<Secret>,
}

/// What the daemon would make of a request.
#[derive(Debug)]
pub enum Verdict {
    Accepted(Delivery),
    /// It is answered and becomes no record.
    Handshake {
        status: u16,
        body: String,
    },
    Refused {
        /// `signature`, `timestamp` or `handshake`.
        reason: &'static str,
        why: String,
        /// What may be wrong at this end.
        hint: String,
    },
}

/// What an accepted request says of itself.
#[derive(Debug)]
pub struct Delivery {
    /// Which secret or key it fits, from 0.
    pub fits: Option<usize>,
    pub signed_at: Option<Millis>,
    /// What the whole is known by, where it says so.
    pub id: Option<String>,
    /// One, or each that it holds.
    pub events: Vec<Event>,
}

/// An event of a delivery.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Absent where it is known by its delivery's, by the hash of its body, or not at all.
    pub id: Option<String>,
    pub event_type: Option<String>,
}

impl Trial {
    /// Adds what the provider would add. Times and codes that stand there already are written anew.
    ///
    /// # Errors
    /// What the request, or the secret or key, lacks.
    pub fn sign(&self, call: &Call, now: Millis) -> Result<Call, String> {
        let scheme = self.provider.verify();
        let key = self.private_key.as_ref().map(|pem| scheme.private_key(pem.expose())).transpose()?;
        let public = key.iter().map(|key| key.public()).collect::<Vec<_>>();
        let keys = if public.is_empty() { self.keys.clone() } else { public };
        let (base, query) = call.address();
        let verifier = self.verifier(&keys, base)?;
        let mut draft =
            Draft { method: call.method()?, query, headers: call.header_map()?, body: call.body.clone() };
        verifier.sign(&mut draft, With { now, key: key.as_ref() })?;
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = draft.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        let (base, _) = call::split(&call.url);
        Ok(Call {
            method: call.method.clone(),
            url: draft.query.map_or_else(|| base.to_owned(), |query| format!("{base}?{query}")),
            headers: headers.collect(),
            body: draft.body,
        })
    }

    /// # Errors
    /// The secret or key cannot be one, or what is given is no request.
    pub fn judge(&self, call: &Call, now: Millis) -> Result<Verdict, String> {
        let (base, query) = call.address();
        let (parts, shared) = (call.parts(query)?, Body::from_bytes(Form::Opaque, call.body.clone()));
        let verifier = self.verifier(&self.keys, base.clone())?;
        let handshakes = self.handshakes()?;
        let request = Request::whole(&parts, &shared, now);
        if let Some(answered) = handshakes.before(&request) {
            return Ok(handshake(answered));
        }
        let verified = verifier.head(&request).map_err(Denied::from);
        let verified = match verified.and_then(|()| verifier.verify(&request, &Known::default())) {
            Ok(verified) => verified,
            Err(Denied::Refused(refusal)) => {
                return Ok(self.refused(&refusal, &parts, call.body.clone(), base, now));
            }
            Err(Denied::Missing(missing)) => {
                let (title, address) = (self.provider.title(), missing.address);
                return Err(format!(
                    "{title} publishes its keys, and nothing is fetched here: give --key @FILE with what stands at {address}"
                ));
            }
        };
        if let Some(answered) = handshakes.after(&request) {
            return Ok(handshake(answered));
        }
        let tree = Body::from_bytes(Form::Json, call.body.clone()).into_tree().ok();
        Ok(Verdict::Accepted(Delivery {
            fits: verified.secret.map(usize::from),
            signed_at: verified.at,
            id: self.provider.delivery_id().of(&parts.headers, tree.as_ref()),
            events: self.events(&parts.headers, tree.as_ref()),
        }))
    }

    fn events(&self, headers: &HeaderMap, tree: Option<&Json>) -> Vec<Event> {
        let event = |tree: Option<&Json>| Event {
            id: self.provider.event_id().of(headers, tree),
            event_type: self.provider.event_type().of(headers, tree),
        };
        match self.provider.each().zip(tree).and_then(|(each, tree)| each.of(tree)) {
            Some(items) => items.iter().map(|item| event(Some(item))).collect(),
            None => vec![event(tree)],
        }
    }

    fn refused(&self, refusal: &Refusal, parts: &Parts, body: Bytes, base: String, now: Millis) -> Verdict {
        let known = Known::default();
        let asked = Asked { parts, body: Some(body), known: &known, now };
        let scheme = apart::check(|cx| self.scheme(cx, &self.keys)).ok();
        let hint = scheme.map(|scheme| {
            let url = self.signs_address().then_some(base);
            Case::new(scheme, url).explain(refusal, &asked).hint
        });
        Verdict::Refused { reason: refusal.reason, why: refusal.message(), hint: hint.unwrap_or_default() }
    }

    fn scheme(&self, cx: &Checker<'_>, keys: &[String]) -> Option<Verify> {
        let mut parameters = Parameters::new();
        for (name, value) in &self.parameters {
            parameters.entry(name.clone()).or_default().push(value);
        }
        let fetches = self.provider.verify().needs() == Needs::Nothing;
        let beside: &[String] = if fetches { &[] } else { keys };
        let scheme = Verify::of_provider(self.provider, &self.secrets, beside, parameters).resolved(cx)?;
        Some(if fetches && !keys.is_empty() { scheme.pinned(keys) } else { scheme })
    }

    fn signs_address(&self) -> bool {
        self.provider.verify().signs_address()
    }

    fn verifier(&self, keys: &[String], base: String) -> Result<Verifier, String> {
        let url = self.signs_address().then_some(base);
        let public_url = url.as_deref().map(PublicUrl::parse).transpose();
        let public_url = public_url.map_err(|what| format!("the address does not fit: {what}"))?;
        apart::check(|cx| self.scheme(cx, keys)?.check_resolved(cx, public_url))
            .map_err(|found| first(&found))
    }

    fn handshakes(&self) -> Result<Handshakes, String> {
        let texts: Vec<String> = self.secrets.iter().map(|secret| secret.expose().to_owned()).collect();
        // One that nobody knows, where none is given.
        let made_up = Secret::new(Uuid::new_v4().to_string());
        let verify_token = Some(self.verify_token.as_ref().unwrap_or(&made_up));
        let with = Secrets { verify_token, secrets: &texts, pending: false };
        let of_provider = self.provider.handshakes();
        apart::check(|cx| Handshakes::check(cx, Vec::new(), of_provider, &with))
            .map_err(|found| first(&found))
    }
}

fn first(problems: &[Problem]) -> String {
    problems.first().map(|problem| problem.message.clone()).unwrap_or_default()
}

fn handshake(answered: Result<Answered, Refusal>) -> Verdict {
    match answered {
        Ok(Answered { response, .. }) => Verdict::Handshake {
            status: response.status().as_u16(),
            body: String::from_utf8_lossy(response.body()).into_owned(),
        },
        Err(refusal) => {
            Verdict::Refused { reason: refusal.reason, why: refusal.message(), hint: String::new() }
        }
    }
}
