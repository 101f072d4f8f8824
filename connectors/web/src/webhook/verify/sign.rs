//! The other side: what a sender adds to a request so that a scheme lets it in. For whoever wants to try a
//! webhook; no request that comes in passes through here.

mod draft;

use std::borrow::Cow;

use ::http::header;
use base64::Engine as _;
use karez_api::{Json, JsonMap, Millis};
use serde_json::json;
use uuid::Uuid;

use super::jwt::{Jwt, JwtKeys};
use super::mac::Algorithm;
use super::message::Given;
use super::path::plain;
use super::place::{Encoding, Place};
use super::private_key::PrivateKey;
use super::request::Request;
use super::secrets::Dated;
use super::signed::{Proof, Signed, items};
use super::time::{At, Timestamp, Unit};
use super::token::Token;
use super::{BASE64, Verifier};

pub(in super::super) use draft::Draft;

/// How long a token that is made here counts, in seconds.
const TOKEN_LIFE: u64 = 300;

/// When it is signed and, where the scheme has a key of the sender's own, with what.
#[derive(Clone, Copy)]
pub(in super::super) struct With<'k> {
    pub(in super::super) now: Millis,
    pub(in super::super) key: Option<&'k PrivateKey>,
}

impl Verifier {
    /// # Errors
    /// What the request or the key lacks, as a fragment.
    pub(in super::super) fn sign(&self, draft: &mut Draft, with: With<'_>) -> Result<(), String> {
        match self {
            Self::Signed(signed) => signed.sign(draft, with),
            Self::Token(token) => token.sign(draft, with.now),
            Self::Basic(basic) => {
                let pair = [&*basic.username, b":", &basic.password].concat();
                draft.header(&header::AUTHORIZATION, &format!("Basic {}", BASE64.encode(pair)))
            }
            Self::Jwt(jwt) => jwt.sign(draft, with),
            Self::Message(_) => Err("signatures of RFC 9421 are not made here".into()),
            Self::Mtls(_) => Err("a certificate is shown by the connection, not by the request".into()),
            Self::Pending => Err("the secret is not there yet".into()),
            Self::None => Ok(()),
        }
    }
}

impl Signed {
    fn sign(&self, draft: &mut Draft, with: With<'_>) -> Result<(), String> {
        for (name, value) in &self.require {
            draft.header(name, value)?;
        }
        let timestamp = self.timestamp.as_ref().map(|rule| rule.write(with.now));
        if let (Some(Timestamp { at: At::Place(place), .. }), Some(text)) = (&self.timestamp, &timestamp) {
            draft.put(place, text)?;
        }
        for (path, values) in &self.require_fields {
            let allowed =
                |text: Option<Cow<'_, str>>| text.is_some_and(|text| values.iter().any(|one| *one == text));
            let given = draft.seen(with.now, |request| Ok(allowed(request.field(path).and_then(plain))))?;
            if let Some(value) = values.first().filter(|_| !given) {
                draft.put(&Place::Body(path.clone()), value)?;
            }
        }
        self.make_up(draft)?;
        // A form is signed part by part, all else by its hash.
        let hash = self.body_hash.as_ref().filter(|_| !(self.message.names_sorted_form() && draft.is_form()));
        if let Some(hash) = hash {
            let text = hash.encoding.encode(&hash.algorithm.digest(&[(&*draft.body).into()]));
            draft.put(&hash.place, &text)?;
        }
        let given =
            Given { timestamp: timestamp.as_deref(), hashed_apart: hash.is_some(), ..Given::default() };
        match &self.each {
            None => {
                let code = draft.seen(with.now, |request| self.code(request, given, with))?;
                draft.put(&self.written.place, &self.text(&code, timestamp.as_deref()))
            }
            Some(path) => {
                let texts = draft.seen(with.now, |request| {
                    let code = |item| self.code(request, Given { item: Some(item), ..given }, with);
                    let text = |item| code(item).map(|code| self.text(&code, timestamp.as_deref()));
                    items(request, path)?.iter().map(text).collect::<Result<Vec<_>, _>>()
                })?;
                draft.put_each(path, &self.written.place, &texts)
            }
        }
    }

