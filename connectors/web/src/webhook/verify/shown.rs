//! A scheme in words.

use std::time::Duration;

use super::check::Needs;
use super::jwt::JwtAlgorithm;
use super::mac::Algorithm;
use super::message::Message;
use super::path::BodyPath;
use super::place::Encoding;
use super::secrets::SecretEncoding;
use super::spec::{
    CodeSpec, JwtSpec, KeySpec, MacSpec, MessageSignatureSpec, TimestampSpec, TokenSpec, Verify,
};
use super::texts::Texts;
use super::time::Unit;

/// What a scheme without its keys says of itself.
#[derive(Default)]
pub(in super::super) struct Shown {
    pub(in super::super) scheme: String,
    pub(in super::super) proof: String,
    pub(in super::super) signed: Option<String>,
    pub(in super::super) timestamp: Option<String>,
    /// How old it may be, and how far ahead of our clock.
    pub(in super::super) window: Option<(Duration, Duration)>,
    /// `secret` or `key`; nothing where the sender publishes its keys.
    pub(in super::super) takes: Option<&'static str>,
    pub(in super::super) key: String,
    pub(in super::super) signs_address: bool,
}

impl Verify {
    pub(in super::super) fn shown(&self) -> Shown {
        let keyed = [(&self.ed25519, "Ed25519"), (&self.ecdsa, "ECDSA-P256-SHA256"), (&self.rsa, "RSA")];
        let keyed = keyed.into_iter().find_map(|(spec, name)| Some((spec.as_ref()?, name)));
        let shown = match (&self.hmac, &self.hash, keyed) {
            (Some(spec), ..) => spec.shown(format!("HMAC-{}", name(spec.with.algorithm)), "{body}"),
            (_, Some(spec), _) => spec.shown(name(spec.with.algorithm).into(), "{secret}{body}"),
            (.., Some((spec, scheme))) => spec.shown(scheme),
            _ => match (&self.token, &self.jwt, &self.message_signature) {
                (Some(spec), ..) => spec.shown(),
                (_, Some(spec), _) => spec.shown(),
                (.., Some(spec)) => spec.shown(),
                _ if self.basic.is_some() => {
                    Shown { scheme: "basic".into(), proof: header("Authorization"), ..Shown::default() }
                }
                _ => Shown { scheme: "none".into(), ..Shown::default() },
            },
        };
        let message = shown.signed.as_deref().and_then(|signed| Message::parse(signed).ok());
        let signs_address = shown.signs_address || message.is_some_and(|message| message.names_url());
        let needs = self.needs();
        let key = match needs {
            Needs::Nothing => "published by the sender, and fetched".to_owned(),
            _ => shown.key,
        };
        Shown { signs_address, takes: needs.setting(), key, ..shown }
    }

    /// The list whose items are signed one by one, by a field of its first.
    pub(in super::super) fn lists(&self) -> Vec<BodyPath> {
        let macs = self.mac().and_then(|spec| spec.code.each.as_ref());
        let each = macs.into_iter().chain(self.token.iter().filter_map(|spec| spec.each.as_ref()));
        each.filter_map(|list| BodyPath::parse(&format!("{list}.0.id")).ok()).collect()
    }

    pub(in super::super) fn signs_address(&self) -> bool {
        self.shown().signs_address
    }
}

impl CodeSpec {
    fn shown(&self, scheme: String, encoding: Encoding, message: &str, key: String) -> Shown {
        let place = place(&self.header, &self.query, &self.body);
        let encoding = self.encoding.unwrap_or(encoding);
        Shown {
            scheme,
            proof: proof(place, &self.prefix, self.separator, encoding, self.each.as_deref()),
            signed: Some(self.message.clone().unwrap_or_else(|| message.into())),
            timestamp: self.timestamp.as_ref().map(TimestampSpec::shown),
            window: self.timestamp.as_ref().map(TimestampSpec::window),
            key,
            ..Shown::default()
        }
    }
}

impl MacSpec {
    fn shown(&self, scheme: String, message: &str) -> Shown {
        let secret = match self.with.secret_encoding {
            SecretEncoding::Utf8 => "the text as it is",
            SecretEncoding::Base64 => "base64",
            SecretEncoding::Hex => "hex",
        };
        self.code.shown(scheme, Encoding::Hex, message, behind(secret, &self.with.secret_prefix))
    }
}

