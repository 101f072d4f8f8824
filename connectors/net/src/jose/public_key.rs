//! Public keys and the signatures that they check. The algorithm belongs to the key as the file
//! says it; nothing in a token or a certificate changes it.

use base64::Engine as _;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::Certificate;
use x509_cert::der::{Decode, DecodePem, Encode, SliceReader};
use x509_cert::spki::{ObjectIdentifier, SubjectPublicKeyInfoOwned};

use super::{BASE64, Hash, jwk};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// What a signature is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Ed25519,
    /// The two numbers of a signature as DER, which is what most senders write.
    EcdsaDer,
    /// The two numbers one after the other, as JWT has them; P-256 with SHA-256.
    EcdsaFixed,
    /// The same with P-384 and SHA-384.
    EcdsaFixed384,
    /// PKCS#1 v1.5.
    Rsa(Hash),
    /// PSS with a salt as long as the hash.
    RsaPss(Hash),
}

impl Scheme {
    /// Bytes in a signature, where all have the same number.
    #[must_use]
    pub fn length(self) -> Option<usize> {
        match self {
            Self::Ed25519 | Self::EcdsaFixed => Some(64),
            Self::EcdsaFixed384 => Some(96),
            Self::EcdsaDer | Self::Rsa(_) | Self::RsaPss(_) => None,
        }
    }
}

/// A key with the one algorithm that it is used with.
pub struct PublicKey {
    algorithm: &'static dyn VerificationAlgorithm,
    bytes: Vec<u8>,
    /// Bytes in a signature, where all have the same number.
    length: Option<usize>,
}

impl PublicKey {
    /// Reads a key as PEM (a public key or a certificate), as a JWK, or as the base64 or hex of its DER or of its raw
    /// bytes; `prefix` (`whpk_`) may stand before.
    ///
    /// # Errors
    /// What is wrong with it, as a fragment.
    pub fn read(scheme: Scheme, text: &str, prefix: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let raw = match (text.contains("-----BEGIN"), text.starts_with('{')) {
            (true, _) => from_pem(scheme, text)?,
            (_, true) => jwk::raw(text, scheme)?,
            _ => from_encoded(scheme, text.strip_prefix(prefix).unwrap_or(text))?,
        };
        Self::new(scheme, raw)
    }

    /// `raw` is what stands in the bit string of a public key.
    ///
    /// # Errors
    /// A fragment: it is none of that scheme.
    pub fn new(scheme: Scheme, raw: Vec<u8>) -> Result<Self, &'static str> {
        let algorithm: &'static dyn VerificationAlgorithm = match scheme {
            Scheme::Ed25519 => &signature::ED25519,
            Scheme::EcdsaDer => &signature::ECDSA_P256_SHA256_ASN1,
            Scheme::EcdsaFixed => &signature::ECDSA_P256_SHA256_FIXED,
            Scheme::EcdsaFixed384 => &signature::ECDSA_P384_SHA384_FIXED,
            Scheme::Rsa(Hash::Sha1) => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Scheme::Rsa(Hash::Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
            Scheme::Rsa(Hash::Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
            Scheme::Rsa(Hash::Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
            Scheme::RsaPss(Hash::Sha1) => return Err("PSS is not used with SHA-1"),
            Scheme::RsaPss(Hash::Sha256) => &signature::RSA_PSS_2048_8192_SHA256,
            Scheme::RsaPss(Hash::Sha384) => &signature::RSA_PSS_2048_8192_SHA384,
            Scheme::RsaPss(Hash::Sha512) => &signature::RSA_PSS_2048_8192_SHA512,
        };
        match scheme {
            Scheme::Ed25519 if raw.len() != 32 => Err("an Ed25519 key has 32 bytes"),
            Scheme::EcdsaDer | Scheme::EcdsaFixed if raw.len() != 65 || raw[0] != 4 => {
                Err("a P-256 key is an uncompressed point of 65 bytes")
            }
            Scheme::EcdsaFixed384 if raw.len() != 97 || raw[0] != 4 => {
                Err("a P-384 key is an uncompressed point of 97 bytes")
            }
            _ => Ok(Self { algorithm, bytes: raw, length: scheme.length() }),
        }
    }

    /// # Errors
    /// A fragment: it is a key of another kind.
    pub fn certified(scheme: Scheme, certificate: &Certificate) -> Result<Self, &'static str> {
        Self::new(scheme, raw_key(scheme, &certificate.tbs_certificate.subject_public_key_info)?)
    }

    /// Bytes in a signature, where all have the same number.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        self.length
    }

    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm, &self.bytes).verify(message, signature).is_ok()
    }
}

fn from_pem(scheme: Scheme, text: &str) -> Result<Vec<u8>, &'static str> {
    match text.contains("BEGIN CERTIFICATE") {
        true => {
            let certificate = Certificate::from_pem(text).map_err(|_| "the certificate cannot be read")?;
            raw_key(scheme, &certificate.tbs_certificate.subject_public_key_info)
        }
        false => {
            let info = SubjectPublicKeyInfoOwned::from_pem(text)
                .map_err(|_| "the public key cannot be read as PEM")?;
            raw_key(scheme, &info)
        }
    }
}

fn from_encoded(scheme: Scheme, text: &str) -> Result<Vec<u8>, &'static str> {
    let bytes = match hex::decode(text) {
        Ok(bytes) => bytes,
        Err(_) => BASE64.decode(text).map_err(|_| "it is neither PEM, nor JWK, nor base64, nor hex")?,
    };
    if let Ok(info) = SubjectPublicKeyInfoOwned::from_der(&bytes) {
        return raw_key(scheme, &info);
    }
    if let Ok(certificate) = Certificate::from_der(&bytes) {
        return raw_key(scheme, &certificate.tbs_certificate.subject_public_key_info);
    }
    Ok(bytes)
}

fn raw_key(scheme: Scheme, info: &SubjectPublicKeyInfoOwned) -> Result<Vec<u8>, &'static str> {
    let curve = info.algorithm.parameters.as_ref().and_then(|any| any.to_der().ok()).and_then(|der| {
        let mut reader = SliceReader::new(&der).ok()?;
        ObjectIdentifier::decode(&mut reader).ok()
    });
    let fits = match scheme {
        Scheme::Ed25519 => info.algorithm.oid == ED25519,
        Scheme::EcdsaDer | Scheme::EcdsaFixed => info.algorithm.oid == EC && curve == Some(P256),
        Scheme::EcdsaFixed384 => info.algorithm.oid == EC && curve == Some(P384),
        Scheme::Rsa(_) => info.algorithm.oid == RSA,
        Scheme::RsaPss(_) => [RSA, RSA_PSS].contains(&info.algorithm.oid),
    };
    match fits {
        true => info.subject_public_key.as_bytes().map(<[u8]>::to_vec).ok_or("the key is cut off"),
        false => Err("it is a key of another kind"),
    }
}