    /// What is signed beside the body and is missing, like the id of a delivery.
    fn make_up(&self, draft: &mut Draft) -> Result<(), String> {
        let id = || format!("msg_{}", Uuid::new_v4().simple());
        for names in self.message.headers() {
            if !names.iter().any(|name| draft.headers.contains_key(name)) {
                draft.put(&Place::Headers(names.to_vec()), &id())?;
            }
        }
        for name in self.message.parameters() {
            if draft.seen(Millis(0), |request| Ok(request.parameter(name).is_err()))? {
                draft.parameter(name, &id());
            }
        }
        for path in self.message.fields().filter(|_| self.each.is_none()) {
            if draft.seen(Millis(0), |request| Ok(request.field(path).is_none()))? {
                draft.put(&Place::Body(path.clone()), &id())?;
            }
        }
        Ok(())
    }

    fn code(&self, request: &Request<'_>, given: Given<'_>, with: With<'_>) -> Result<Vec<u8>, String> {
        let url = self.public_url.as_ref().map(|url| url.whole(request.query));
        let given = Given { url: url.as_deref(), ..given };
        match &self.proof {
            Proof::Hmac(_, macs) => Ok(current(macs, with.now)?.code(&self.message.of(request, &given)?)),
            Proof::Hash(algorithm, secrets) => {
                let secret = current(secrets, with.now)?;
                Ok(algorithm.digest(&self.message.of(request, &Given { secret, ..given })?))
            }
            Proof::Public(_) | Proof::Certificate(..) => {
                let key = with.key.ok_or("it is signed with a private key")?;
                key.sign(&self.message.of(request, &given)?.concat())
            }
        }
    }

    /// As it is sent: the time may stand in the same list.
    fn text(&self, code: &[u8], timestamp: Option<&str>) -> String {
        let entry = format!("{}{}", self.written.prefix, self.written.encoding.encode(code));
        match (self.timestamp.as_ref().map(|rule| &rule.at), timestamp) {
            (Some(At::Label(_, separator, label)), Some(time)) => format!("{label}{time}{separator}{entry}"),
            _ => entry,
        }
    }
}

/// The first that still counts.
fn current<T>(keys: &[Dated<T>], now: Millis) -> Result<&T, String> {
    keys.iter()
        .find(|key| key.counts(now))
        .map(|key| &key.value)
        .ok_or_else(|| "no secret counts then".into())
}

impl Timestamp {
    fn write(&self, now: Millis) -> String {
        let time = || jiff::Timestamp::from_millisecond(i64::try_from(now.0).ok()?).ok();
        match self.unit {
            Unit::Seconds => (now.0 / 1_000).to_string(),
            Unit::Milliseconds => now.0.to_string(),
            Unit::Rfc3339 => time().unwrap_or_default().to_string(),
        }
    }
}

impl Token {
    fn sign(&self, draft: &mut Draft, now: Millis) -> Result<(), String> {
        let token = String::from_utf8_lossy(current(&self.tokens, now)?);
        let text = if self.bearer { format!("Bearer {token}") } else { token.into_owned() };
        match &self.each {
            None => draft.put(&self.place, &text),
            Some(path) => {
                let n = draft.seen(now, |request| items(request, path).map(<[Json]>::len))?;
                draft.put_each(path, &self.place, &vec![text; n])
            }
        }
    }
}

impl Jwt {
    fn sign(&self, draft: &mut Draft, with: With<'_>) -> Result<(), String> {
        let now = with.now.0 / 1_000;
        let mut claims = JsonMap::new();
        let named = [("iss", &self.issuer), ("aud", &self.audience)];
        claims.extend(
            named.into_iter().filter_map(|(name, value)| Some((name.into(), json!(value.as_ref()?)))),
        );
        claims.extend([("iat".into(), json!(now)), ("exp".into(), json!(now + TOKEN_LIFE))]);
        if let Some((name, encoding)) = &self.body_claim {
            let hash = Algorithm::Sha256.digest(&[(&*draft.body).into()]);
            claims.insert(name.clone(), encoding.encode(&hash).into());
        }
        let part = |json: &Json| Encoding::Base64url.encode(json.to_string().as_bytes());
        let head = part(&json!({"alg": self.algorithm.name(), "typ": "JWT"}));
        let signed = format!("{head}.{}", part(&Json::Object(claims)));
        let code = match &self.keys {
            JwtKeys::Hmac(macs) => current(macs, with.now)?.code(&[signed.as_bytes().into()]),
            JwtKeys::Public(_) | JwtKeys::Set(_) => {
                with.key.ok_or("it is signed with a private key")?.sign(signed.as_bytes())?
            }
        };
        let token = format!("{signed}.{}", Encoding::Base64url.encode(&code));
        draft.put(&self.place, &if self.bearer { format!("Bearer {token}") } else { token })
    }
}

#[cfg(test)]
mod tests;