impl KeySpec {
    fn shown(&self, scheme: &str) -> Shown {
        let scheme = match self.with.algorithm {
            Some(algorithm) => format!("{scheme}-{}", name(algorithm)),
            None if scheme == "RSA" => "RSA-SHA256".into(),
            None => scheme.to_owned(),
        };
        self.code.shown(scheme, Encoding::Base64, "{body}", behind(PUBLIC, &self.with.key_prefix))
    }
}

impl MessageSignatureSpec {
    fn shown(&self) -> Shown {
        let past = self.tolerance.0;
        Shown {
            scheme: format!("RFC 9421 {}", self.algorithm.name()),
            proof: header("Signature"),
            timestamp: Some("created, in seconds".into()),
            window: Some((past, self.future.map_or(past, |future| future.0))),
            key: PUBLIC.into(),
            signs_address: true,
            ..Shown::default()
        }
    }
}

/// How a public key may be written.
const PUBLIC: &str = "PEM, base64 or hex";

fn behind(key: &str, prefix: &str) -> String {
    match prefix {
        "" => key.to_owned(),
        prefix => format!("{key}, behind {prefix} where it is there"),
    }
}

impl TokenSpec {
    fn shown(&self) -> Shown {
        let proof = match (&self.header, &self.query, &self.body) {
            (Some(name), ..) => header(name),
            (_, Some(name), _) => format!("query parameter {name}"),
            (.., Some(path)) => format!("field {path}"),
            _ => "header Authorization, behind Bearer".into(),
        };
        let of_each = self.each.as_ref().map_or(String::new(), |list| format!(" of each of {list}"));
        Shown {
            scheme: "token".into(),
            proof: format!("{proof}{of_each}"),
            key: "the text as it is".into(),
            ..Shown::default()
        }
    }
}

impl JwtSpec {
    fn shown(&self) -> Shown {
        let shared = matches!(self.algorithm, JwtAlgorithm::Hs256 | JwtAlgorithm::Hs512);
        Shown {
            scheme: format!("JWT-{}", self.algorithm.name()),
            proof: self
                .header
                .as_deref()
                .map_or_else(|| "header Authorization, behind Bearer".into(), header),
            signed: self
                .body_claim
                .as_ref()
                .map(|claim| format!("the hash of the body, in the claim {claim}")),
            timestamp: Some("the claims exp, nbf and iat".into()),
            window: self.max_age.map(|age| (age.0, self.leeway.0)),
            key: if shared { "the text as it is" } else { PUBLIC }.into(),
            ..Shown::default()
        }
    }
}

impl TimestampSpec {
    fn shown(&self) -> String {
        let unit = match self.unit {
            Unit::Seconds => "seconds",
            Unit::Milliseconds => "milliseconds",
            Unit::Rfc3339 => "RFC 3339",
        };
        let place = match &self.label {
            Some(label) => format!("behind {label} in the same list"),
            None => place(&self.header, &self.query, &self.body),
        };
        format!("{place}, in {unit}")
    }

    fn window(&self) -> (Duration, Duration) {
        (self.tolerance.0, self.future.map_or(self.tolerance.0, |future| future.0))
    }
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Sha1 => "SHA1",
        Algorithm::Sha256 => "SHA256",
        Algorithm::Sha512 => "SHA512",
    }
}

fn header(name: &str) -> String {
    format!("header {name}")
}

fn place(headers: &Option<Texts>, query: &Option<String>, body: &Option<String>) -> String {
    match (headers, query, body) {
        (Some(names), ..) => header(&names.list.join(" or ")),
        (_, Some(name), _) => format!("query parameter {name}"),
        (.., Some(path)) => format!("field {path}"),
        _ => String::new(),
    }
}

fn proof(
    place: String,
    prefix: &str,
    separator: Option<char>,
    encoding: Encoding,
    each: Option<&str>,
) -> String {
    let mut text = place;
    if let Some(list) = each {
        text += &format!(" of each of {list}");
    }
    if !prefix.is_empty() {
        text += &format!(", behind {prefix}");
    }
    match separator {
        Some(' ') => text += " in a list with spaces between",
        Some(separator) => text += &format!(" in a list with {separator} between"),
        None => {}
    }
    text + match encoding {
        Encoding::Hex => ", in hex",
        Encoding::Base64 => ", in base64",
        Encoding::Base64url => ", in base64url",
    }
}
