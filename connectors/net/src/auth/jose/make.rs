//! A token as a file describes it.

use std::time::Duration;

use karez_api::{Fault, Json, JsonMap, Millis};
use uuid::Uuid;

use super::SigningKey;
use crate::spec::Jwt;

/// How long a token counts where the file does not say.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);

/// What stands in a token where the file does not say: each use of tokens knows it better.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fallback<'a> {
    pub(crate) issuer: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) audience: Option<&'a str>,
}

/// What `{…}` stands for in a token.
struct Given {
    issued: u64,
    expires: u64,
}

impl Jwt {
    /// From `iat` to `exp`.
    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime.map_or(LIFETIME, |lifetime| lifetime.0)
    }

    /// How far `iat` lies in the past.
    pub(crate) fn backdate(&self) -> Duration {
        self.backdate.map_or(Duration::ZERO, |backdate| backdate.0)
    }
}

/// A new token, signed; each has its own `jti`.
///
/// # Errors
/// There is no randomness to be had.
pub(crate) fn make(
    jwt: &Jwt,
    key: &SigningKey,
    fallback: Fallback<'_>,
    now: Millis,
) -> Result<String, Fault> {
    let issued = (now.0 / 1_000).saturating_sub(jwt.backdate().as_secs());
    let given = Given { issued, expires: issued + jwt.lifetime().as_secs() };
    let mut header = JsonMap::new();
    if let Some(id) = &jwt.key_id {
        header.insert("kid".into(), id.as_str().into());
    }
    header.extend(jwt.header.iter().map(|(name, value)| (name.clone(), value.clone())));
    key.sign(header, claims(jwt, fallback, &given))
}

fn claims(jwt: &Jwt, fallback: Fallback<'_>, given: &Given) -> JsonMap {
    let mut claims = JsonMap::new();
    let named = [
        ("iss", jwt.issuer.as_deref().or(fallback.issuer)),
        ("sub", jwt.subject.as_deref().or(fallback.subject)),
        ("aud", jwt.audience.as_deref().or(fallback.audience)),
    ];
    claims.extend(named.into_iter().filter_map(|(name, value)| Some((name.into(), value?.into()))));
    claims.insert("iat".into(), given.issued.into());
    claims.insert("exp".into(), given.expires.into());
    claims.insert("jti".into(), Uuid::new_v4().to_string().into());
    for (name, value) in &jwt.claims {
        match value {
            Json::Null => claims.shift_remove(name),
            value => claims.insert(name.clone(), given.fill(value)),
        };
    }
    claims
}

impl Given {
    fn fill(&self, value: &Json) -> Json {
        match value {
            Json::String(text) => self.fill_text(text),
            Json::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Json::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), self.fill(value))).collect()
            }
            other => other.clone(),
        }
    }

    /// A number where the text is nothing else.
    fn fill_text(&self, text: &str) -> Json {
        match text {
            "{now}" => self.issued.into(),
            "{expires}" => self.expires.into(),
            _ => {
                let text = text.replace("{now}", &self.issued.to_string());
                let text = text.replace("{expires}", &self.expires.to_string());
                match text.contains("{uuid}") {
                    true => text.replace("{uuid}", &Uuid::new_v4().to_string()).into(),
                    false => text.into(),
                }
            }
        }
    }
}
