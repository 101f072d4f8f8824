//! Ways to log in: which one a file means, and what it has to say for it.

use karez_api::{Json, JsonMap};

use super::merge::at;
use super::{Provider, Way};

/// What every `auth` of a kind needs.
const NEEDS: &[(&str, &[(&str, &str)])] = &[
    ("api_key", &[("key", "the key")]),
    ("bearer", &[("token", "the token")]),
    ("basic", &[("username", "the user"), ("password", "the password")]),
    ("digest", &[("username", "the user"), ("password", "the password")]),
    ("jwt", &[("key", "the PEM of the private key, or the shared secret")]),
    (
        "oauth1",
        &[
            ("consumer_key", "the consumer key"),
            ("consumer_secret", "the consumer secret"),
            ("token", "the access token"),
            ("token_secret", "the secret of the access token"),
        ],
    ),
    (
        "aws_sigv4",
        &[
            ("access_key_id", "the id of the access key"),
            ("secret_access_key", "the secret of the access key"),
            ("region", "the region, like eu-central-1"),
            ("service", "the service's name in signatures, like execute-api"),
        ],
    ),
    ("hmac", &[("secret", "the secret that requests are signed with")]),
];

/// Grants that need nothing of the client but what the provider's file says.
const WITHOUT_CLIENT: &[&str] = &["jwt_bearer", "saml_bearer", "token_exchange"];

/// The kind of an `auth`, and what it says: it is a map with one key.
pub(super) fn kind_of(auth: &JsonMap) -> Option<(&str, &JsonMap)> {
    let mut fields = auth.iter();
    match (fields.next(), fields.next()) {
        (Some((kind, said)), None) => Some((kind, said.as_object()?)),
        _ => None,
    }
}

fn text<'a>(said: &'a JsonMap, field: &str) -> Option<&'a str> {
    said.get(field).and_then(Json::as_str)
}

impl Way {
    /// Like `oauth2` or `bearer`.
    #[must_use]
    pub fn kind(&self) -> &str {
        kind_of(&self.auth).map(|(kind, _)| kind).unwrap_or_default()
    }

    /// Of `oauth2`: the grant.
    #[must_use]
    pub fn grant(&self) -> Option<&str> {
        let grant = || text(self.said()?, "grant").or(Some("authorization_code"));
        (self.kind() == "oauth2").then(grant).flatten()
    }

    pub(super) fn said(&self) -> Option<&JsonMap> {
        kind_of(&self.auth).map(|(_, said)| said)
    }

    /// What a file has to say that says `said` of this kind, with words for it: all that this provider leaves open.
    pub(super) fn needs(&self, said: &JsonMap) -> Vec<(&str, &str)> {
        let of_kind = NEEDS.iter().find(|(kind, _)| *kind == self.kind()).map(|(_, needs)| *needs);
        let mut needs: Vec<(&str, &str)> = of_kind.unwrap_or_default().to_vec();
        needs.extend(self.needs_of_the_client(said));
        needs.retain(|(field, _)| !self.needs.contains_key(*field));
        needs.extend(self.needs.iter().map(|(field, about)| (&**field, &**about)));
        needs.retain(|(field, _)| self.said().is_none_or(|own| at(own, field).is_none()));
        needs
    }

    fn needs_of_the_client(&self, said: &JsonMap) -> Vec<(&'static str, &'static str)> {
        if self.kind() != "oauth2" || self.grant().is_some_and(|grant| WITHOUT_CLIENT.contains(&grant)) {
            return Vec::new();
        }
        let id = ("client_id", "the client's id");
        match text(said, "client_auth").unwrap_or("body") {
            "none" | "tls" => vec![id],
            "private_key_jwt" => vec![id, ("client_key", "the key that assertions are signed with")],
            _ => vec![id, ("client_secret", "the client's secret")],
        }
    }
}

impl Provider {
    /// The way that a file means by what it says of `auth`: the one of its kind and grant, else the first of its kind,
    /// else none of them. A file that says nothing means the first.
    pub(super) fn way(&self, auth: Option<&Json>) -> Option<&Way> {
        let Some(auth) = auth else { return self.ways.first() };
        let (kind, said) = kind_of(auth.as_object()?)?;
        let of_kind = || self.ways.iter().filter(|way| way.kind() == kind);
        let grant = text(said, "grant");
        let meant = grant.and_then(|grant| of_kind().find(|way| way.grant() == Some(grant)));
        meant.or_else(|| of_kind().next())
    }

    /// Whether a file means `way` where it says nothing of the grant.
    pub(super) fn is_first_of_its_kind(&self, way: &Way) -> bool {
        self.ways
            .iter()
            .find(|other| other.kind() == way.kind())
            .is_some_and(|first| std::ptr::eq(first, way))
    }
}
