//! Keys as JSON (RFC 7517), alone or in a set: those that fit the one algorithm that is asked for.

use karez_api::Json;
use serde::Deserialize;
use x509_cert::der::asn1::{Any, UintRef};
use x509_cert::der::{Encode, Tag};

use super::fetched::Named;
use super::jwt::JwtAlgorithm;
use super::place::Encoding;
use super::public_key::{PublicKey, Scheme};

/// Most keys of a set that are looked at: a token without a key id is tried with each of them.
const MOST_KEYS: usize = 32;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Json>,
}

/// RFC 7517 §4, RFC 7518 §6, RFC 8037 §2. What is not known here is passed over.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// # Errors
/// A fragment: it is no set of keys, or none of them can be used.
pub(super) fn read(bytes: &[u8], algorithm: JwtAlgorithm) -> Result<Vec<Named>, String> {
    let set: Set = serde_json::from_slice(bytes).map_err(|_| "there is no JWKS")?;
    let usable = set.keys.into_iter().take(MOST_KEYS).filter_map(|key| {
        let key: Jwk = serde_json::from_value(key).ok()?;
        Some(Named { key: key.usable(algorithm)?, id: key.kid })
    });
    let found: Vec<Named> = usable.collect();
    match found.is_empty() {
        true => Err(format!("the JWKS holds no key for {}", algorithm.name())),
        false => Ok(found),
    }
}

/// One key, as it stands in a file.
///
/// # Errors
/// What is wrong with it, as a fragment.
pub(super) fn raw(text: &str, scheme: Scheme) -> Result<Vec<u8>, &'static str> {
    let key: Jwk = serde_json::from_str(text).map_err(|_| "the key cannot be read as JWK")?;
    key.raw(scheme).ok_or("it is a key of another kind")
}

impl Jwk {
    fn usable(&self, algorithm: JwtAlgorithm) -> Option<PublicKey> {
        let is_for_signatures = self.used_for.as_deref().is_none_or(|used| used == "sig")
            && self.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        let fits = self.alg.as_deref().is_none_or(|alg| alg == algorithm.name());
        if !is_for_signatures || !fits {
            return None;
        }
        let scheme = algorithm.scheme()?;
        PublicKey::new(scheme, self.raw(scheme)?).ok()
    }

    /// What stands in the bit string of a public key.
    fn raw(&self, scheme: Scheme) -> Option<Vec<u8>> {
        let decoded = |part: &Option<String>| Encoding::Base64url.decode(part.as_ref()?.as_bytes()).ok();
        let curve = self.crv.as_deref();
        match (scheme, &*self.kty) {
            (Scheme::Rsa(_) | Scheme::RsaPss, "RSA") => rsa(&decoded(&self.n)?, &decoded(&self.e)?),
            (Scheme::EcdsaDer | Scheme::EcdsaFixed, "EC") if curve == Some("P-256") => {
                Some([vec![4], decoded(&self.x)?, decoded(&self.y)?].concat())
            }
            (Scheme::Ed25519, "OKP") if curve == Some("Ed25519") => decoded(&self.x),
            _ => None,
        }
    }
}

/// `RSAPublicKey` of RFC 8017 §A.1.1.
fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    let number = |bytes| UintRef::new(bytes).ok()?.to_der().ok();
    let both = [number(modulus)?, number(exponent)?].concat();
    Any::new(Tag::Sequence, both).ok()?.to_der().ok()
}
