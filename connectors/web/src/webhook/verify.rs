//! Whether a request comes from the right sender. Pure: headers and raw bytes in, yes or no out.
//!
//! The algorithm is the file's, never the request's; codes are compared as bytes, in constant
//! time, after their length; a header that stands twice is refused, since the next reader of the
//! request may take the other one.

mod check;
mod mac;

use ::http::{HeaderMap, HeaderName, header};
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use subtle::{Choice, ConstantTimeEq};

use super::answer::{self, Refusal};

pub(super) use check::Verify;
use mac::Mac;

/// Base64 with or without padding, as senders differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a code or token is written in its header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    #[default]
    Hex,
    Base64,
}

/// A checked `verify`.
pub(super) enum Verifier {
    Hmac {
        header: HeaderName,
        prefix: String,
        encoding: Encoding,
        macs: Vec<Mac>,
    },
    /// `bearer`: the token stands after `Bearer `.
    Token {
        header: HeaderName,
        bearer: bool,
        tokens: Vec<Vec<u8>>,
    },
    Basic {
        username: Vec<u8>,
        password: Vec<u8>,
    },
    None,
}

impl Verifier {
    /// The header that holds a credential rather than a code for this one body.
    pub(super) fn secret_header(&self) -> Option<&HeaderName> {
        match self {
            Self::Token { header, .. } => Some(header),
            _ => None,
        }
    }

    /// All that can be said before the body is read.
    ///
    /// # Errors
    /// 401 for a credential that is missing, malformed or wrong.
    pub(super) fn head(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self {
            Self::Hmac { .. } => self.code(headers).map(drop),
            Self::Token { header, bearer, tokens } => token(headers, header, *bearer, tokens),
            Self::Basic { username, password } => basic(headers, username, password),
            Self::None => Ok(()),
        }
    }

    /// The verdict over the raw body. Covers [`Verifier::head`] for what has no code.
    ///
    /// # Errors
    /// 401.
    pub(super) fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let Self::Hmac { header, macs, .. } = self else {
            return self.head(headers);
        };
        let code = self.code(headers)?;
        // Every secret is tried, so that time does not tell which one matched.
        let matched = macs.iter().fold(Choice::from(0), |any, mac| any | mac.matches(body, &code));
        match bool::from(matched) {
            true => Ok(()),
            false => Err(answer::unauthorized(&format!("{header} does not match the body"), None)),
        }
    }

    /// The code of a request, decoded and of the right length.
    fn code(&self, headers: &HeaderMap) -> Result<Vec<u8>, Refusal> {
        let Self::Hmac { header, prefix, encoding, macs } = self else {
            return Ok(Vec::new());
        };
        let refuse = |what: &str| answer::unauthorized(&format!("{header} {what}"), None);
        let written = single(headers, header).map_err(refuse)?;
        let digits = written
            .strip_prefix(prefix.as_bytes())
            .ok_or_else(|| refuse(&format!("does not begin with {prefix}")))?;
        let code = match encoding {
            Encoding::Hex => hex::decode(digits).map_err(|_| refuse("is not hex"))?,
            Encoding::Base64 => BASE64.decode(digits).map_err(|_| refuse("is not base64"))?,
        };
        match macs.first().is_some_and(|mac| mac.length() == code.len()) {
            true => Ok(code),
            false => Err(refuse("has the wrong length")),
        }
    }
}

/// The only value of a header.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a [u8], &'static str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.as_bytes()),
        (None, _) => Err("is missing"),
        (Some(_), Some(_)) => Err("stands twice"),
    }
}

fn token(headers: &HeaderMap, name: &HeaderName, bearer: bool, tokens: &[Vec<u8>]) -> Result<(), Refusal> {
    let scheme = bearer.then_some("Bearer");
    let refuse = |what: &str| answer::unauthorized(&format!("{name} {what}"), scheme);
    let written = single(headers, name).map_err(refuse)?;
    let given = match bearer {
        true => after_scheme(written, b"bearer").ok_or_else(|| refuse("has no bearer token"))?,
        false => written,
    };
    let matched = tokens.iter().fold(Choice::from(0), |any, token| any | token.ct_eq(given));
    match bool::from(matched) {
        true => Ok(()),
        false => Err(refuse("holds a wrong token")),
    }
}

fn basic(headers: &HeaderMap, username: &[u8], password: &[u8]) -> Result<(), Refusal> {
    let refuse = |what: &str| {
        answer::unauthorized(
            &format!("authorization {what}"),
            Some(r#"Basic realm="webhook", charset="UTF-8""#),
        )
    };
    let written = single(headers, &header::AUTHORIZATION).map_err(refuse)?;
    let encoded = after_scheme(written, b"basic").ok_or_else(|| refuse("is not basic"))?;
    let pair = BASE64.decode(encoded).map_err(|_| refuse("is not base64"))?;
    // RFC 7617 §2: a user name holds no colon, a password may.
    let colon = pair.iter().position(|byte| *byte == b':').ok_or_else(|| refuse("holds no password"))?;
    let matched = username.ct_eq(&pair[..colon]) & password.ct_eq(&pair[colon + 1..]);
    match bool::from(matched) {
        true => Ok(()),
        false => Err(refuse("holds a wrong username or password")),
    }
}

/// What follows the scheme of an `Authorization`; scheme names have no case (RFC 9110 §11.1).
fn after_scheme<'a>(written: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (given, rest) = written.split_at_checked(scheme.len())?;
    (given.eq_ignore_ascii_case(scheme) && rest.first() == Some(&b' ')).then(|| rest.trim_ascii())
}

#[cfg(test)]
#[path = "verify/tests.rs"]
mod tests;
