//! What keyed hashes and signatures say: what all of them have in common, and what only some have.

use std::collections::BTreeMap;

use karez_api::{Duration, Json, JsonMap};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};

use super::super::mac::Algorithm;
use super::super::pinned::AddressSpec;
use super::super::place::Encoding;
use super::super::secrets::{Public, SecretEncoding, Secrets};
use super::super::texts::{Parameters, Texts};
use super::super::time::Unit;

/// Where a code stands and what it is made from, beside what it is made with.
#[derive(Clone)]
pub(in super::super) struct Coded<With> {
    pub(in super::super) code: CodeSpec,
    pub(in super::super) with: With,
}

/// A keyed hash, or a hash with a secret inside.
pub(in super::super) type MacSpec = Coded<WithSecret>;

/// A signature that is checked with a public key.
pub(in super::super) type KeySpec = Coded<WithKey>;

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct CodeSpec {
    /// The header that holds the code, or a list of headers of which each that is there may hold it. `*` in a name
    /// stands for the numbers from 1 to 100.
    pub(in super::super) header: Option<Texts>,
    /// The query parameter that holds the code, in place of `header`.
    pub(in super::super) query: Option<String>,
    /// The field of the body that holds the code, in place of `header`, like `signature.value`.
    pub(in super::super) body: Option<String>,
    /// What stands before the code, like `sha256=`. Default: nothing.
    #[serde(default)]
    pub(in super::super) prefix: String,
    /// What stands between the entries of a list of codes, like `,`. Entries that do not begin with `prefix` are
    /// skipped. Default: there is no list.
    pub(in super::super) separator: Option<char>,
    /// How the code is written. Default: `hex`; `base64` for what is made with a key pair.
    pub(in super::super) encoding: Option<Encoding>,
    /// What is signed: text with `{body}` (the raw bytes), `{timestamp}`, `{method}`, `{url}` (`public_url` with the
    /// query), `{header:NAME}`, `{query:NAME}`, `{body:FIELD}` (`?` behind it: may be missing), `{fields:A,B?}` (of each
    /// a line with its name and one with its value), `{crc32}` of the body, `{sorted_form}`, and in a `hash` `{secret}`.
    /// Default: `{body}`, in a `hash` `{secret}{body}`.
    pub(in super::super) message: Option<String>,
    /// When it was signed; without it a captured request can be sent again later.
    pub(in super::super) timestamp: Option<TimestampSpec>,
    /// Headers that must have these values, like a version.
    #[serde(default)]
    pub(in super::super) require: BTreeMap<String, String>,
    /// Fields of the body that must have one of these values, like an account. They have to be signed.
    #[serde(default)]
    pub(in super::super) require_fields: BTreeMap<String, Texts>,
    /// The list in the body whose items are signed one by one; `body` and `{body:FIELD}` are then fields of an item.
    pub(in super::super) each: Option<String>,
    /// A hash of the body that stands in something signed, checked where it is there.
    pub(in super::super) body_hash: Option<BodyHashSpec>,
    /// Those that the file gives beside the name of a provider.
    #[serde(skip)]
    pub(in super::super) parameters: Parameters,
}

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct WithSecret {
    /// `sha1`, `sha256` or `sha512`.
    pub(in super::super) algorithm: Algorithm,
    /// The secret shared with the sender, or a list of them while one is being replaced; any may match.
    #[schemars(required)]
    pub(in super::super) secret: Option<Secrets>,
    /// How the secret is written. Default: `utf8`, the text itself.
    #[serde(default)]
    pub(in super::super) secret_encoding: SecretEncoding,
    /// What may stand before the secret and is not part of it, like `whsec_`. Default: nothing.
    #[serde(default)]
    pub(in super::super) secret_prefix: String,
}

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct WithKey {
    /// The hash inside an `rsa` signature. Default: `sha256`, which `ecdsa` always has.
    pub(in super::super) algorithm: Option<Algorithm>,
    /// The sender's public key, or a list of them; any may match. As PEM (a key or a certificate), as JWK, or the
    /// base64 or hex of its DER or of its raw bytes.
    pub(in super::super) key: Option<Secrets<Public>>,
    /// Where each request names the address of the certificate that it is signed with, in place of `key`.
    pub(in super::super) certificate: Option<AddressSpec>,
    /// What may stand before the key and is not part of it, like `whpk_`. Default: nothing.
    #[serde(default)]
    pub(in super::super) key_prefix: String,
}

/// Where a timestamp stands: exactly one of `header`, `query`, `body` and `label`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super::super) struct TimestampSpec {
    /// The header that holds it, or a list of headers of which one is there.
    pub(in super::super) header: Option<Texts>,
    /// The query parameter that holds it.
    pub(in super::super) query: Option<String>,
    /// The field of the body that holds it, like `created_at`.
    pub(in super::super) body: Option<String>,
    /// What stands before it in the list of codes, like `t=`.
    pub(in super::super) label: Option<String>,
    /// `seconds` or `milliseconds` since 1970, or `rfc3339`. Default: `seconds`.
    #[serde(default)]
    pub(in super::super) unit: Unit,
    /// How old it may be. Default: 5m.
    #[serde(default = "five_minutes")]
    pub(in super::super) tolerance: Duration,
    /// How far ahead of our clock it may be. Default: as `tolerance`.
    pub(in super::super) future: Option<Duration>,
}

pub(super) fn five_minutes() -> Duration {
    Duration(std::time::Duration::from_secs(300))
}

/// Where the hash stands: exactly one of `header` and `query`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct BodyHashSpec {
    /// The header that holds it.
    pub(in super::super) header: Option<Texts>,
    /// The query parameter that holds it.
    pub(in super::super) query: Option<String>,
    /// `sha1`, `sha256` or `sha512`.
    pub(in super::super) algorithm: Algorithm,
    /// How it is written. Default: `hex`.
    #[serde(default)]
    pub(in super::super) encoding: Encoding,
}

/// Which fields are read into a part of a whole: serde cannot flatten and be strict at once.
pub(in super::super) trait Fields {
    /// Of the whole, in schemas.
    const NAME: &'static str;
    const FIELDS: &'static [&'static str];
}

impl Fields for WithSecret {
    const NAME: &'static str = "MacSpec";
    const FIELDS: &'static [&'static str] = &["algorithm", "secret", "secret_encoding", "secret_prefix"];
}

impl Fields for WithKey {
    const NAME: &'static str = "KeySpec";
    const FIELDS: &'static [&'static str] = &["algorithm", "key", "certificate", "key_prefix"];
}

impl<'de, With: Fields + DeserializeOwned> Deserialize<'de> for Coded<With> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = JsonMap::deserialize(deserializer)?;
        let (with, code): (JsonMap, JsonMap) =
            whole.into_iter().partition(|(name, _)| With::FIELDS.contains(&name.as_str()));
        let with = serde_json::from_value(Json::Object(with)).map_err(D::Error::custom)?;
        let code = serde_json::from_value(Json::Object(code)).map_err(D::Error::custom)?;
        Ok(Self { code, with })
    }
}

impl<With: Fields + JsonSchema> JsonSchema for Coded<With> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        With::NAME.into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut whole = With::json_schema(generator);
        let code = CodeSpec::json_schema(generator);
        let fields = code.get("properties").and_then(Json::as_object).cloned().unwrap_or_default();
        if let Some(properties) = whole.get_mut("properties").and_then(Json::as_object_mut) {
            properties.extend(fields);
        }
        whole
    }
}
