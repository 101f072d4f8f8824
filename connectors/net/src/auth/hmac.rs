//! A MAC over parts of each request, in the ways that senders make up for themselves.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine as _;
use http::HeaderName;
use karez_api::{Clock, Fault, Millis, Path, Problem};
use uuid::Uuid;
use zeroize::Zeroizing;

mod template;

use super::{Credentials, Stamp, sensitive};
use crate::jose::{BASE64, BASE64URL, Hash};
use crate::spec::{Encoding, HashName, Hmac};
use crate::{Request, Response};
use template::{Template, Word};

pub(crate) struct HmacCredentials {
    hash: Hash,
    secret: Zeroizing<Vec<u8>>,
    message: Template,
    encoding: Encoding,
    headers: Vec<(HeaderName, Template)>,
    clock: Arc<dyn Clock>,
}

/// What is the same in message and headers of one request.
struct Once {
    now: Millis,
    nonce: String,
}

impl HmacCredentials {
    pub(super) fn new(spec: &Hmac, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let headers =
            spec.headers.iter().map(|(name, value)| Ok((header_name(name)?, Template::read(value)?)));
        Ok(Self {
            hash: match spec.algorithm {
                HashName::Sha1 => Hash::Sha1,
                HashName::Sha256 => Hash::Sha256,
                HashName::Sha512 => Hash::Sha512,
            },
            secret: secret(spec)?,
            message: Template::read(&spec.message)?,
            encoding: spec.encoding,
            headers: headers.collect::<Result<_, String>>()?,
            clock,
        })
    }

    fn sign(&self, request: &mut Request, once: &Once) -> Result<(), Fault> {
        let message = self.message.fill(|word, into| value(word, request, once, "", into));
        let code = self.encoding.encode(&self.hash.mac(&self.secret, &message));
        for (name, template) in &self.headers {
            let text = template.fill(|word, into| value(word, request, once, &code, into));
            let text = String::from_utf8_lossy(&text).into_owned();
            let value = sensitive(&text).map_err(|what| Fault::auth(format!("{name}: {what}")))?;
            request.headers.insert(name, value);
        }
        Ok(())
    }
}

/// What a word stands for.
fn value(word: Word, request: &Request, once: &Once, code: &str, into: &mut Vec<u8>) {
    let url = &request.url;
    let host = url.host_str().unwrap_or_default();
    let text = match word {
        Word::Body => return into.extend_from_slice(&request.body),
        Word::Method => request.method.as_str().to_owned(),
        Word::Path => url.path().to_owned(),
        Word::Query => url.query().unwrap_or_default().to_owned(),
        Word::Url => url.as_str().to_owned(),
        Word::Host => url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
        Word::BodySha256 => hex::encode(Hash::Sha256.digest(&request.body)),
        Word::Timestamp => (once.now.0 / 1_000).to_string(),
        Word::TimestampMs => once.now.0.to_string(),
        Word::Date => httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(once.now.0)),
        Word::Nonce => once.nonce.clone(),
        Word::Signature => code.to_owned(),
    };
    into.extend_from_slice(text.as_bytes());
}

impl Encoding {
    fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::Base64 => BASE64.encode(bytes),
            Self::Base64url => BASE64URL.encode(bytes),
        }
    }
}

fn secret(spec: &Hmac) -> Result<Zeroizing<Vec<u8>>, String> {
    let text = spec.secret.expose();
    let bytes = match spec.secret_encoding {
        None => Ok(text.as_bytes().to_vec()),
        Some(Encoding::Hex) => hex::decode(text).map_err(|_| "it is not hex"),
        Some(Encoding::Base64) => BASE64.decode(text).map_err(|_| "it is not base64"),
        Some(Encoding::Base64url) => BASE64URL.decode(text).map_err(|_| "it is not base64url"),
    };
    Ok(Zeroizing::new(bytes?))
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("{name:?} is not the name of a header"))
}

#[async_trait]
impl Credentials for HmacCredentials {
    async fn apply(&self, request: &mut Request) -> Result<Stamp, Fault> {
        let once = Once { now: self.clock.now(), nonce: Uuid::new_v4().simple().to_string() };
        self.sign(request, &once)?;
        Ok(Stamp(0))
    }

    async fn refused(&self, _stamp: Stamp, _answer: &Response) -> Result<bool, Fault> {
        Ok(false)
    }
}

pub(super) fn check(spec: &Hmac, at: &Path, problems: &mut Vec<Problem>) {
    if let Err(what) = secret(spec) {
        problems.push(Problem::error("bad-key", at.field("secret"), what));
    }
    match Template::read(&spec.message) {
        Err(what) => problems.push(Problem::error("bad-template", at.field("message"), what)),
        Ok(message) if message.has(Word::Signature) => {
            let what = "the signature cannot be part of what is signed";
            problems.push(Problem::error("bad-template", at.field("message"), what));
        }
        Ok(_) => {}
    }
    let mut signs = false;
    for (name, text) in &spec.headers {
        let at = at.field("headers").field(name);
        if let Err(what) = header_name(name) {
            problems.push(Problem::error("bad-name", at.clone(), what).on_key());
        }
        match Template::read(text) {
            Err(what) => problems.push(Problem::error("bad-template", at, what)),
            Ok(template) => {
                signs |= template.has(Word::Signature);
                if let Err(what) = sensitive(&String::from_utf8_lossy(&template.fill(|_, _| ()))) {
                    problems.push(Problem::error("bad-template", at.clone(), what));
                }
                if template.has(Word::Body) {
                    problems.push(Problem::error("bad-template", at, "a body cannot stand in a header"));
                }
            }
        }
    }
    if !signs {
        let what = "none of them has the `{signature}`";
        problems.push(Problem::error("no-signature", at.field("headers"), what));
    }
}

#[cfg(test)]
mod tests;
