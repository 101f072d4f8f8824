//! Suspicions about secrets and keys: which one it was, and how its text is to be read.

use base64::Engine as _;
use karez_api::Millis;

use super::super::BASE64;
use super::super::secrets::{Public, SecretEncoding, Secrets};
use super::super::spec::Verify;
use super::{Case, Suspicion};

/// How a secret may be meant that stands in the file as it does.
struct Reading {
    encoding: SecretEncoding,
    prefix: &'static str,
    name: &'static str,
}

const READINGS: [Reading; 5] = [
    Reading { encoding: SecretEncoding::Utf8, prefix: "", name: "taken as the text that it is" },
    Reading { encoding: SecretEncoding::Base64, prefix: "", name: "decoded as base64" },
    Reading { encoding: SecretEncoding::Hex, prefix: "", name: "decoded as hex" },
    Reading {
        encoding: SecretEncoding::Base64,
        prefix: "whsec_",
        name: "decoded as base64 behind its whsec_",
    },
    Reading { encoding: SecretEncoding::Utf8, prefix: "whsec_", name: "taken as the text behind its whsec_" },
];

type Wording = (&'static str, fn(&str) -> String);

/// What else may have been meant by the text in the file, or stand in the sender's settings.
const WORDINGS: [Wording; 5] = [
    ("", str::to_owned),
    (" without the white space around it", |text| text.trim().to_owned()),
    (" without the quotes around it", |text| text.trim().trim_matches(['"', '\'']).to_owned()),
    (" with a line break at its end, as the sender seems to have it", |text| format!("{text}\n")),
    (" encoded as base64, as the sender seems to have it", |text| BASE64.encode(text)),
];

impl Verify {
    /// Where the secrets of its scheme stand; nothing where it has public keys.
    pub(super) fn secrets(&mut self) -> Option<&mut Option<Secrets>> {
        let macs = [&mut self.hmac, &mut self.hash].into_iter().flatten().map(|spec| &mut spec.with.secret);
        let tokens = self.token.iter_mut().map(|spec| &mut spec.token);
        let jwts = self.jwt.iter_mut().filter(|spec| spec.algorithm.scheme().is_none());
        let jwts = jwts.map(|spec| &mut spec.secret);
        let messages = self.message_signature.iter_mut().map(|spec| &mut spec.secret);
        macs.chain(tokens).chain(jwts).chain(messages).next()
    }

    /// Where the public keys of its scheme stand.
    pub(super) fn keys(&mut self) -> Option<&mut Option<Secrets<Public>>> {
        let by_key = [&mut self.ed25519, &mut self.ecdsa, &mut self.rsa].into_iter().flatten();
        let jwts = self.jwt.iter_mut().filter(|spec| spec.algorithm.scheme().is_some());
        by_key.map(|spec| &mut spec.with.key).chain(jwts.map(|spec| &mut spec.key)).next()
    }
}

impl Case {
    /// One that counts no more.
    pub(super) fn ended(&self, now: Millis) -> impl Iterator<Item = Suspicion> {
        let past =
            move |end: jiff::Timestamp| u64::try_from(end.as_millisecond()).is_ok_and(|end| end < now.0);
        let hint = |what: &str, end: jiff::Timestamp| {
            format!(
                "it is signed with the {what} whose not_after was {end}: the sender has not changed to the new one"
            )
        };
        let mut found = Vec::new();
        let mut scheme = self.scheme.clone();
        if let Some(Some(all)) = scheme.secrets().map(|it| it.clone()) {
            for (secret, end) in
                all.alone().filter_map(|(one, end)| Some((one, end.filter(|end| past(*end))?)))
            {
                found.push(Suspicion {
                    hint: hint("secret", end),
                    scheme: self.with_secret(secret),
                    ..Suspicion::default()
                });
            }
        }
        if let Some(Some(all)) = scheme.keys().map(|it| it.clone()) {
            for (key, end) in all.alone().filter_map(|(one, end)| Some((one, end.filter(|end| past(*end))?)))
            {
                let mut scheme = self.scheme.clone();
                if let Some(place) = scheme.keys() {
                    *place = Some(key);
                }
                found.push(Suspicion {
                    hint: hint("key", end),
                    scheme: Some(scheme),
                    ..Suspicion::default()
                });
            }
        }
        found.into_iter()
    }

    /// A secret that is right, but read in another way than it is meant.
    pub(super) fn read_otherwise(&self) -> impl Iterator<Item = Suspicion> {
        let secrets = self.scheme.clone().secrets().and_then(|it| it.clone());
        let singles: Vec<Secrets> = secrets.iter().flat_map(Secrets::alone).map(|(one, _)| one).collect();
        singles.into_iter().flat_map(move |secret| {
            READINGS.iter().flat_map(move |reading| {
                let secret = secret.clone();
                WORDINGS.iter().filter_map(move |wording| self.read(&secret, reading, wording))
            })
        })
    }

    fn read(&self, secret: &Secrets, reading: &Reading, (name, word): &Wording) -> Option<Suspicion> {
        let mut scheme = self.with_secret(secret.reworded(word))?;
        let as_in_file = match (&mut scheme.hmac, &mut scheme.hash, &mut scheme.jwt) {
            (Some(spec), ..) | (_, Some(spec), _) => {
                let with = &mut spec.with;
                let same = with.secret_encoding == reading.encoding && with.secret_prefix == reading.prefix;
                (with.secret_encoding, with.secret_prefix) = (reading.encoding, reading.prefix.into());
                same
            }
            (.., Some(spec)) => {
                let same = spec.secret_encoding == reading.encoding;
                spec.secret_encoding = reading.encoding;
                same
            }
            // A token is always taken as it stands.
            _ if reading.encoding != SecretEncoding::Utf8 || !reading.prefix.is_empty() => return None,
            _ => true,
        };
        let read = if as_in_file { "" } else { reading.name };
        let hint =
            format!("it fits if the secret is {read}{}{name}", if as_in_file { "written" } else { "" });
        Some(Suspicion { hint, scheme: Some(scheme), ..Suspicion::default() })
    }

    fn with_secret(&self, secret: Secrets) -> Option<Verify> {
        let mut scheme = self.scheme.clone();
        *scheme.secrets()? = Some(secret);
        Some(scheme)
    }
}
