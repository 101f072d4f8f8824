//! From the settings of a keyed hash or a signature to a scheme with its keys.

use karez_api::{Checker, Path, Problem};
use karez_net::jose::{PublicKey, Scheme};

use super::super::super::header_name;
use super::super::Verifier;
use super::super::mac::{Algorithm, Mac};
use super::super::message::Message;
use super::super::path::BodyPath;
use super::super::place::{Encoding, Written};
use super::super::secrets::{Dated, Keys, Public, Secrets, empty_secret};
use super::super::signed::{Proof, Signed};
use super::super::spec::{CodeSpec, KeySpec, MacSpec};
use super::super::texts::{Parameters, Texts};
use super::super::url::PublicUrl;
use super::Places;
use super::fit::Signature;
use super::place::{body_path, place};

/// The parts that can be signed.
const SIGNED: [&str; 11] = [
    "body",
    "timestamp",
    "method",
    "url",
    "header:NAME",
    "query:NAME",
    "body:FIELD",
    "fields:A,B",
    "crc32",
    "sorted_form",
    "secret",
];

impl MacSpec {
    fn keys(&self, cx: &Checker<'_>, places: &Places) -> Option<Keys> {
        let Some(secret) = &self.with.secret else {
            cx.report(empty_secret(places.secret.clone()));
            return None;
        };
        secret.bytes(cx, &places.secret, self.with.secret_encoding, &self.with.secret_prefix)
    }

    pub(super) fn hmac(self, cx: &Checker<'_>, places: &Places, url: Option<PublicUrl>) -> Option<Verifier> {
        let algorithm = self.with.algorithm;
        let mac = |secret: Dated<Vec<u8>>| {
            Some(Dated { value: Mac::new(algorithm, &secret.value)?, not_after: secret.not_after })
        };
        let macs = self.keys(cx, places)?.into_iter().filter_map(mac).collect();
        self.code.check(cx, &places.scheme, url, Proof::Hmac(algorithm, macs))
    }

    pub(super) fn hash(self, cx: &Checker<'_>, places: &Places, url: Option<PublicUrl>) -> Option<Verifier> {
        let secrets = self.keys(cx, places)?;
        self.code.check(cx, &places.scheme, url, Proof::Hash(self.with.algorithm, secrets))
    }
}

impl KeySpec {
    pub(super) fn ed25519(
        self,
        cx: &Checker<'_>,
        places: &Places,
        url: Option<PublicUrl>,
    ) -> Option<Verifier> {
        self.no_algorithm(cx, places)?;
        self.check(cx, places, url, Scheme::Ed25519)
    }

    pub(super) fn ecdsa(self, cx: &Checker<'_>, places: &Places, url: Option<PublicUrl>) -> Option<Verifier> {
        self.no_algorithm(cx, places)?;
        self.check(cx, places, url, Scheme::EcdsaDer)
    }

    pub(super) fn rsa(self, cx: &Checker<'_>, places: &Places, url: Option<PublicUrl>) -> Option<Verifier> {
        let algorithm = self.with.algorithm.unwrap_or(Algorithm::Sha256);
        self.check(cx, places, url, Scheme::Rsa(algorithm.into()))
    }

    fn no_algorithm(&self, cx: &Checker<'_>, places: &Places) -> Option<()> {
        if self.with.algorithm.is_some() {
            let at = places.scheme.field("algorithm");
            let message = "this signature has one algorithm only";
            cx.report(Problem::error("needless-algorithm", at, message).on_key().help("leave it out"));
        }
        self.with.algorithm.is_none().then_some(())
    }

    fn check(
        self,
        cx: &Checker<'_>,
        places: &Places,
        url: Option<PublicUrl>,
        scheme: Scheme,
    ) -> Option<Verifier> {
        let proof = match (&self.with.certificate, &self.with.key) {
            (Some(_), Some(_)) => {
                let message = "the certificate holds the key, so it cannot stand here too";
                cx.report(Problem::error("misplaced-setting", places.key.clone(), message).on_key());
                return None;
            }
            (Some(spec), None) => {
                Proof::Certificate(scheme, spec.check(cx, &places.scheme.field("certificate"))?)
            }
            (None, keys) => {
                let prefix = &self.with.key_prefix;
                Proof::Public(public_keys(cx, &places.key, keys.as_ref(), scheme, prefix)?)
            }
        };
        self.code.check(cx, &places.scheme, url, proof)
    }
}

