//! Tokens as they are kept: one entry of the vault for each connection. In memory they are [`Secret`]; as text they
//! exist only on their way into the vault and out of it.

use std::collections::BTreeMap;

use karez_api::{Millis, Secret};
use serde::{Deserialize, Serialize, Serializer};

use crate::jose::{BASE64URL, Hash};
use base64::Engine as _;

/// What the vault holds of a connection.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tokens: Option<Tokens>,
    /// PEM of the key that the tokens are bound to (RFC 9449).
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    pub(crate) dpop_key: Option<Secret>,
    /// The hash of the file's refresh token that all of this began with: another one begins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<String>,
    /// A refresh that was begun, and whose answer is not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) intent: Option<Intent>,
    /// Why only a human helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) needs_login: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tokens {
    /// Missing where only a refresh token is known.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    pub(crate) access: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    pub(crate) refresh: Option<Secret>,
    /// When they were asked for, on our clock.
    #[serde(with = "millis")]
    pub(crate) obtained_at: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "some_millis")]
    pub(crate) expires_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "some_millis")]
    pub(crate) refresh_expires_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    /// Who logged in, where an id token said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Subject>,
    /// Values from the callback and the answers, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) kept: BTreeMap<String, String>,
}

/// The account, as an id token names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subject {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) audience: Vec<String>,
}

/// Written before a refresh token is spent: who spends it, and until when others leave it alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) attempt: String,
    /// The process that began it.
    pub(crate) run: String,
    /// The hash of the refresh token that is spent.
    pub(crate) of: String,
    #[serde(with = "millis")]
    pub(crate) until: Millis,
}

impl Entry {
    /// # Errors
    /// It was written by something else.
    pub(crate) fn read(text: &Secret) -> Result<Self, &'static str> {
        serde_json::from_str(text.expose()).map_err(|_| "what the vault holds of it cannot be read")
    }

    pub(crate) fn written(&self) -> Secret {
        Secret::new(serde_json::to_string(self).unwrap_or_default())
    }

    pub(crate) fn refresh_token(&self) -> Option<&Secret> {
        self.tokens.as_ref()?.refresh.as_ref()
    }
}

/// What a secret can be known by without being known.
pub(crate) fn hash(secret: &Secret) -> String {
    BASE64URL.encode(Hash::Sha256.digest(secret.expose().as_bytes()))
}

#[expect(clippy::ref_option, reason = "serde's shape")]
fn exposed<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(serializer)
}

mod millis {
    use karez_api::Millis;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(at.0)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
        u64::deserialize(deserializer).map(Millis)
    }
}

mod some_millis {
    use karez_api::Millis;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde's shape")]
    pub(super) fn serialize<S: Serializer>(at: &Option<Millis>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(|at| at.0).serialize(serializer)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Millis>, D::Error> {
        Option::<u64>::deserialize(deserializer).map(|at| at.map(Millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_printed_holds_no_secret() {
        let tokens = Tokens {
            access: Some(Secret::new("access-canary")),
            refresh: Some(Secret::new("refresh-canary")),
            obtained_at: Millis(1),
            expires_at: Some(Millis(2)),
            refresh_expires_at: None,
            scope: Some("a b".into()),
            subject: None,
            kept: [("realm".to_owned(), "1".to_owned())].into(),
        };
        let intent = Intent {
            attempt: "a".into(),
            run: "r".into(),
            of: hash(&Secret::new("refresh-canary")),
            until: Millis(3),
        };
        let entry = Entry {
            tokens: Some(tokens),
            dpop_key: Some(Secret::new("key-canary")),
            intent: Some(intent),
            ..Entry::default()
        };
        let read = Entry::read(&entry.written()).unwrap();
        assert_eq!(read.tokens, entry.tokens);
        assert_eq!(read.intent, entry.intent);
        assert_eq!(read.dpop_key.unwrap().expose(), "key-canary");
        assert!(!format!("{entry:?}").contains("canary"));
        assert!(Entry::read(&Secret::new("7")).is_err());
    }
}
