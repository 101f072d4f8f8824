//! What a file says of OAuth 2.0, its oddities included.

use std::collections::BTreeMap;

use karez_api::{Duration, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Jwt, Place};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// A human logs in once: `karez connect NAME`.
    #[default]
    AuthorizationCode,
    /// The same for machines without a browser (RFC 8628): `karez connect NAME` shows a code.
    DeviceCode,
    ClientCredentials,
    /// A refresh token that was got elsewhere: `refresh_token`.
    RefreshToken,
    /// A JWT signed by us is the grant (RFC 7523): `assertion`.
    JwtBearer,
    /// A SAML 2.0 assertion is the grant (RFC 7522): `saml`.
    SamlBearer,
    /// One token for another (RFC 8693): `exchange`.
    TokenExchange,
}

/// How the client says who it is at the token endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// `client_id` and `client_secret` in the body.
    #[default]
    Body,
    /// `Authorization: Basic`, both parts form-encoded first (RFC 6749 §2.3.1).
    Basic,
    /// The same without form-encoding, as many servers want it.
    BasicRaw,
    /// A JWT signed with `client_key` (RFC 7523).
    PrivateKeyJwt,
    /// A JWT signed with `client_secret`.
    ClientSecretJwt,
    /// The certificate of `tls` (RFC 8705).
    Tls,
    /// A public client: `client_id` alone.
    None,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Pkce {
    #[default]
    S256,
    #[serde(rename = "off")]
    Off,
}

/// Pushed authorization requests (RFC 9126).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Par {
    /// Where the server's metadata asks for it.
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormat {
    #[default]
    Form,
    Json,
    Query,
}

/// How an expiry is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpiryFormat {
    /// Seconds from now.
    #[default]
    Seconds,
    /// Milliseconds from now.
    Milliseconds,
    EpochSeconds,
    EpochMilliseconds,
    /// `hours:minutes:seconds` from now.
    Clock,
    /// A date and time (RFC 3339).
    Timestamp,
}

/// OAuth 2.0 and OpenID Connect.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth2 {
    #[serde(default)]
    pub grant: Grant,
    /// The authorization server: its metadata (OpenID Connect Discovery, RFC 8414) fills in addresses that are not said.
    pub issuer: Option<String>,
    pub authorization_url: Option<String>,
    pub token_url: Option<String>,
    /// Where tokens are refreshed, if elsewhere.
    pub refresh_url: Option<String>,
    /// RFC 7009: called when the connection's log-in is removed.
    pub revocation_url: Option<String>,
    /// RFC 7662: asked for the expiry of tokens that come without one.
    pub introspection_url: Option<String>,
    /// RFC 8628.
    pub device_authorization_url: Option<String>,
    /// RFC 9126.
    pub pushed_authorization_url: Option<String>,
    pub jwks_url: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<Secret>,
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// For `client_auth: private_key_jwt`. Issuer, subject and audience are filled in where not said.
    pub client_key: Option<Jwt>,
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Default: a space.
    pub scope_separator: Option<String>,
    #[serde(default)]
    pub pkce: Pkce,
    #[serde(default)]
    pub par: Par,
    /// Tokens are bound to a key of ours (RFC 9449). Default false.
    #[serde(default)]
    pub dpop: bool,
    /// `resource` (RFC 8707) of every request for a token.
    #[serde(default)]
    pub resource: Vec<String>,
    /// `audience`, as some servers want it.
    pub audience: Option<String>,
    /// Where the log-in comes back to. Default: `/oauth/callback` of the ingress, or a port of this machine.
    pub redirect_url: Option<String>,
    /// The code's parameter in the callback, where this server has another word for it. Default `code`.
    pub code_param: Option<String>,
    /// More parameters of the authorization request, like `{access_type: offline}`.
    #[serde(default)]
    pub authorization_params: BTreeMap<String, String>,
    /// How tokens are asked for.
    #[serde(default)]
    pub token_request: TokenRequest,
    /// What is different where they are refreshed: its parameters are sent in addition.
    pub refresh_params: Option<BTreeMap<String, String>>,
    /// Names that this server has for parameters, like `{client_id: client_key}`. An empty name leaves one out.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Where things stand in the token answer.
    #[serde(default)]
    pub response: TokenPaths,
    #[serde(default)]
    pub expiry: ExpiryFormat,
    /// How long tokens count where the answer does not say. Default: 55m, or until they are refused with a refresh token.
    pub lifetime: Option<Duration>,
    /// Values to keep, by name: `callback:NAME` (a query parameter of the callback) or a pick in the token answer.
    /// They are usable as `{NAME}` in the connection's `url` and headers, and read again with every refresh.
    #[serde(default)]
    pub keep: BTreeMap<String, String>,
    /// How the token goes with requests. Default `{header: Authorization}`.
    #[serde(rename = "in")]
    pub place: Option<Place>,
    /// What stands before it. Default `Bearer ` (`DPoP ` with `dpop`).
    pub prefix: Option<String>,
    /// For `grant: refresh_token`: the first one. Later ones are kept in the vault.
    pub refresh_token: Option<Secret>,
    /// For `grant: jwt_bearer`. Audience is the token address where not said.
    pub assertion: Option<Assertion>,
    pub saml: Option<SamlAssertion>,
    pub exchange: Option<Exchange>,
    /// How an id token is judged, where one comes.
    #[serde(default)]
    pub id_token: IdToken,
    /// Renewed when unused for this long, so that refresh tokens that die of idleness stay alive. Default: never.
    pub keep_alive: Option<Duration>,
}

