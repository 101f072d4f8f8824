//! What is shown or written down of calls, without what says who we are: values of secrets and of credentials that were
//! seen on their way are replaced wherever they occur, parameters that carry credentials are left out.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, header};
use karez_api::{Json, Secret};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::Checked;
use crate::spec;

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";
/// A shorter value is part of too many words to be replaced wherever it occurs.
const SHORTEST: usize = 4;
/// Query parameters that say who we are, whoever put them there.
const PARAMETERS: [&str; 15] = [
    "access_token",
    "api_key",
    "api-key",
    "apikey",
    "auth_token",
    "client_secret",
    "password",
    "secret",
    "sig",
    "signature",
    "subscription-key",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-api-key",
];
/// Parts of the names of headers that do.
const HEADERS: [&str; 9] =
    ["auth", "cookie", "token", "secret", "api-key", "apikey", "password", "signature", "session"];

/// Knows the secrets of one connection.
pub struct Scrub {
    parameters: Vec<String>,
    /// What is replaced, by what stands for it: the longest first, since one may be part of another.
    secrets: Mutex<Vec<String>>,
}

impl Scrub {
    #[must_use]
    pub fn of(checked: &Checked) -> Self {
        let scrub = Self { parameters: checked.spec().parameters(), secrets: Mutex::default() };
        for secret in checked.secrets() {
            scrub.add(secret.expose());
        }
        let named = |map: &BTreeMap<String, String>| -> Vec<String> {
            map.iter().filter(|(name, _)| is_credential(name)).map(|(_, value)| value.clone()).collect()
        };
        for value in named(&checked.spec().headers).iter().chain(&named(&checked.spec().query)) {
            scrub.add_credential(value);
        }
        scrub
    }

    /// Knows these as well: secrets that stand elsewhere in the file.
    pub(crate) fn and(self, others: &[Secret]) -> Self {
        for secret in others {
            self.add(secret.expose());
        }
        self
    }

    /// Notes the credentials that a request carries: tokens are not known before.
    pub(crate) fn learn(&self, headers: &HeaderMap) {
        for (name, value) in headers {
            let credential = name == header::AUTHORIZATION || name == header::PROXY_AUTHORIZATION || {
                value.is_sensitive() && is_credential(name.as_str())
            };
            if credential && let Ok(text) = value.to_str() {
                self.add_credential(text);
            }
        }
    }

    /// A text with every secret replaced.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = text.to_owned();
        for secret in secrets.iter().filter(|secret| text.contains(secret.as_str())).collect::<Vec<_>>() {
            text = text.replace(secret.as_str(), REDACTED);
        }
        text
    }

    /// Path and query without what carries credentials.
    #[must_use]
    pub fn target(&self, target: &str) -> String {
        match target.split_once('?') {
            None => self.text(target),
            Some((path, query)) => match self.query(query) {
                query if query.is_empty() => self.text(path),
                query => format!("{}?{query}", self.text(path)),
            },
        }
    }

    /// Pairs of names and values, as in [`Scrub::target`].
    #[must_use]
    pub fn query(&self, query: &str) -> String {
        let kept: Vec<&str> = query.split('&').filter(|pair| !self.is_ours(pair)).collect();
        self.text(&kept.join("&"))
    }

    /// A value with every secret in its texts replaced.
    #[must_use]
    pub fn json(&self, value: &Json) -> Json {
        match value {
            Json::String(text) => self.text(text).into(),
            Json::Array(items) => items.iter().map(|item| self.json(item)).collect(),
            Json::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), self.json(value))).collect()
            }
            other => other.clone(),
        }
    }

    fn is_ours(&self, pair: &str) -> bool {
        form_urlencoded::parse(pair.as_bytes()).next().is_some_and(|(name, _)| {
            self.parameters.iter().any(|own| *own == name)
                || PARAMETERS.contains(&name.to_ascii_lowercase().as_str())
        })
    }

    /// All words of it that are long enough to be more than `Bearer`.
    fn add_credential(&self, value: &str) {
        let words = value.split([' ', ',', ';', '"', '=']).filter(|word| word.len() >= 2 * SHORTEST);
        words.for_each(|word| self.add(word));
        self.add(value);
    }

    fn add(&self, secret: &str) {
        let escaped = Json::from(secret).to_string();
        let forms = [
            secret.to_owned(),
            utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
            form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
            escaped[1..escaped.len() - 1].to_owned(),
        ];
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        for form in forms {
            if form.len() >= SHORTEST && !secrets.contains(&form) {
                secrets.push(form);
            }
        }
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }
}

