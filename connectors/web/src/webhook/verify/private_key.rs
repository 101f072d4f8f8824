//! Private keys, for signing as a sender would. Only `sign` has them.

use karez_net::jose::{Hash, Scheme};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use x509_cert::der::Document;

use super::mac::Algorithm;
use super::spec::Verify;

/// A key with the one algorithm that it is used with.
pub(in super::super) enum PrivateKey {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

impl Verify {
    /// The sender's half of a key.
    ///
    /// # Errors
    /// It cannot be one, or the scheme has no such keys.
    pub(in super::super) fn private_key(&self, pem: &str) -> Result<PrivateKey, String> {
        let scheme = match (&self.ed25519, &self.ecdsa, &self.rsa, &self.jwt) {
            (Some(_), ..) => Scheme::Ed25519,
            (_, Some(_), ..) => Scheme::EcdsaDer,
            (_, _, Some(spec), _) => Scheme::Rsa(spec.with.algorithm.unwrap_or(Algorithm::Sha256).into()),
            (.., Some(spec)) => spec.algorithm.scheme().ok_or("it is signed with a secret")?,
            _ => return Err("it is not signed with a private key".into()),
        };
        PrivateKey::read(scheme, pem)
    }
}

impl PrivateKey {
    /// Reads PKCS#8 in PEM, as `openssl genpkey` writes it.
    ///
    /// # Errors
    /// What is wrong with it, as a fragment.
    pub(super) fn read(scheme: Scheme, pem: &str) -> Result<Self, String> {
        let (_, document) = Document::from_pem(pem.trim()).map_err(|_| "the private key is not PEM")?;
        let der = document.as_bytes();
        let wrong = |what: ring::error::KeyRejected| format!("the private key does not fit here: {what}");
        let ecdsa = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, der, &SystemRandom::new());
        Ok(match scheme {
            // openssl leaves the public half out.
            Scheme::Ed25519 => Self::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(wrong)?),
            Scheme::EcdsaDer => Self::Ecdsa(ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(wrong)?),
            Scheme::EcdsaFixed => Self::Ecdsa(ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(wrong)?),
            Scheme::RsaPss(Hash::Sha512) => {
                Self::Rsa(RsaKeyPair::from_pkcs8(der).map_err(wrong)?, &RSA_PSS_SHA512)
            }
            Scheme::EcdsaFixed384 | Scheme::RsaPss(_) => return Err("no sender signs so".into()),
            Scheme::Rsa(hash) => {
                let encoding: &'static dyn RsaEncoding = match hash {
                    Hash::Sha1 => return Err("nobody should sign with RSA and SHA-1 any more".into()),
                    Hash::Sha256 => &RSA_PKCS1_SHA256,
                    Hash::Sha384 => &RSA_PKCS1_SHA384,
                    Hash::Sha512 => &RSA_PKCS1_SHA512,
                };
                Self::Rsa(RsaKeyPair::from_pkcs8(der).map_err(wrong)?, encoding)
            }
        })
    }

    /// The public half, in hex, as `key:` takes it.
    pub(in super::super) fn public(&self) -> String {
        match self {
            Self::Ed25519(pair) => hex::encode(pair.public_key()),
            Self::Ecdsa(pair) => hex::encode(pair.public_key()),
            Self::Rsa(pair, _) => hex::encode(pair.public_key()),
        }
    }

    /// # Errors
    /// There is no randomness to be had.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let random = SystemRandom::new();
        let failed = |_| "signing failed".to_owned();
        match self {
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Self::Ecdsa(pair) => {
                pair.sign(&random, message).map(|code| code.as_ref().to_vec()).map_err(failed)
            }
            Self::Rsa(pair, encoding) => {
                let mut code = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut code).map(|()| code).map_err(failed)
            }
        }
    }
}
