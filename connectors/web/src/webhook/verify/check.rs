//! What `verify:` says, and what is wrong with it.

use ::http::header;
use karez_api::{Checker, Path, Problem, Secret};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::super::header_name;
use super::mac::{Algorithm, Mac};
use super::{Encoding, Verifier};

/// How a request proves that it comes from the right sender: exactly one of these.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Verify {
    /// A keyed hash of the raw body in a header.
    hmac: Option<HmacSpec>,
    /// A shared token in a header.
    token: Option<TokenSpec>,
    /// A user name and password (RFC 7617).
    basic: Option<BasicSpec>,
    /// No proof at all: anybody who reaches the listener can post.
    none: Option<NoneSpec>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HmacSpec {
    /// `sha1`, `sha256` or `sha512`.
    algorithm: Algorithm,
    /// The header that holds the code.
    header: String,
    /// What stands before the code in its header, like `sha256=`. Default: nothing.
    #[serde(default)]
    prefix: String,
    /// How the code is written. Default: `hex`.
    #[serde(default)]
    encoding: Encoding,
    /// The secret shared with the sender, or a list of them while one is being replaced; any may match.
    secret: Secrets,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TokenSpec {
    /// The header whose whole value is the token. Default: `Authorization`, after `Bearer `.
    header: Option<String>,
    /// The token, or a list of them while one is being replaced; any may match.
    token: Secrets,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BasicSpec {
    /// The user name; it holds no colon.
    username: String,
    /// The password.
    password: Secret,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoneSpec {
    /// Why this webhook may be called by anybody, for whoever reads the file next.
    reason: String,
}

impl Verify {
    pub(in super::super) fn check(self, cx: &Checker<'_>) -> Option<Verifier> {
        let at = Path::root().field("verify");
        match (self.hmac, self.token, self.basic, self.none) {
            (Some(hmac), None, None, None) => hmac.check(cx, &at.field("hmac")),
            (None, Some(token), None, None) => token.check(cx, &at.field("token")),
            (None, None, Some(basic), None) => basic.check(cx, &at.field("basic")),
            (None, None, None, Some(none)) => none.check(cx, &at.field("none")),
            (None, None, None, None) => {
                cx.report(
                    Problem::error("missing-verify", at, "`verify` does not say how")
                        .help("one of hmac, token, basic, or none: {reason: \"…\"}"),
                );
                None
            }
            _ => {
                cx.report(
                    Problem::error("ambiguous-verify", at, "`verify` says more than one way")
                        .help("keep exactly one of hmac, token, basic and none"),
                );
                None
            }
        }
    }
}

impl HmacSpec {
    fn check(self, cx: &Checker<'_>, at: &Path) -> Option<Verifier> {
        let header = header_name(cx, &at.field("header"), &self.header);
        let secrets = self.secret.check(cx, &at.field("secret"))?;
        let macs: Vec<Mac> = secrets.iter().filter_map(|secret| Mac::new(self.algorithm, secret)).collect();
        Some(Verifier::Hmac { header: header?, prefix: self.prefix, encoding: self.encoding, macs })
    }
}

impl TokenSpec {
    fn check(self, cx: &Checker<'_>, at: &Path) -> Option<Verifier> {
        let tokens = self.token.check(cx, &at.field("token"));
        let header = match &self.header {
            Some(name) => header_name(cx, &at.field("header"), name)?,
            None => header::AUTHORIZATION,
        };
        Some(Verifier::Token { header, bearer: self.header.is_none(), tokens: tokens? })
    }
}

impl BasicSpec {
    fn check(self, cx: &Checker<'_>, at: &Path) -> Option<Verifier> {
        if self.username.contains(':') {
            cx.report(Problem::error(
                "bad-username",
                at.field("username"),
                "a user name cannot hold a colon",
            ));
            return None;
        }
        let password = self.password.expose();
        if password.is_empty() {
            cx.report(empty_secret(at.field("password")));
            return None;
        }
        Some(Verifier::Basic { username: self.username.into_bytes(), password: password.into() })
    }
}

impl NoneSpec {
    fn check(self, cx: &Checker<'_>, at: &Path) -> Option<Verifier> {
        if self.reason.trim().is_empty() {
            cx.report(
                Problem::error("missing-reason", at.field("reason"), "`none` needs a reason")
                    .help("say why anybody may post here, like reason: \"behind the office VPN\""),
            );
            return None;
        }
        Some(Verifier::None)
    }
}

fn empty_secret(at: Path) -> Problem {
    Problem::error("empty-secret", at, "an empty secret lets anybody in")
        .help("is the variable that it comes from set?")
}

/// One secret or a list of them.
struct Secrets {
    list: Vec<Secret>,
    written_as_list: bool,
}

impl Secrets {
    fn check(self, cx: &Checker<'_>, at: &Path) -> Option<Vec<Vec<u8>>> {
        if self.list.is_empty() {
            cx.report(empty_secret(at.clone()));
            return None;
        }
        let mut fine = true;
        for (index, _) in self.list.iter().enumerate().filter(|(_, secret)| secret.expose().is_empty()) {
            fine = false;
            cx.report(empty_secret(if self.written_as_list { at.index(index) } else { at.clone() }));
        }
        fine.then(|| self.list.iter().map(|secret| secret.expose().as_bytes().to_vec()).collect())
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Secrets;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a secret or a list of secrets")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Secrets, E> {
                Ok(Secrets { list: vec![Secret::new(text)], written_as_list: false })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Secrets, A::Error> {
                let mut list = Vec::new();
                while let Some(secret) = items.next_element()? {
                    list.push(secret);
                }
                Ok(Secrets { list, written_as_list: true })
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for Secrets {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secrets".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array"],
            "items": {"type": "string", "x-karez-secret": true},
            "minItems": 1,
            "x-karez-secret": true
        })
    }
}
