//! Suspicions about the code itself: with what it is made, how it is written, behind which words.

use super::super::mac::Algorithm;
use super::super::place::Encoding;
use super::super::spec::{MacSpec, Verify};
use super::super::texts::Texts;
use super::{Case, Suspicion};

const ALGORITHMS: [(Algorithm, &str); 3] =
    [(Algorithm::Sha256, "sha256"), (Algorithm::Sha1, "sha1"), (Algorithm::Sha512, "sha512")];

const ENCODINGS: [(Encoding, &str); 3] =
    [(Encoding::Hex, "hex"), (Encoding::Base64, "base64"), (Encoding::Base64url, "base64url")];

/// What senders write before a code.
const PREFIXES: [&str; 9] =
    ["", "sha256=", "sha1=", "sha512=", "v1=", "v0=", "v1,", "hmac-sha256=", "HMAC-SHA256="];

impl Case {
    pub(super) fn written_otherwise(&self) -> impl Iterator<Item = Suspicion> {
        let mut found = Vec::new();
        if let Some(spec) = self.scheme.mac() {
            for prefix in prefixes(&spec.code.prefix) {
                for (algorithm, _) in ALGORITHMS {
                    found.extend(
                        ENCODINGS.map(|(encoding, _)| self.mac_as(spec, prefix, algorithm, encoding)),
                    );
                }
            }
        }
        if let Some(spec) = self.scheme.signature() {
            let own = spec.code.encoding.unwrap_or(Encoding::Base64);
            for (encoding, name) in ENCODINGS.into_iter().filter(|(encoding, _)| *encoding != own) {
                let mut scheme = self.scheme.clone();
                if let Some(code) = scheme.code() {
                    code.encoding = Some(encoding);
                }
                let hint = format!("it fits with encoding: {name}");
                found.push(Suspicion { hint, scheme: Some(scheme), ..Suspicion::default() });
            }
        }
        found.into_iter().chain(self.behind_bearer())
    }

    fn mac_as(&self, own: &MacSpec, prefix: &str, algorithm: Algorithm, encoding: Encoding) -> Suspicion {
        let mut scheme = self.scheme.clone();
        for spec in [&mut scheme.hmac, &mut scheme.hash].into_iter().flatten() {
            spec.code.prefix = prefix.into();
            spec.code.encoding = Some(encoding);
            spec.with.algorithm = algorithm;
        }
        let (own, was) = (&own.code, own.with.algorithm);
        let own_encoding = own.encoding.unwrap_or_default();
        let mut changes = Vec::new();
        if let Some((_, name)) = ALGORITHMS.iter().find(|(one, _)| *one == algorithm && *one != was) {
            changes.push(format!("algorithm: {name}"));
        }
        if let Some((_, name)) = ENCODINGS.iter().find(|(one, _)| *one == encoding && *one != own_encoding) {
            changes.push(format!("encoding: {name}"));
        }
        if prefix != own.prefix {
            changes.push(format!("prefix: {prefix:?}"));
        }
        let hint = format!("it fits with {}", changes.join(" and "));
        Suspicion { hint, scheme: Some(scheme), ..Suspicion::default() }
    }

    /// A token in `Authorization`, with and without its first word.
    fn behind_bearer(&self) -> Option<Suspicion> {
        let mut scheme = self.scheme.clone();
        let (header, hint) = match header_of(&mut scheme)? {
            place @ None => (place, "it fits with header: Authorization, without the word Bearer"),
            place @ Some(_) => (place, "it stands behind the word Bearer: leave `header` out"),
        };
        *header = match header {
            None => Some("Authorization".into()),
            Some(_) => None,
        };
        Some(Suspicion { hint: hint.into(), scheme: Some(scheme), ..Suspicion::default() })
    }
}

fn header_of(scheme: &mut Verify) -> Option<&mut Option<String>> {
    match (&mut scheme.token, &mut scheme.jwt) {
        (Some(token), _) if token.query.is_none() && token.body.is_none() => Some(&mut token.header),
        (_, Some(jwt)) => Some(&mut jwt.header),
        _ => None,
    }
}

/// The one of the file first.
fn prefixes(own: &str) -> impl Iterator<Item = &str> {
    std::iter::once(own).chain(PREFIXES.into_iter().filter(move |prefix| *prefix != own))
}

impl Verify {
    /// The headers that its scheme looks for, in lower case.
    pub(in super::super::super) fn header_names(&self) -> Vec<String> {
        let codes = [self.mac().map(|spec| &spec.code), self.signature().map(|spec| &spec.code)];
        let lists = codes.into_iter().flatten().filter_map(|code| code.header.as_ref()).flat_map(numbered);
        let token = self.token.as_ref().filter(|spec| spec.query.is_none() && spec.body.is_none());
        let alone =
            token.map(|spec| &spec.header).into_iter().chain(self.jwt.as_ref().map(|spec| &spec.header));
        let alone = alone.map(|header| header.clone().unwrap_or_else(|| "authorization".into()));
        let basic = self.basic.as_ref().map(|_| "authorization".to_owned());
        let message = self.message_signature.as_ref().map(|_| "signature".to_owned());
        lists.chain(alone).chain(basic).chain(message).map(|name| name.to_ascii_lowercase()).collect()
    }
}

/// With the first number in place of `*`.
fn numbered(names: &Texts) -> impl Iterator<Item = String> {
    names.list.iter().map(|name| name.replace('*', "1"))
}
