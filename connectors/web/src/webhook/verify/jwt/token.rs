//! A token cut into its parts.

use karez_api::{Body, Form, Json, JsonMap};

use super::super::place::Encoding;

/// RFC 7515 §3.1.
pub(super) struct Token<'t> {
    pub(super) header: JsonMap,
    /// Encoded.
    pub(super) claims: &'t [u8],
    pub(super) signed: &'t [u8],
    pub(super) signature: Vec<u8>,
}

impl<'t> Token<'t> {
    /// Nothing where it is no token.
    pub(super) fn read(written: &'t [u8]) -> Option<Self> {
        let parts: Vec<&[u8]> = written.split(|byte| *byte == b'.').collect();
        let [header, claims, signature] = *parts else {
            return None;
        };
        let signed = &written[..header.len() + 1 + claims.len()];
        let signature = Encoding::Base64url.decode(signature).ok()?;
        Some(Self { header: fields(header)?, claims, signed, signature })
    }
}

/// A map of JSON in base64url.
pub(super) fn fields(part: &[u8]) -> Option<JsonMap> {
    let bytes = Encoding::Base64url.decode(part).ok()?;
    match Body::from_bytes(Form::Json, bytes.into()).into_tree() {
        Ok(Json::Object(fields)) => Some(fields),
        _ => None,
    }
}
