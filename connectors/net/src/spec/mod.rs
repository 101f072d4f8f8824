//! What a file says of a connection: data only. What is wrong with it, and what it does, is elsewhere.

mod auth;
mod limits;
mod oauth2;

use std::collections::BTreeMap;

use karez_api::{Duration, Json, Network, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

pub use auth::{
    ApiKey, AuthSpec, AwsSigV4, Basic, Bearer, Digest, Encoding, HashName, Hmac, Jwt, JwtAlgorithm, OAuth1,
    OAuth1Method, Place, Session,
};
pub use limits::{Adaptive, CacheSpec, CircuitSpec, Concurrency, Limits, Quota};
pub use oauth2::{
    Assertion, BodyFormat, ClientAuth, Exchange, ExpiryFormat, Grant, IdToken, OAuth2, Par, Pkce,
    SamlAssertion, TokenPaths, TokenRequest,
};

/// A named remote system: where it is, who we are there, and its manners.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSpec {
    /// A provider of the catalogue (`karez connections providers`): it fills in whatever is not said here.
    pub provider: Option<String>,
    /// What the provider's addresses need, like `{subdomain: acme}`. Names in `{…}` in any address stand for these,
    /// and for values kept from the log-in (`auth.oauth2.keep`).
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// What every path is put behind, like `https://api.example.com/v2`.
    pub url: Option<String>,
    /// Sent with every request; a component's own header of the same name wins.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Query parameters of every request.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Who we are there. Default: nobody.
    pub auth: Option<AuthSpec>,
    /// Certificates: whom to trust, and who we are.
    pub tls: Option<TlsSpec>,
    /// An HTTP proxy for all requests, like `http://proxy.example.com:3128`. Those of the environment are not used.
    /// It resolves names itself, so which addresses they stand for is for it to judge.
    pub proxy: Option<Secret>,
    /// Longest time for a whole call, waiting for its turn and retries included. Default 30s.
    pub timeout: Option<Duration>,
    /// Longest time to connect. Default 10s.
    pub connect_timeout: Option<Duration>,
    /// Networks that are not public and may be called all the same, like `10.0.0.0/8`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub allow_private: Vec<String>,
    /// Whether GET and HEAD follow redirects, at most 5 for one call, never from https to http, and without anything
    /// that says who we are to another origin. Default false: a redirect is an error that says where it points.
    #[serde(default)]
    pub follow_redirects: bool,
    /// How much at once, how often, how long without answer.
    #[serde(default)]
    pub limits: Limits,
    /// Answers that may be used again. Default: none.
    pub cache: Option<CacheSpec>,
    /// Most bytes of an answer. Default 32MiB.
    pub max_response: Option<karez_api::ByteSize>,
    /// Errors that this system writes in its own way; the first that fits counts.
    #[serde(default)]
    pub errors: Vec<ErrorRule>,
    /// A harmless request that shows whether the connection works (`karez connections test NAME`).
    pub probe: Option<Probe>,
}

/// Certificates of a connection. Each is PEM text, usually `${file:…}` or `${secret:…}`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSpec {
    /// Certificates to trust in addition to the system's.
    pub ca: Option<String>,
    /// Trust only `ca`. Default false.
    #[serde(default)]
    pub only_ca: bool,
    /// Our certificate, with its chain.
    pub certificate: Option<String>,
    /// The key of `certificate`.
    pub key: Option<Secret>,
}

impl TlsSpec {
    /// The same for somebody to whom we do not say who we are.
    #[must_use]
    pub(crate) fn without_certificate(&self) -> Self {
        Self { certificate: None, key: None, ..self.clone() }
    }
}

/// An answer that means something else than its status says.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorRule {
    /// Statuses that it is about, like `[200]`. Default: any.
    #[serde(default)]
    pub status: Vec<u16>,
    /// A header that must be there, like `X-Error: expired`; a value matches whole.
    #[serde(default)]
    pub header: BTreeMap<String, String>,
    /// A pick (JSONPath) in the answer's body that must yield something, like `$.errors[0].code`.
    pub body: Option<String>,
    /// What the pick must yield: one of these. Default: anything but null and false.
    #[serde(default)]
    pub is: Vec<Json>,
    /// What it is.
    pub means: Meaning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// The credentials are not accepted (any more): they are renewed once and the request is sent again.
    Auth,
    /// Too many requests: wait.
    RateLimit,
    /// What was sent will never be accepted.
    Validation,
    /// The far end failed: try again.
    Service,
    /// It is fine after all.
    Success,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Default GET.
    pub method: Option<String>,
    /// Behind the connection's address.
    pub path: String,
    /// Sent as JSON, for systems that have one address for everything (GraphQL). Default: nothing is sent.
    pub body: Option<Json>,
}

impl ConnectionSpec {
    /// Names of query parameters that go with every request; some carry credentials.
    #[must_use]
    pub fn parameters(&self) -> Vec<String> {
        let key = match &self.auth {
            Some(AuthSpec::ApiKey(ApiKey { place: Place::Query(name), .. })) => Some(name.clone()),
            _ => None,
        };
        self.query.keys().cloned().chain(key).chain(["access_token".to_owned()]).collect()
    }
}

/// Networks as they are written; what cannot be read is told by its text.
///
/// # Errors
/// The first text that is no network.
pub fn networks(texts: &[String]) -> Result<Vec<Network>, String> {
    texts.iter().map(|text| text.parse()).collect()
}

/// What may stand there. Nothing is required: a provider may fill it in, and what is missing then is told by
/// [`crate::check`].
#[must_use]
pub fn schema() -> schemars::Schema {
    let mut schema = schemars::schema_for!(ConnectionSpec);
    if let Some(root) = schema.as_object_mut() {
        root.values_mut().for_each(|value| require_nothing(value, false));
        root.remove("required");
    }
    schema
}

/// The name of an alternative stays: by it the others are told apart.
fn require_nothing(schema: &mut Json, alternative: bool) {
    match schema {
        Json::Object(fields) => {
            if !alternative {
                fields.remove("required");
            }
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("oneOf" | "anyOf", Json::Array(branches)) => {
                        branches.iter_mut().for_each(|branch| require_nothing(branch, true));
                    }
                    (_, value) => require_nothing(value, false),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| require_nothing(item, false)),
        _ => {}
    }
}
