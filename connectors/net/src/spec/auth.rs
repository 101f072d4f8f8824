//! Ways to say who we are, but for OAuth 2.0, which is long enough for a file of its own.

use std::collections::BTreeMap;

use karez_api::{Duration, Json, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

use super::OAuth2;

/// One of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthSpec {
    /// OAuth 2.0 and OpenID Connect.
    #[serde(rename = "oauth2")]
    OAuth2(Box<OAuth2>),
    /// A fixed key in a header, the query or a cookie.
    ApiKey(ApiKey),
    /// `Authorization: Bearer …` with a fixed token.
    Bearer(Bearer),
    /// `Authorization: Basic …`.
    Basic(Basic),
    /// HTTP digest (RFC 7616): MD5 and SHA-256, `auth` and `auth-int`.
    Digest(Digest),
    /// A JWT that we sign ourselves, as bearer.
    Jwt(Jwt),
    /// A log-in call yields a token, which goes with every request.
    Session(Session),
    /// OAuth 1.0a (RFC 5849).
    #[serde(rename = "oauth1")]
    OAuth1(OAuth1),
    /// AWS Signature Version 4.
    #[serde(rename = "aws_sigv4")]
    AwsSigV4(AwsSigV4),
    /// A MAC over parts of each request.
    Hmac(Hmac),
}

/// Where a value stands in a request: exactly one of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Place {
    Header(String),
    Query(String),
    Cookie(String),
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// `{header: X-Api-Key}`, `{query: api_key}` or `{cookie: session}`.
    #[serde(rename = "in")]
    pub place: Place,
    pub key: Secret,
    /// Put before the key, like `Token ` with a space at its end.
    #[serde(default)]
    pub prefix: String,
    /// More of them, by header name: some systems want an application key beside a user's.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bearer {
    pub token: Secret,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    pub username: String,
    pub password: Option<Secret>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    pub username: String,
    pub password: Secret,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum JwtAlgorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// A JWT made here: for `auth.jwt`, as OAuth grant, and as client assertion.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    pub algorithm: JwtAlgorithm,
    /// PEM of a private key (PKCS#8, PKCS#1 or SEC1), or the shared secret for HS*.
    pub key: Secret,
    /// `kid` of the header.
    pub key_id: Option<String>,
    /// More header fields, like `{x5t: …}`.
    #[serde(default)]
    pub header: BTreeMap<String, Json>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `sub`.
    pub subject: Option<String>,
    /// `aud`.
    pub audience: Option<String>,
    /// More claims. `{now}` and `{expires}` in a text stand for the seconds of `iat` and `exp`, `{uuid}` for a new id.
    /// `iat`, `exp` and `jti` are there by themselves; `null` leaves one out.
    #[serde(default)]
    pub claims: BTreeMap<String, Json>,
    /// From `iat` to `exp`, up to 1h. Default 5m.
    pub lifetime: Option<Duration>,
    /// How far `iat` lies in the past, for far ends whose clock is late. Default 0s.
    pub backdate: Option<Duration>,
    /// For `auth.jwt`: what stands before the token. Default `Bearer `.
    pub prefix: Option<String>,
}

/// Two steps: a call yields a token that goes with the others.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Where to log in: a whole address, or a path behind the connection's.
    pub url: String,
    /// Default POST.
    pub method: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What is sent, as JSON or (`form: true`) as form.
    pub body: Option<Json>,
    #[serde(default)]
    pub form: bool,
    /// Sent as Basic with the log-in.
    pub basic: Option<Basic>,
    /// Where the token is: a pick in the body, `header:NAME` or `cookie:NAME`.
    pub token: Secret,
    /// Where its expiry is: a pick. Default: it is renewed when it is refused.
    pub expires: Option<String>,
    pub expires_format: Option<super::ExpiryFormat>,
    /// How long it counts where the answer does not say.
    pub lifetime: Option<Duration>,
    /// How it goes with requests. Default `{header: Authorization}`.
    #[serde(rename = "in")]
    pub place: Option<Place>,
    /// What stands before it. Default `Bearer ` where `in` is not said, else nothing.
    pub prefix: Option<String>,
    /// More values to keep from the answer by name, each a pick: usable as `{NAME}` in the connection's address.
    #[serde(default)]
    pub keep: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum OAuth1Method {
    #[default]
    #[serde(rename = "HMAC-SHA1")]
    HmacSha1,
    #[serde(rename = "HMAC-SHA256")]
    HmacSha256,
    #[serde(rename = "RSA-SHA1")]
    RsaSha1,
    #[serde(rename = "PLAINTEXT")]
    Plaintext,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth1 {
    pub consumer_key: String,
    /// The consumer's secret, or the PEM of its key for RSA-SHA1.
    pub consumer_secret: Secret,
    pub token: Option<Secret>,
    pub token_secret: Option<Secret>,
    #[serde(default)]
    pub method: OAuth1Method,
    pub realm: Option<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsSigV4 {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Option<Secret>,
    pub region: String,
    /// Like `execute-api`, `s3` or `es`.
    pub service: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HashName {
    Sha1,
    #[default]
    Sha256,
    Sha512,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
    Base64url,
}

/// A MAC over parts of each request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hmac {
    #[serde(default)]
    pub algorithm: HashName,
    pub secret: Secret,
    /// How `secret` is written: `base64`, `hex`; default: as text.
    pub secret_encoding: Option<Encoding>,
    /// What is signed: text with `{method}`, `{path}`, `{query}`, `{url}`, `{host}`, `{body}`, `{body_sha256}`,
    /// `{timestamp}` (Unix seconds), `{timestamp_ms}`, `{date}` (RFC 9110), `{nonce}`. `{{` and `}}` stand for braces.
    pub message: String,
    #[serde(default)]
    pub encoding: Encoding,
    /// Headers to send, with the same names and `{signature}`, like `{X-Signature: "t={timestamp},v1={signature}"}`.
    pub headers: BTreeMap<String, String>,
}
