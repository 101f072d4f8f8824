//! What a message signature says.

use karez_api::Duration;
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::secrets::{Public, SecretEncoding, Secrets};
use super::code::five_minutes;

/// A signature as RFC 9421 has it, in `Signature` and `Signature-Input`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct MessageSignatureSpec {
    /// What it is made with; a signature that names another one is refused.
    pub(in super::super) algorithm: SignatureAlgorithm,
    /// The label of the signature that counts, where there are several. Default: any.
    pub(in super::super) label: Option<String>,
    /// What `keyid` must be. Default: anything.
    pub(in super::super) keyid: Option<String>,
    /// What has to be covered: headers in small letters, `@method`, `@target-uri`, `@authority`, `@scheme`, `@path`,
    /// `@query`, `@request-target`. The body is signed only where `content-digest` is. Default: `@method`, one of
    /// `@target-uri` and `@authority`, and `content-digest`.
    pub(in super::super) components: Option<Vec<String>>,
    /// How old it may be by its `created`, which it must have. Default: 5m.
    #[serde(default = "five_minutes")]
    pub(in super::super) tolerance: Duration,
    /// How far ahead of our clock it may be. Default: as `tolerance`.
    pub(in super::super) future: Option<Duration>,
    /// The secret of `hmac-sha256`, or a list of them; any may match.
    pub(in super::super) secret: Option<Secrets>,
    /// How the secret is written. Default: `utf8`, the text itself.
    #[serde(default)]
    pub(in super::super) secret_encoding: SecretEncoding,
    /// The public key of the others, or a list of them; as PEM, as JWK, or the base64 or hex of its DER or
    /// of its raw bytes.
    pub(in super::super) key: Option<Secrets<Public>>,
}

/// By its name in the registry (RFC 9421 §6.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(in super::super) enum SignatureAlgorithm {
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "ed25519")]
    Ed25519,
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256Sha256,
    #[serde(rename = "rsa-v1_5-sha256")]
    RsaV15Sha256,
    #[serde(rename = "rsa-pss-sha512")]
    RsaPssSha512,
}

impl SignatureAlgorithm {
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::RsaV15Sha256 => "rsa-v1_5-sha256",
            Self::RsaPssSha512 => "rsa-pss-sha512",
        }
    }
}