/// Whether a header or setting of this name usually says who we are.
pub(crate) fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    HEADERS.iter().any(|part| name.contains(part)) || PARAMETERS.contains(&name.as_str())
}

/// Whether a header of an answer is for us alone.
#[must_use]
pub fn is_private(name: &HeaderName) -> bool {
    is_credential(name.as_str()) && *name != header::WWW_AUTHENTICATE
}

/// The values in a connection's settings that its schema calls secret.
pub(crate) fn secrets(settings: &Json) -> Vec<Secret> {
    static SCHEMA: LazyLock<Json> = LazyLock::new(|| spec::schema().to_value());
    let mut found = Vec::new();
    collect(&SCHEMA, &SCHEMA, settings, &mut found);
    found
}

/// Of alternatives all are followed: which one is meant makes no difference to what is secret.
fn collect(root: &Json, schema: &Json, value: &Json, found: &mut Vec<Secret>) {
    if let Some(definition) = schema["$ref"].as_str().and_then(|path| root.pointer(path.strip_prefix('#')?)) {
        collect(root, definition, value, found);
    }
    for branches in ["oneOf", "anyOf", "allOf"] {
        for branch in schema[branches].as_array().into_iter().flatten() {
            collect(root, branch, value, found);
        }
    }
    match value {
        Json::String(text) if schema["x-karez-secret"] == true => found.push(Secret::new(text.as_str())),
        Json::Object(fields) => {
            for (name, value) in fields {
                let inner = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
                collect(root, inner, value, found);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| collect(root, &schema["items"], item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scrub(settings: Json) -> Scrub {
        Scrub::of(&crate::check("shop", &settings).unwrap())
    }

    #[test]
    fn every_secret_of_the_settings_is_replaced_wherever_it_stands() {
        for auth in [
            json!({"bearer": {"token": "s3cr3t-Value"}}),
            json!({"basic": {"username": "ada", "password": "s3cr3t-Value"}}),
            json!({"api_key": {"in": {"header": "X-Key"}, "key": "s3cr3t-Value"}}),
            json!({"api_key": {"in": {"header": "X-Key"}, "key": "other", "headers": {"X-App": "s3cr3t-Value"}}}),
            json!({"oauth2": {"grant": "client_credentials", "token_url": "https://login.example.com/token",
                "client_id": "karez", "client_secret": "s3cr3t-Value"}}),
        ] {
            let scrub = scrub(json!({"url": "https://shop.example.com", "auth": auth}));
            assert_eq!(scrub.text("a=s3cr3t-Value;"), "a=[redacted];", "{auth}");
            assert_eq!(scrub.json(&json!({"a": ["s3cr3t-Value", 1]})), json!({"a": ["[redacted]", 1]}));
        }
        let other = scrub(
            json!({"url": "https://shop.example.com", "headers": {"X-Api-Key": "abc123", "Accept": "text/csv"}}),
        );
        assert_eq!(other.text("abc123 text/csv"), "[redacted] text/csv");
    }

    #[test]
    fn parameters_that_say_who_we_are_are_left_out_and_tokens_of_pages_are_not() {
        let auth = json!({"api_key": {"in": {"query": "key"}, "key": "k-1234"}});
        let scrub = scrub(json!({"url": "https://shop.example.com", "auth": auth, "query": {"v": "2"}}));
        assert_eq!(scrub.target("/a?key=k-1234&page=2&v=2&pageToken=x"), "/a?page=2&pageToken=x");
        assert_eq!(scrub.target("/a?access_token=abc&X-Amz-Signature=1"), "/a");
        assert_eq!(scrub.target("/bot k-1234/b"), "/bot [redacted]/b");
    }

    #[test]
    fn a_token_is_known_once_a_request_carried_it() {
        let scrub = scrub(json!({"url": "https://shop.example.com"}));
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Bearer eyJhbGciOi".parse().unwrap());
        headers.insert(header::ACCEPT, "application/json".parse().unwrap());
        scrub.learn(&headers);
        assert_eq!(scrub.text("Bearer eyJhbGciOi application/json"), "[redacted] application/json");
        assert_eq!(scrub.text("you are eyJhbGciOi"), "you are [redacted]");
    }
}
