//! Signatures over parts of a message, as RFC 9421 has them: the request says what it covers, the
//! file says what it has to cover and with what.

mod base;
mod digest;

use karez_api::Millis;
use karez_net::jose::PublicKey;
use sfv::{BareItem, Dictionary, InnerList, KeyRef, ListEntry, Parameters, Parser};
use subtle::{Choice, ConstantTimeEq};

use super::super::answer::{self, Refusal};
use super::mac::Mac;
use super::request::Request;
use super::secrets::Dated;
use super::time::Window;
use super::url::PublicUrl;
use super::{Verified, by};

/// Most signatures of one request that are looked at.
const MOST_SIGNATURES: usize = 10;

/// A checked one.
pub(in super::super) struct MessageSignature {
    /// As `alg` has it, where a signature says it.
    pub(super) algorithm: &'static str,
    pub(super) keys: SignatureKeys,
    /// The only signature that counts, by its label.
    pub(super) label: Option<String>,
    /// The only key id that counts.
    pub(super) key_id: Option<String>,
    /// What has to be covered: of each list one.
    pub(super) components: Vec<Vec<String>>,
    pub(super) window: Window,
    pub(super) public_url: Option<PublicUrl>,
}

pub(super) enum SignatureKeys {
    Hmac(Vec<Dated<Mac>>),
    Public(Vec<Dated<PublicKey>>),
}

/// One signature of a request.
struct Signature {
    covered: InnerList,
    code: Vec<u8>,
}

impl MessageSignature {
    /// What the head alone shows: that there is a signature which covers what it has to.
    pub(super) fn head(&self, request: &Request<'_>) -> Result<(), Refusal> {
        self.signatures(request).map(drop).map_err(unauthorized)
    }

    pub(super) fn verify(&self, request: &Request<'_>) -> Result<Verified, Refusal> {
        let signatures = self.signatures(request).map_err(unauthorized)?;
        let mut wrong = "signature does not match the request".to_owned();
        for signature in &signatures {
            match self.proved(request, signature) {
                Ok(Some(verified)) => {
                    // Only who signed it is told how far its clock is off.
                    let at = self
                        .judge(&signature.covered.params, request.now)
                        .map_err(|what| answer::stale(&what))?;
                    self.body(request, signature).map_err(unauthorized)?;
                    return Ok(Verified { at: Some(at), ..verified });
                }
                Ok(None) => {}
                Err(what) => wrong = what,
            }
        }
        Err(unauthorized(wrong))
    }

    /// Those that the file lets count; one at least.
    fn signatures(&self, request: &Request<'_>) -> Result<Vec<Signature>, String> {
        let inputs = dictionary(request, "signature-input")?;
        let mut codes = dictionary(request, "signature")?;
        let mut wrong = "signature-input holds no signature that counts here".to_owned();
        let mut found = Vec::new();
        for (label, entry) in inputs.into_iter().take(MOST_SIGNATURES) {
            if self.label.as_ref().is_some_and(|wanted| wanted != label.as_str()) {
                continue;
            }
            let (ListEntry::InnerList(covered), Some(ListEntry::Item(code))) =
                (entry, codes.shift_remove(&label))
            else {
                continue;
            };
            let BareItem::ByteSequence(code) = code.bare_item else {
                continue;
            };
            match self.fits(&covered) {
                Ok(()) => found.push(Signature { covered, code }),
                Err(what) => wrong = what,
            }
        }
        if found.is_empty() { Err(wrong) } else { Ok(found) }
    }

    fn fits(&self, covered: &InnerList) -> Result<(), String> {
        let said = |name: &str| text(&covered.params, name);
        if said("alg").is_some_and(|alg| alg != self.algorithm) {
            return Err("signature-input names another algorithm than the file".into());
        }
        if let Some(wanted) = &self.key_id
            && said("keyid") != Some(wanted)
        {
            return Err("signature-input names another key than the file".into());
        }
        let names = base::names(covered)?;
        for wanted in &self.components {
            if !wanted.iter().any(|wanted| names.contains(&wanted.as_str())) {
                return Err(format!("signature-input does not cover {}", wanted.join(" or ")));
            }
        }
        Ok(())
    }

    fn proved(&self, request: &Request<'_>, signature: &Signature) -> Result<Option<Verified>, String> {
        let base = base::of(&signature.covered, request, self.public_url.as_ref())?;
        let (now, code) = (request.now, &signature.code);
        let secret = match &self.keys {
            SignatureKeys::Hmac(macs) => {
                Dated::matching(macs, now, |mac| mac.code(&[base.as_slice().into()]).ct_eq(code))
            }
            SignatureKeys::Public(keys) => {
                Dated::matching(keys, now, |key| Choice::from(u8::from(key.verifies(&base, code))))
            }
        };
        Ok(secret.map(by))
    }

    /// RFC 9421 §2.3: `created` is asked for here, `expires` counts where it is there.
    fn judge(&self, params: &Parameters, now: Millis) -> Result<Millis, String> {
        let time = |name: &str| match parameter(params, name) {
            Some(BareItem::Integer(seconds)) => Some(i128::from(i64::from(*seconds)) * 1_000),
            _ => None,
        };
        let created = time("created").ok_or("the signature does not say when it was made")?;
        let created = self.window.judge(created, now)?;
        match time("expires") {
            Some(end) if end < i128::from(now.0) => Err("the signature has expired".into()),
            Some(_) => Ok(created),
            None if parameter(params, "expires").is_some() => {
                Err("the signature holds an end that is no time".into())
            }
            None => Ok(created),
        }
    }

    /// A digest that is signed has to be that of the body.
    fn body(&self, request: &Request<'_>, signature: &Signature) -> Result<(), String> {
        match base::names(&signature.covered)?.contains(&"content-digest") {
            true => digest::holds(&dictionary(request, "content-digest")?, request.body),
            false => Ok(()),
        }
    }
}

fn dictionary(request: &Request<'_>, name: &'static str) -> Result<Dictionary, String> {
    let header = ::http::HeaderName::from_static(name);
    let value = request.header(&header).map_err(|what| format!("{name} {what}"))?;
    Parser::new(value).parse().map_err(|_| format!("{name} is no dictionary"))
}

fn parameter<'p>(params: &'p Parameters, name: &str) -> Option<&'p BareItem> {
    params.get(KeyRef::from_str(name).ok()?)
}

fn text<'p>(params: &'p Parameters, name: &str) -> Option<&'p str> {
    match parameter(params, name)? {
        BareItem::String(text) => Some(text.as_str()),
        // Not what it has to be, so like nothing that it could be.
        _ => Some(""),
    }
}

fn unauthorized(what: String) -> Refusal {
    answer::unauthorized(&what, None)
}
