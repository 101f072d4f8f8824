//! A token cut into its parts (RFC 7515 §3.1).

use base64::Engine as _;
use karez_api::{Body, Form, JsonMap};

use super::BASE64URL;

/// A signed token. Nothing of it is proved yet.
pub struct Token<'t> {
    pub header: JsonMap,
    /// Encoded: [`fields`] reads them.
    pub claims: &'t [u8],
    /// What the signature is about.
    pub signed: &'t [u8],
    pub signature: Vec<u8>,
}

impl<'t> Token<'t> {
    /// Nothing where it is no token.
    #[must_use]
    pub fn read(written: &'t [u8]) -> Option<Self> {
        let parts: Vec<&[u8]> = written.split(|byte| *byte == b'.').collect();
        let [header, claims, signature] = *parts else {
            return None;
        };
        let signed = &written[..header.len() + 1 + claims.len()];
        let signature = BASE64URL.decode(signature).ok()?;
        Some(Self { header: fields(header)?, claims, signed, signature })
    }
}

/// A map of JSON in base64url.
#[must_use]
pub fn fields(part: &[u8]) -> Option<JsonMap> {
    let bytes = BASE64URL.decode(part).ok()?;
    match Body::from_bytes(Form::Json, bytes.into()).into_tree() {
        Ok(karez_api::Json::Object(fields)) => Some(fields),
        _ => None,
    }
}
