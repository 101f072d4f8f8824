//! Whether a request comes from the right sender. Pure: a request and the time in, yes or no out.
//!
//! The algorithm is the file's, never the request's; codes are compared as bytes, in constant
//! time, after their length; a header that stands twice is refused, since the next reader of the
//! request may take the other one. No key is ever fetched.

mod check;
mod jwt;
mod mac;
mod message;
mod path;
mod place;
mod public_key;
mod request;
mod secrets;
mod signed;
mod spec;
mod time;
mod token;
mod url;

use ::http::HeaderName;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::answer::Refusal;

pub(super) use check::Wanted;
pub(super) use mac::{Algorithm, Mac};
pub(super) use message::{Given, Message};
pub(super) use path::{BodyPath, plain};
pub(super) use place::Encoding;
pub(super) use request::Request;
pub(super) use spec::Verify;
pub(super) use url::PublicUrl;

use jwt::Jwt;
use place::Place;
use signed::Signed;
use token::{Basic, Token};

/// Base64 with or without padding, as senders differ.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What proved a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verified {
    /// Which secret or key of the list it was, from 0; nothing where no proof is asked for. Of a body whose items
    /// are signed one by one, the last item's.
    pub(super) secret: Option<usize>,
}

impl Verified {
    fn by(secret: usize) -> Self {
        Self { secret: Some(secret) }
    }
}

/// A checked `verify`.
pub(super) enum Verifier {
    Signed(Box<Signed>),
    Token(Token),
    Basic(Basic),
    Jwt(Box<Jwt>),
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

    /// All that can be said before the body is read.
    ///
    /// # Errors
    /// 401 for a credential that is missing, malformed or wrong.
    pub(super) fn head(&self, request: &Request<'_>) -> Result<(), Refusal> {
        match self {
            Self::Signed(signed) => signed.head(request),
            Self::Token(token) => token.head(request),
            Self::Basic(basic) => basic.verify(request).map(drop),
            Self::Jwt(jwt) => jwt.head(request),
            Self::None => Ok(()),
        }
    }

    /// The verdict over the raw body. Covers [`Verifier::head`].
    ///
    /// # Errors
    /// 401.
    pub(super) fn verify(&self, request: &Request<'_>) -> Result<Verified, Refusal> {
        match self {
            Self::Signed(signed) => signed.verify(request),
            Self::Token(token) => token.verify(request),
            Self::Basic(basic) => basic.verify(request),
            Self::Jwt(jwt) => jwt.verify(request),
            Self::None => Ok(Verified::default()),
        }
    }
}

#[cfg(test)]
mod tests;
