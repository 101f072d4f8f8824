//! What tokens are signed with (RFC 7518 §3.1, RFC 8037 §3.1).

use super::{Hash, Scheme};
use crate::spec::JwtAlgorithm;

impl JwtAlgorithm {
    /// As it stands in `alg`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// How its signatures are checked with a public key; nothing where the key is a secret.
    #[must_use]
    pub fn scheme(self) -> Option<Scheme> {
        match self {
            Self::HS256 | Self::HS384 | Self::HS512 => None,
            Self::RS256 => Some(Scheme::Rsa(Hash::Sha256)),
            Self::RS384 => Some(Scheme::Rsa(Hash::Sha384)),
            Self::RS512 => Some(Scheme::Rsa(Hash::Sha512)),
            Self::PS256 => Some(Scheme::RsaPss(Hash::Sha256)),
            Self::PS384 => Some(Scheme::RsaPss(Hash::Sha384)),
            Self::PS512 => Some(Scheme::RsaPss(Hash::Sha512)),
            Self::ES256 => Some(Scheme::EcdsaFixed),
            Self::ES384 => Some(Scheme::EcdsaFixed384),
            Self::EdDSA => Some(Scheme::Ed25519),
        }
    }

    /// The hash of its codes; nothing where the key is none that is shared.
    #[must_use]
    pub fn keyed_hash(self) -> Option<Hash> {
        match self {
            Self::HS256 => Some(Hash::Sha256),
            Self::HS384 => Some(Hash::Sha384),
            Self::HS512 => Some(Hash::Sha512),
            _ => None,
        }
    }
}
