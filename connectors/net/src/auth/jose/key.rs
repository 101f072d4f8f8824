//! A private key or shared secret with the one algorithm that it is used with.

use base64::Engine as _;
use karez_api::{Fault, JsonMap, Secret};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    RsaEncoding, RsaKeyPair,
};
use zeroize::Zeroizing;

use super::pem::{Curve, Material};
use crate::jose::{BASE64, BASE64URL, Hash};
use crate::spec::JwtAlgorithm;

/// Signs with one algorithm, whatever is asked of it.
pub(crate) struct SigningKey {
    algorithm: JwtAlgorithm,
    pub(super) pair: Pair,
}

pub(super) enum Pair {
    Secret(Zeroizing<Vec<u8>>, Hash),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair, Curve),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// # Errors
    /// A fragment: what is wrong with the key, which is not shown.
    pub(crate) fn read(algorithm: JwtAlgorithm, key: &Secret) -> Result<Self, String> {
        let text = key.expose();
        let pair = match algorithm.keyed_hash() {
            Some(_) if text.contains("-----BEGIN") => {
                return Err(format!("{} takes a shared secret, and this is PEM", algorithm.name()));
            }
            Some(_) if text.is_empty() => return Err("the shared secret is empty".into()),
            Some(hash) => Pair::Secret(Zeroizing::new(text.as_bytes().to_vec()), hash),
            None => Pair::of(algorithm, &Material::read(text)?)?,
        };
        Ok(Self { algorithm, pair })
    }

    /// A new key for ES256, as PEM that [`SigningKey::read`] takes.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub(crate) fn generate_es256() -> Result<Secret, Fault> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| Fault::fatal("no key can be made: the system gives no random numbers"))?;
        let body = Zeroizing::new(BASE64.encode(document.as_ref()));
        Ok(Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", *body)))
    }

    /// A token (RFC 7515 §3.1); `alg` and, where it is not said, `typ` are put into its header.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub(crate) fn sign(&self, header: JsonMap, claims: JsonMap) -> Result<String, Fault> {
        let mut full = JsonMap::new();
        full.insert("alg".into(), self.algorithm.name().into());
        full.insert("typ".into(), "JWT".into());
        full.extend(header.into_iter().filter(|(name, _)| name != "alg"));
        let encoded = |fields| BASE64URL.encode(karez_api::Json::Object(fields).to_string());
        let signed = format!("{}.{}", encoded(full), encoded(claims));
        let signature = self.signature(signed.as_bytes())?;
        Ok(format!("{signed}.{}", BASE64URL.encode(signature)))
    }

    /// # Errors
    /// There is no randomness to be had.
    pub(crate) fn signature(&self, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let random = SystemRandom::new();
        let failed = |_| Fault::fatal("signing failed: the system gives no random numbers");
        match &self.pair {
            Pair::Secret(secret, hash) => Ok(hash.mac(secret, message)),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Ecdsa(pair, _) => {
                pair.sign(&random, message).map(|code| code.as_ref().to_vec()).map_err(failed)
            }
            Pair::Rsa(pair, encoding) => {
                let mut code = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut code).map(|()| code).map_err(failed)
            }
        }
    }
}

impl Pair {
    fn of(algorithm: JwtAlgorithm, material: &Material) -> Result<Self, String> {
        let name = algorithm.name();
        match (Wanted::of(algorithm), material) {
            (Wanted::Rsa(encoding), Material::Rsa(der)) => RsaKeyPair::from_der(der)
                .map(|pair| Self::Rsa(pair, encoding))
                .map_err(|what| format!("the RSA key cannot be used: {what}; it needs 2048 to 4096 bits")),
            (Wanted::Ec(wanted), Material::Ec { curve, private, public }) if wanted == *curve => {
                let signing = match curve {
                    Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
                    Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
                };
                EcdsaKeyPair::from_private_key_and_public_key(signing, private, public, &SystemRandom::new())
                    .map(|pair| Self::Ecdsa(pair, *curve))
                    .map_err(|what| format!("the EC key cannot be used: {what}"))
            }
            (Wanted::Ed25519, Material::Ed25519(seed)) => Ed25519KeyPair::from_seed_unchecked(seed)
                .map(Self::Ed25519)
                .map_err(|what| format!("the Ed25519 key cannot be used: {what}")),
            (wanted, other) => Err(format!("{name} needs {}, and this is {}", wanted.name(), other.kind())),
        }
    }
}

/// The kind of key that an algorithm takes.
enum Wanted {
    Rsa(&'static dyn RsaEncoding),
    Ec(Curve),
    Ed25519,
    Secret,
}

impl Wanted {
    fn of(algorithm: JwtAlgorithm) -> Self {
        match algorithm {
            JwtAlgorithm::HS256 | JwtAlgorithm::HS384 | JwtAlgorithm::HS512 => Self::Secret,
            JwtAlgorithm::RS256 => Self::Rsa(&RSA_PKCS1_SHA256),
            JwtAlgorithm::RS384 => Self::Rsa(&RSA_PKCS1_SHA384),
            JwtAlgorithm::RS512 => Self::Rsa(&RSA_PKCS1_SHA512),
            JwtAlgorithm::PS256 => Self::Rsa(&RSA_PSS_SHA256),
            JwtAlgorithm::PS384 => Self::Rsa(&RSA_PSS_SHA384),
            JwtAlgorithm::PS512 => Self::Rsa(&RSA_PSS_SHA512),
            JwtAlgorithm::ES256 => Self::Ec(Curve::P256),
            JwtAlgorithm::ES384 => Self::Ec(Curve::P384),
            JwtAlgorithm::EdDSA => Self::Ed25519,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "an RSA key",
            Self::Ec(Curve::P256) => "an EC key on P-256",
            Self::Ec(Curve::P384) => "an EC key on P-384",
            Self::Ed25519 => "an Ed25519 key",
            Self::Secret => "a shared secret",
        }
    }
}
