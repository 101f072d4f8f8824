//! What a proof of possession (RFC 9449 §4) says. Its signature is not checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value as Json;

use crate::Seen;

/// The one that is wanted.
pub(super) const NONCE: &str = "nonce-of-the-server";

/// Its claims, where it is one for this request.
pub(super) fn proof(seen: &Seen) -> Option<Json> {
    let mut parts = seen.header("dpop")?.split('.');
    let mut decoded =
        || -> Option<Json> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok() };
    let (header, claims) = (decoded()?, decoded()?);
    let path = seen.path.split('?').next()?;
    let fits = header["typ"] == "dpop+jwt"
        && header["jwk"]["kty"] == "EC"
        && header["jwk"].get("d").is_none()
        && claims["htm"] == *seen.method
        && claims["htu"].as_str()?.ends_with(path)
        && claims["jti"].is_string()
        && claims["iat"].is_u64();
    fits.then_some(claims)
}