pub(super) fn public_keys(
    cx: &Checker<'_>,
    at: &Path,
    keys: Option<&Secrets<Public>>,
    scheme: Scheme,
    prefix: &str,
) -> Option<Vec<Dated<PublicKey>>> {
    match keys {
        Some(keys) => keys.read(cx, at, |text| PublicKey::read(scheme, text, prefix).map_err(str::to_owned)),
        None => {
            cx.report(Problem::error("missing-key", at.clone(), "the sender's public key is missing"));
            None
        }
    }
}

impl CodeSpec {
    fn check(self, cx: &Checker<'_>, at: &Path, url: Option<PublicUrl>, proof: Proof) -> Option<Verifier> {
        let place = place(cx, at, self.header.as_ref(), self.query, self.body.as_deref());
        let fit = |message: Message| message.has_only(&SIGNED).map(|()| message);
        let (message, encoding) = match &proof {
            Proof::Hmac(..) => ("{body}", Encoding::Hex),
            Proof::Hash(..) => ("{secret}{body}", Encoding::Hex),
            Proof::Public(_) | Proof::Certificate(..) => ("{body}", Encoding::Base64),
        };
        let encoding = self.encoding.unwrap_or(encoding);
        let message = Message::parse(self.message.as_deref().unwrap_or(message))
            .and_then(|message| message.with(&self.parameters))
            .and_then(fit)
            .map_err(|what| cx.report(Problem::error("bad-message", at.field("message"), what)))
            .ok();
        let each = optional(self.each, |path| body_path(cx, &at.field("each"), &path));
        let require: Option<Vec<_>> = self
            .require
            .into_iter()
            .map(|(name, value)| Some((header_name(cx, &at.field("require").field(&name), &name)?, value)))
            .collect();
        let (place, message) = (place?, message?);
        let fields = self.require_fields.iter();
        let require_fields: Option<Vec<_>> =
            fields.map(|(name, values)| required(cx, at, &message, &self.parameters, name, values)).collect();
        let signature = Signature { cx, at, place: &place, separator: self.separator, message: &message };
        let timestamp = optional(self.timestamp, |spec| signature.timestamp(spec));
        let body_hash = optional(self.body_hash, |spec| signature.body_hash(spec));
        signature.holds_together(&proof, url.is_some(), matches!(timestamp, Some(None)))?;
        let public_url = url.filter(|_| message.names_url());
        let written = Written { place, prefix: self.prefix, separator: self.separator, encoding };
        Some(Verifier::Signed(Box::new(Signed {
            written,
            timestamp: timestamp?,
            require: require?,
            require_fields: require_fields?,
            each: each?,
            body_hash: body_hash?,
            public_url,
            message,
            proof,
        })))
    }
}

/// Nothing where nothing was set; `None` outside where it is wrong.
fn optional<S, T>(setting: Option<S>, check: impl FnOnce(S) -> Option<T>) -> Option<Option<T>> {
    match setting {
        None => Some(None),
        Some(setting) => check(setting).map(Some),
    }
}

/// A field of the body and the values that it may have: those of the file, or those of a parameter.
fn required(
    cx: &Checker<'_>,
    at: &Path,
    message: &Message,
    parameters: &Parameters,
    name: &str,
    values: &Texts,
) -> Option<(BodyPath, Vec<String>)> {
    let at = at.field("require_fields").field(name);
    let path = body_path(cx, &at, name)?;
    if !message.names_path(&path) {
        let message = "the field is no part of what is signed: anybody could write another value";
        cx.report(Problem::error("unsigned-field", at, message).on_key());
        return None;
    }
    let parameter = |text: &String| parameters.get(text.strip_prefix("{parameter:")?.strip_suffix('}')?);
    let values = values.list.iter().flat_map(|text| match parameter(text) {
        Some(given) => given.list.clone(),
        None => vec![text.clone()],
    });
    let values: Vec<String> = values.collect();
    if values.is_empty() {
        cx.report(Problem::error("missing-value", at, "no value is named, so none would be right"));
        return None;
    }
    Some((path, values))
}
