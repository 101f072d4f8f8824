//! Whether a request comes from the right sender. Pure: a request and the time in, yes or no out.
//!
//! The algorithm is the file's, never the request's; codes are compared as bytes, in constant
//! time, after their length; a header that stands twice is refused, since the next reader of the
//! request may take the other one. No key is fetched here: a verdict may say which one it lacks.

pub(super) mod apart;
mod check;
mod client_certificate;
mod diagnosis;
mod fetched;
mod jwt;
mod mac;
mod message;
mod message_signature;
mod path;
mod pinned;
mod place;
mod private_key;
mod request;
mod rewrite;
mod secrets;
mod shown;
mod sign;
mod signed;
mod spec;
mod texts;
mod time;
mod token;
mod url;

use ::http::HeaderName;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use karez_api::Signature;

use super::answer::{self, Refusal};

pub(super) use check::{Needs, Wanted};
pub(super) use diagnosis::{Asked, Case};
pub(super) use fetched::{Fetched, Known, Missing};
pub(super) use mac::{Algorithm, Mac};
pub(super) use message::{Given, Message};
pub(super) use path::{BodyPath, plain};
pub(super) use pinned::{Address, AddressSpec};
pub(super) use place::Encoding;
pub(super) use request::Request;
pub(super) use shown::Shown;
pub(super) use sign::{Draft, With};
pub(super) use spec::Verify;
pub(super) use texts::Parameters;
pub(super) use url::PublicUrl;

use client_certificate::ClientCertificate;
use jwt::Jwt;
use message_signature::MessageSignature;
use place::Place;
use signed::Signed;
use token::{Basic, Token};

/// Base64 with or without padding, as senders differ.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What proved a request: which secret or key of the list it was, nothing where no proof is asked for. Of a body whose
/// items are signed one by one, the last item's.
pub(super) type Verified = Signature;

fn by(secret: usize) -> Verified {
    Verified { secret: u16::try_from(secret).ok(), at: None }
}

/// Why there is no proof.
pub(super) enum Denied {
    Refused(Refusal),
    /// Not judged yet: a key has to be fetched first.
    Missing(Box<Missing>),
}

impl Denied {
    /// What is answered where no key can be had: `unavailable`, if there is no verdict without it.
    pub(super) fn refusal(self, unavailable: impl FnOnce() -> Refusal) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Missing(_) => unavailable(),
        }
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A checked `verify`.
pub(super) enum Verifier {
    Signed(Box<Signed>),
    Token(Token),
    Basic(Basic),
    Jwt(Box<Jwt>),
    Message(Box<MessageSignature>),
    Mtls(ClientCertificate),
    /// There is no secret yet.
    Pending,
    None,
}

impl Verifier {
    /// The header that holds a credential rather than a code for this one body.
    pub(super) fn secret_header(&self) -> Option<&HeaderName> {
        match self {
            Self::Token(Token { place: Place::Headers(names), .. }) => names.first(),
            Self::Jwt(jwt) => match &jwt.place {
                Place::Headers(names) => names.first(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether who is let in has proved anything.
    pub(super) fn proves(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// All that can be said before the body is read.
    ///
    /// # Errors
    /// 503 while there is no secret, 401 for a credential that is missing, malformed or wrong.
    pub(super) fn head(&self, request: &Request<'_>) -> Result<(), Refusal> {
        match self {
            Self::Signed(signed) => signed.head(request),
            Self::Token(token) => token.head(request),
            Self::Basic(basic) => basic.verify(request).map(drop),
            Self::Jwt(jwt) => jwt.head(request),
            Self::Message(signature) => signature.head(request),
            Self::Mtls(certificate) => certificate.verify(request).map(drop),
            Self::Pending => Err(pending()),
            Self::None => Ok(()),
        }
    }

    /// The verdict over the raw body. Covers [`Verifier::head`].
    ///
    /// # Errors
    /// 401, 503 while there is no secret, or the key that is missing in what is known.
    pub(super) fn verify(&self, request: &Request<'_>, known: &Known) -> Result<Verified, Denied> {
        match self {
            Self::Signed(signed) => signed.verify(request, known),
            Self::Token(token) => Ok(token.verify(request)?),
            Self::Basic(basic) => Ok(basic.verify(request)?),
            Self::Jwt(jwt) => jwt.verify(request, known),
            Self::Message(signature) => Ok(signature.verify(request)?),
            Self::Mtls(certificate) => Ok(certificate.verify(request)?),
            Self::Pending => Err(pending().into()),
            Self::None => Ok(Verified::default()),
        }
    }

    /// Whether the address that a sender knows is looked at.
    fn signs_the_address(&self) -> bool {
        match self {
            Self::Signed(signed) => signed.public_url.is_some(),
            Self::Message(signature) => signature.public_url.is_some(),
            _ => false,
        }
    }

    /// A set of keys that is fetched from where the file says, and again from time to time.
    pub(super) fn set(&self) -> Option<Missing> {
        match self {
            Self::Jwt(jwt) => jwt.set(),
            _ => None,
        }
    }

    /// Whether a verdict may need a key that does not stand in the file.
    pub(super) fn fetches(&self) -> bool {
        match self {
            Self::Signed(signed) => matches!(signed.proof, signed::Proof::Certificate(..)),
            _ => self.set().is_some(),
        }
    }
}

/// The sender is told to come again: it has done nothing wrong.
fn pending() -> Refusal {
    answer::unavailable("pending", "this webhook waits for its secret")
}

#[cfg(test)]
mod tests;
