//! Keys as JSON (RFC 7517), alone or in a set: those that fit the one algorithm that is asked for.

use base64::Engine as _;
use karez_api::Json;
use serde::Deserialize;
use x509_cert::der::asn1::{Any, UintRef};
use x509_cert::der::{Encode, Tag};

use super::BASE64URL;
use super::public_key::{PublicKey, Scheme};

/// Most keys of a set that are looked at: a token without a key id is tried with each of them.
const MOST_KEYS: usize = 32;

/// A key of a set.
pub struct Named {
    /// `kid`, where the set says one.
    pub id: Option<String>,
    pub key: PublicKey,
}

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

/// The keys of a set that can be used with one algorithm: `name` as `alg` has it, and its scheme.
///
/// # Errors
/// A fragment: it is no set of keys, or none of them can be used.
pub fn read_set(bytes: &[u8], name: &str, scheme: Option<Scheme>) -> Result<Vec<Named>, String> {
    let set: Set = serde_json::from_slice(bytes).map_err(|_| "there is no JWKS")?;
    let usable = set.keys.into_iter().take(MOST_KEYS).filter_map(|key| {
        let key: Jwk = serde_json::from_value(key).ok()?;
        Some(Named { key: key.usable(name, scheme?)?, id: key.kid })
    });
    let found: Vec<Named> = usable.collect();
    match found.is_empty() {
        true => Err(format!("the JWKS holds no key for {name}")),
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
    fn usable(&self, name: &str, scheme: Scheme) -> Option<PublicKey> {
        let is_for_signatures = self.used_for.as_deref().is_none_or(|used| used == "sig")
            && self.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        let fits = self.alg.as_deref().is_none_or(|alg| alg == name);
        if !is_for_signatures || !fits {
            return None;
        }
        PublicKey::new(scheme, self.raw(scheme)?).ok()
    }

    /// What stands in the bit string of a public key.
    fn raw(&self, scheme: Scheme) -> Option<Vec<u8>> {
        let decoded = |part: &Option<String>| BASE64URL.decode(part.as_ref()?).ok();
        let point = || Some([vec![4], decoded(&self.x)?, decoded(&self.y)?].concat());
        match (scheme, &*self.kty, self.crv.as_deref()) {
            (Scheme::Rsa(_) | Scheme::RsaPss(_), "RSA", _) => rsa(&decoded(&self.n)?, &decoded(&self.e)?),
            (Scheme::EcdsaDer | Scheme::EcdsaFixed, "EC", Some("P-256")) => point(),
            (Scheme::EcdsaFixed384, "EC", Some("P-384")) => point(),
            (Scheme::Ed25519, "OKP", Some("Ed25519")) => decoded(&self.x),
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
