//! What `verify:` says, in a pipeline file or in a provider's file. What is wrong with it is found in `check`.

mod code;
mod message_signature;

use karez_api::{Duration, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

use super::client_certificate::MtlsSpec;
use super::jwt::JwtAlgorithm;
use super::place::Encoding;
use super::secrets::{Public, SecretEncoding, Secrets};
use super::texts::Parameters;

pub(in super::super) use code::TimestampSpec;
pub(super) use code::{BodyHashSpec, CodeSpec, KeySpec, MacSpec};
pub(super) use message_signature::{MessageSignatureSpec, SignatureAlgorithm};

/// How a request proves that it comes from the right sender: exactly one of these.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Verify {
    /// A provider whose scheme is known, like `stripe`; beside it stands `secret` or `key`.
    #[serde(default)]
    #[schemars(schema_with = "super::super::provider::names_schema")]
    pub(super) provider: Option<String>,
    /// The secret that the provider shares with you, or a list of them while one is being replaced; any may match.
    pub(super) secret: Option<Secrets>,
    /// The public key of a provider that signs with one, or a list of them; any may match.
    pub(super) key: Option<Secrets<Public>>,
    /// What a provider's scheme needs to know beside that, like the id of a webhook; `karez webhooks show` lists it.
    #[serde(default)]
    pub(super) parameters: Parameters,
    /// Stands in place of `secret` while a provider has not sent it yet (Asana, Notion): then only its first request is
    /// answered, and all others with 503.
    pub(super) pending: Option<PendingSpec>,
    /// How old a request of the provider may be, and how far ahead of our clock. Default: the provider's, mostly 5m.
    pub(super) tolerance: Option<Duration>,
    /// The token that you gave a provider which asks for it once before it sends anything (Meta).
    pub(super) verify_token: Option<Secret>,
    /// A keyed hash of the raw body, or of more, in a header.
    pub(super) hmac: Option<MacSpec>,
    /// A hash with the secret inside, as some senders had it before HMAC. Weaker than `hmac`.
    pub(super) hash: Option<MacSpec>,
    /// An Ed25519 signature.
    pub(super) ed25519: Option<KeySpec>,
    /// An ECDSA signature with a P-256 key and SHA-256, its two numbers as DER.
    pub(super) ecdsa: Option<KeySpec>,
    /// An RSA signature, PKCS#1 v1.5, with a key of 2048 bits or more.
    pub(super) rsa: Option<KeySpec>,
    /// A shared token.
    pub(super) token: Option<TokenSpec>,
    /// A user name and password (RFC 7617).
    pub(super) basic: Option<BasicSpec>,
    /// A signed token (RFC 7519) in a header.
    pub(super) jwt: Option<JwtSpec>,
    /// A signature over parts of the request that it names itself (RFC 9421).
    pub(super) message_signature: Option<MessageSignatureSpec>,
    /// A certificate of the client.
    pub(super) mtls: Option<MtlsSpec>,
    /// No proof at all: anybody who reaches the listener can post.
    pub(super) none: Option<NoneSpec>,
}

impl Verify {
    /// The scheme with a shared secret that it is, if it is one.
    pub(super) fn mac(&self) -> Option<&MacSpec> {
        self.hmac.as_ref().or(self.hash.as_ref())
    }

    /// The scheme with a key of the sender's that it is, if it is one.
    pub(super) fn signature(&self) -> Option<&KeySpec> {
        self.ed25519.as_ref().or(self.ecdsa.as_ref()).or(self.rsa.as_ref())
    }
}

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PendingSpec {
    /// The name under which the secret is stored, encrypted, as by `karez secrets set`. Once it is there, write
    /// `secret: "${secret:NAME}"` in place of `pending`.
    pub(super) secret: String,
}

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenSpec {
    /// The header whose whole value is the token. Default: `Authorization`, after `Bearer `.
    pub(super) header: Option<String>,
    /// The query parameter that is the token, in place of `header`. Addresses are often logged: better a header.
    pub(super) query: Option<String>,
    /// The field of the body that is the token, in place of `header`.
    pub(super) body: Option<String>,
    /// The list in the body whose items hold the token one by one; `body` is then a field of an item.
    pub(super) each: Option<String>,
    /// The token, or a list of them while one is being replaced; any may match.
    #[schemars(required)]
    pub(super) token: Option<Secrets>,
}

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BasicSpec {
    /// The user name; it holds no colon.
    pub(super) username: String,
    /// The password.
    pub(super) password: Secret,
}

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JwtSpec {
    /// `HS256`, `HS512`, `RS256`, `RS512`, `ES256` or `EdDSA`: tokens signed in another way are refused.
    pub(super) algorithm: JwtAlgorithm,
    /// The header whose whole value is the token. Default: `Authorization`, after `Bearer `.
    pub(super) header: Option<String>,
    /// The secret of `HS256` and `HS512`, or a list of them; any may match.
    pub(super) secret: Option<Secrets>,
    /// How the secret is written. Default: `utf8`, the text itself.
    #[serde(default)]
    pub(super) secret_encoding: SecretEncoding,
    /// The public key of the others, or a list of them; as PEM, as JWK, or the base64 or hex of its DER or
    /// of its raw bytes.
    pub(super) key: Option<Secrets<Public>>,
    /// The address of a set of public keys (JWKS, RFC 7517), in place of `key`: `https://…`. It is fetched again each hour
    /// and when a token names a key that is not in it, then at most once a minute.
    pub(super) jwks: Option<String>,
    /// What `iss` must be. Default: anything.
    pub(super) issuer: Option<String>,
    /// What `aud` must be, or hold. Default: anything.
    pub(super) audience: Option<String>,
    /// The claim that holds the SHA-256 of the body; without it the token says nothing of the body.
    pub(super) body_claim: Option<String>,
    /// How that hash is written. Default: `hex`.
    #[serde(default)]
    pub(super) body_claim_encoding: Encoding,
    /// How far clocks may be apart. Default: 1m.
    #[serde(default = "one_minute")]
    pub(super) leeway: Duration,
    /// How long ago it may have been issued (`iat`). Default: as long as `exp` says.
    pub(super) max_age: Option<Duration>,
}

fn one_minute() -> Duration {
    Duration(std::time::Duration::from_secs(60))
}

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoneSpec {
    /// Why this webhook may be called by anybody, for whoever reads the file next.
    pub(super) reason: String,
}
