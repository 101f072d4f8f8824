//! What tokens are signed with (RFC 7518 §3.1, RFC 8037 §3.1).

use karez_net::jose::{Hash, Scheme};

/// The one algorithm that tokens are signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
pub(in super::super) enum JwtAlgorithm {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "HS512")]
    Hs512,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "RS512")]
    Rs512,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl JwtAlgorithm {
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Nothing where the key is a secret.
    pub(in super::super) fn scheme(self) -> Option<Scheme> {
        match self {
            Self::Hs256 | Self::Hs512 => None,
            Self::Rs256 => Some(Scheme::Rsa(Hash::Sha256)),
            Self::Rs512 => Some(Scheme::Rsa(Hash::Sha512)),
            Self::Es256 => Some(Scheme::EcdsaFixed),
            Self::EdDsa => Some(Scheme::Ed25519),
        }
    }
}
