//! The public half of a key as JSON (RFC 7517), and its thumbprint (RFC 7638).

use base64::Engine as _;
use karez_api::Json;
use ring::signature::KeyPair;
use serde_json::json;
use x509_cert::der::asn1::UintRef;
use x509_cert::der::{Decode, Reader, Result as DerResult, SliceReader};

use super::key::{Pair, SigningKey};
use super::pem::Curve;
use crate::jose::{BASE64URL, Hash};

impl SigningKey {
    /// The fields that make the key, in the order of RFC 7638; null for a shared secret, which has no public half.
    pub(crate) fn public_jwk(&self) -> Json {
        match &self.pair {
            Pair::Secret(..) => Json::Null,
            Pair::Ed25519(pair) => {
                json!({"crv": "Ed25519", "kty": "OKP", "x": BASE64URL.encode(pair.public_key())})
            }
            Pair::Ecdsa(pair, curve) => {
                let name = match curve {
                    Curve::P256 => "P-256",
                    Curve::P384 => "P-384",
                };
                // An uncompressed point: 4, and two numbers of one length (SEC 1 §2.3.3).
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                json!({"crv": name, "kty": "EC", "x": BASE64URL.encode(x), "y": BASE64URL.encode(y)})
            }
            Pair::Rsa(pair, _) => {
                let (modulus, exponent) = numbers(pair.public_key().as_ref()).unwrap_or_default();
                json!({"e": BASE64URL.encode(exponent), "kty": "RSA", "n": BASE64URL.encode(modulus)})
            }
        }
    }
}

/// `RSAPublicKey` of RFC 8017 §A.1.1.
fn numbers(der: &[u8]) -> DerResult<(Vec<u8>, Vec<u8>)> {
    SliceReader::new(der)?.sequence(|reader| {
        let modulus = UintRef::decode(reader)?.as_bytes().to_vec();
        Ok((modulus, UintRef::decode(reader)?.as_bytes().to_vec()))
    })
}

/// SHA-256 over what [`SigningKey::public_jwk`] yields, in base64url.
pub(crate) fn thumbprint(public_jwk: &Json) -> String {
    BASE64URL.encode(Hash::Sha256.digest(public_jwk.to_string().as_bytes()))
}
