//! What `verify:` says, in a pipeline file or in a provider's file. What is wrong with it is found in `check`.

use std::collections::BTreeMap;
use std::fmt;

use karez_api::{Duration, Secret};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::jwt::JwtAlgorithm;
use super::mac::Algorithm;
use super::place::Encoding;
use super::secrets::{Public, SecretEncoding, Secrets};
use super::time::Unit;

/// How a request proves that it comes from the right sender: exactly one of these.
#[derive(Default, Deserialize, JsonSchema)]
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
    /// A signed token (RFC 7519) in a header, with the key in this file.
    pub(super) jwt: Option<JwtSpec>,
    /// No proof at all: anybody who reaches the listener can post.
    pub(super) none: Option<NoneSpec>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MacSpec {
    /// `sha1`, `sha256` or `sha512`.
    pub(super) algorithm: Algorithm,
    /// The header that holds the code, or a list of headers of which each that is there may hold it. `*` in a name
    /// stands for the numbers from 1 to 100.
    pub(super) header: Option<HeaderNames>,
    /// The query parameter that holds the code, in place of `header`.
    pub(super) query: Option<String>,
    /// The field of the body that holds the code, in place of `header`, like `signature.value`.
    pub(super) body: Option<String>,
    /// What stands before the code, like `sha256=`. Default: nothing.
    #[serde(default)]
    pub(super) prefix: String,
    /// What stands between the entries of a list of codes, like `,`. Entries that do not begin with `prefix` are
    /// skipped. Default: there is no list.
    pub(super) separator: Option<char>,
    /// How the code is written. Default: `hex`.
    #[serde(default)]
    pub(super) encoding: Encoding,
    /// What is signed: text with `{body}` (the raw bytes), `{timestamp}`, `{method}`, `{url}` (`public_url` with the
    /// query), `{header:NAME}`, `{query:NAME}`, `{body:FIELD}` (`?` behind it: may be missing), `{crc32}` of the body,
    /// `{sorted_form}`, and in a `hash` `{secret}`. Default: `{body}`, in a `hash` `{secret}{body}`.
    pub(super) message: Option<String>,
    /// When it was signed; without it a captured request can be sent again later.
    pub(super) timestamp: Option<TimestampSpec>,
    /// Headers that must have these values, like a version.
    #[serde(default)]
    pub(super) require: BTreeMap<String, String>,
    /// The list in the body whose items are signed one by one; `body` and `{body:FIELD}` are then fields of an item.
    pub(super) each: Option<String>,
    /// A hash of the body that stands in something signed, checked where it is there.
    pub(super) body_hash: Option<BodyHashSpec>,
    /// The secret shared with the sender, or a list of them while one is being replaced; any may match.
    #[schemars(required)]
    pub(super) secret: Option<Secrets>,
    /// How the secret is written. Default: `utf8`, the text itself.
    #[serde(default)]
    pub(super) secret_encoding: SecretEncoding,
    /// What may stand before the secret and is not part of it, like `whsec_`. Default: nothing.
    #[serde(default)]
    pub(super) secret_prefix: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeySpec {
    /// The hash inside an `rsa` signature. Default: `sha256`, which `ecdsa` always has.
    pub(super) algorithm: Option<Algorithm>,
    /// The header that holds the signature, or a list of headers of which each that is there may hold it.
    pub(super) header: Option<HeaderNames>,
    /// The query parameter that holds the signature, in place of `header`.
    pub(super) query: Option<String>,
    /// The field of the body that holds the signature, in place of `header`.
    pub(super) body: Option<String>,
    /// What stands before the signature. Default: nothing.
    #[serde(default)]
    pub(super) prefix: String,
    /// What stands between the entries of a list of signatures. Entries that do not begin with `prefix` are skipped.
    /// Default: there is no list.
    pub(super) separator: Option<char>,
    /// How the signature is written. Default: `base64`.
    #[serde(default = "base64")]
    pub(super) encoding: Encoding,
    /// What is signed, as in `hmac`. Default: `{body}`.
    pub(super) message: Option<String>,
    /// When it was signed; without it a captured request can be sent again later.
    pub(super) timestamp: Option<TimestampSpec>,
    /// Headers that must have these values, like a version.
    #[serde(default)]
    pub(super) require: BTreeMap<String, String>,
    /// The list in the body whose items are signed one by one; `body` and `{body:FIELD}` are then fields of an item.
    pub(super) each: Option<String>,
    /// A hash of the body that stands in something signed, checked where it is there.
    pub(super) body_hash: Option<BodyHashSpec>,
    /// The sender's public key, or a list of them; any may match. As PEM (a key or a certificate), or the base64 or
    /// hex of its DER or of its raw bytes.
    #[schemars(required)]
    pub(super) key: Option<Secrets<Public>>,
    /// What may stand before the key and is not part of it, like `whpk_`. Default: nothing.
    #[serde(default)]
    pub(super) key_prefix: String,
}

fn base64() -> Encoding {
    Encoding::Base64
}

/// Where a timestamp stands: exactly one of `header`, `query`, `body` and `label`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct TimestampSpec {
    /// The header that holds it, or a list of headers of which one is there.
    pub(super) header: Option<HeaderNames>,
    /// The query parameter that holds it.
    pub(super) query: Option<String>,
    /// The field of the body that holds it, like `created_at`.
    pub(super) body: Option<String>,
    /// What stands before it in the list of codes, like `t=`.
    pub(super) label: Option<String>,
    /// `seconds` or `milliseconds` since 1970, or `rfc3339`. Default: `seconds`.
    #[serde(default)]
    pub(super) unit: Unit,
    /// How old it may be. Default: 5m.
    #[serde(default = "five_minutes")]
    pub(super) tolerance: Duration,
    /// How far ahead of our clock it may be. Default: as `tolerance`.
    pub(super) future: Option<Duration>,
}

fn five_minutes() -> Duration {
    Duration(std::time::Duration::from_secs(300))
}

/// Where the hash stands: exactly one of `header` and `query`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BodyHashSpec {
    /// The header that holds it.
    pub(super) header: Option<HeaderNames>,
    /// The query parameter that holds it.
    pub(super) query: Option<String>,
    /// `sha1`, `sha256` or `sha512`.
    pub(super) algorithm: Algorithm,
    /// How it is written. Default: `hex`.
    #[serde(default)]
    pub(super) encoding: Encoding,
}

#[derive(Deserialize, JsonSchema)]
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

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BasicSpec {
    /// The user name; it holds no colon.
    pub(super) username: String,
    /// The password.
    pub(super) password: Secret,
}

#[derive(Deserialize, JsonSchema)]
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
    /// The public key of the others, or a list of them; as PEM, or the base64 or hex of its DER or of its raw bytes.
    pub(super) key: Option<Secrets<Public>>,
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

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoneSpec {
    /// Why this webhook may be called by anybody, for whoever reads the file next.
    pub(super) reason: String,
}

/// One header or a list of them.
pub(super) struct HeaderNames {
    pub(super) list: Vec<String>,
    pub(super) written_as_list: bool,
}

impl<'de> Deserialize<'de> for HeaderNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = HeaderNames;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a header or a list of names")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<HeaderNames, E> {
                Ok(HeaderNames { list: vec![text.into()], written_as_list: false })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<HeaderNames, A::Error> {
                let mut list = Vec::new();
                while let Some(name) = items.next_element()? {
                    list.push(name);
                }
                Ok(HeaderNames { list, written_as_list: true })
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for HeaderNames {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HeaderNames".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "array"], "items": {"type": "string"}, "minItems": 1})
    }
}