/// The grant that we sign. With `installation_url` the JWT is exchanged there as bearer (GitHub Apps).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    pub jwt: Jwt,
    /// `POST` there with the JWT as bearer yields the token, in place of the token address.
    pub installation_url: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Default POST.
    pub method: Option<String>,
    #[serde(default)]
    pub body: BodyFormat,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// `grant_type`, where this server has another word for it.
    pub grant_type: Option<String>,
}

/// Picks in the token answer; each is tried before the standard name.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenPaths {
    pub access_token: Option<String>,
    pub refresh_token: Option<String>,
    pub expires: Option<String>,
    pub refresh_expires: Option<String>,
    pub scope: Option<String>,
    pub id_token: Option<String>,
    /// Yields something where the answer is an error in spite of its status 200.
    pub error: Option<String>,
    pub error_description: Option<String>,
}

/// A SAML 2.0 assertion: from a file, or built and signed here.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SamlAssertion {
    /// A signed assertion (XML), read before each use.
    pub file: Option<String>,
    pub issuer: Option<String>,
    /// The subject's NameID.
    pub subject: Option<String>,
    /// Default `urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified`.
    pub name_id_format: Option<String>,
    pub audience: Option<String>,
    /// Default: the token address.
    pub recipient: Option<String>,
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// PEM of an RSA private key.
    pub key: Option<Secret>,
    /// PEM of its certificate.
    pub certificate: Option<String>,
    /// Default 5m.
    pub lifetime: Option<Duration>,
}

/// RFC 8693.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The token itself, or `subject_token_file`, read before each use.
    pub subject_token: Option<Secret>,
    pub subject_token_file: Option<String>,
    /// Default `urn:ietf:params:oauth:token-type:jwt`.
    pub subject_token_type: Option<String>,
    pub actor_token: Option<Secret>,
    pub actor_token_type: Option<String>,
    pub requested_token_type: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdToken {
    /// Default RS256.
    #[serde(default)]
    pub algorithms: Vec<super::JwtAlgorithm>,
    /// Audiences beside the client id that are trusted.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The last log-in must be this fresh.
    pub max_age: Option<Duration>,
    /// The issuer of the token where it is not the configured one; `{tenantid}` stands for its `tid` claim.
    pub issuer: Option<String>,
}
