//! From the settings of a signature to a scheme with its keys: where it stands, what is signed,
//! when, with what.

use std::collections::BTreeMap;

use ::http::{HeaderName, header};
use karez_api::{Checker, Path, Problem};

use super::super::header_name;
use super::Verifier;
use super::check::Places;
use super::jwt::{Jwt, JwtAlgorithm, JwtKeys};
use super::mac::{Algorithm, Mac};
use super::message::Message;
use super::path::BodyPath;
use super::place::{Encoding, Place, Written};
use super::public_key::{PublicKey, Scheme};
use super::secrets::{Dated, Public, Secrets, empty_secret};
use super::signed::{BodyHash, Proof, Signed};
use super::spec::{BodyHashSpec, HeaderNames, JwtSpec, KeySpec, MacSpec, TimestampSpec, Verify};
use super::time::{At, Timestamp};
use super::url::PublicUrl;

/// The parts that can be signed.
const SIGNED: [&str; 10] = [
    "body",
    "timestamp",
    "method",
    "url",
    "header:NAME",
    "query:NAME",
    "body:FIELD",
    "crc32",
    "sorted_form",
    "secret",
];

/// What keyed hashes and signatures have in common.
struct Shape {
    header: Option<HeaderNames>,
    query: Option<String>,
    body: Option<String>,
    prefix: String,
    separator: Option<char>,
    encoding: Encoding,
    message: String,
    timestamp: Option<TimestampSpec>,
    require: BTreeMap<String, String>,
    each: Option<String>,
    body_hash: Option<BodyHashSpec>,
}

impl Verify {
    /// Gives a provider's scheme the keys of the file.
    pub(super) fn take_keys(
        &mut self,
        cx: &Checker<'_>,
        at: &Path,
        secret: Option<Secrets>,
        key: Option<Secrets<Public>>,
    ) -> Option<()> {
        let by_key = [&mut self.ed25519, &mut self.ecdsa, &mut self.rsa].into_iter().find_map(Option::as_mut);
        let wanted = match by_key {
            Some(spec) => {
                let (given, superfluous) = (key.is_some(), secret.is_some());
                spec.key = key;
                ("key", given, "secret", superfluous)
            }
            None => {
                let (given, superfluous) = (secret.is_some(), key.is_some());
                match (&mut self.hmac, &mut self.hash, &mut self.token) {
                    (Some(spec), ..) | (_, Some(spec), _) => spec.secret = secret,
                    (.., Some(spec)) => spec.token = secret,
                    _ => {}
                }
                ("secret", given, "key", superfluous)
            }
        };
        let (name, given, other, superfluous) = wanted;
        if superfluous {
            let message = format!("this provider is verified with `{name}`, not with `{other}`");
            cx.report(Problem::error("misplaced-setting", at.field(other), message).on_key());
        }
        if !given {
            let problem =
                Problem::error("missing-secret", at.field("provider"), format!("`{name}` is missing"));
            cx.report(
                problem.help(format_args!("add {name}: \"${{WEBHOOK_{}}}\" beside it", name.to_uppercase())),
            );
        }
        (given && !superfluous).then_some(())
    }

    #[cfg(test)]
    pub(in super::super) fn takes_a_key(&self) -> bool {
        self.ed25519.is_some() || self.ecdsa.is_some() || self.rsa.is_some()
    }

    pub(in super::super) fn timestamp(&mut self) -> Option<&mut TimestampSpec> {
        let by_key = [&mut self.ed25519, &mut self.ecdsa, &mut self.rsa].into_iter().flatten();
        let by_secret = [&mut self.hmac, &mut self.hash].into_iter().flatten();
        by_key
            .filter_map(|spec| spec.timestamp.as_mut())
            .chain(by_secret.filter_map(|spec| spec.timestamp.as_mut()))
            .next()
    }
}

impl MacSpec {
    fn parts(self, cx: &Checker<'_>, places: &Places, message: &str) -> Option<(Shape, Vec<Dated<Vec<u8>>>)> {
        let Some(secret) = &self.secret else {
            cx.report(empty_secret(places.secret.clone()));
            return None;
        };
        let secrets = secret.bytes(cx, &places.secret, self.secret_encoding, &self.secret_prefix);
        let shape = Shape {
            header: self.header,
            query: self.query,
            body: self.body,
            prefix: self.prefix,
            separator: self.separator,
            encoding: self.encoding,
            message: self.message.unwrap_or_else(|| message.into()),
            timestamp: self.timestamp,
            require: self.require,
            each: self.each,
            body_hash: self.body_hash,
        };
        Some((shape, secrets?))
    }

    pub(super) fn hmac(self, cx: &Checker<'_>, places: &Places, url: Option<PublicUrl>) -> Option<Verifier> {
        let algorithm = self.algorithm;
        let (shape, secrets) = self.parts(cx, places, "{body}")?;
        let mac = |secret: Dated<Vec<u8>>| {
            Some(Dated { value: Mac::new(algorithm, &secret.value)?, not_after: secret.not_after })
        };
        let macs = secrets.into_iter().filter_map(mac).collect();
        shape.check(cx, &places.scheme, url, Proof::Hmac(algorithm, macs))
    }

    pub(super) fn hash(self, cx: &Checker<'_>, places: &Places, url: Option<PublicUrl>) -> Option<Verifier> {
        let algorithm = self.algorithm;
        let (shape, secrets) = self.parts(cx, places, "{secret}{body}")?;
        shape.check(cx, &places.scheme, url, Proof::Hash(algorithm, secrets))
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
        let algorithm = self.algorithm.unwrap_or(Algorithm::Sha256);
        self.check(cx, places, url, Scheme::Rsa(algorithm))
    }

    fn no_algorithm(&self, cx: &Checker<'_>, places: &Places) -> Option<()> {
        if self.algorithm.is_some() {
            let at = places.scheme.field("algorithm");
            let message = "this signature has one algorithm only";
            cx.report(Problem::error("needless-algorithm", at, message).on_key().help("leave it out"));
        }
        self.algorithm.is_none().then_some(())
    }

    fn check(
        self,
        cx: &Checker<'_>,
        places: &Places,
        url: Option<PublicUrl>,
        scheme: Scheme,
    ) -> Option<Verifier> {
        let keys = public_keys(cx, &places.key, self.key.as_ref(), scheme, &self.key_prefix);
        let shape = Shape {
            header: self.header,
            query: self.query,
            body: self.body,
            prefix: self.prefix,
            separator: self.separator,
            encoding: self.encoding,
            message: self.message.unwrap_or_else(|| "{body}".into()),
            timestamp: self.timestamp,
            require: self.require,
            each: self.each,
            body_hash: self.body_hash,
        };
        shape.check(cx, &places.scheme, url, Proof::Public(keys?))
    }
}

fn public_keys(
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

impl Shape {
    fn check(self, cx: &Checker<'_>, at: &Path, url: Option<PublicUrl>, proof: Proof) -> Option<Verifier> {
        let place = place(cx, at, self.header.as_ref(), self.query, self.body.as_deref());
        let fit = |message: Message| message.has_only(&SIGNED).map(|()| message);
        let message = Message::parse(&self.message)
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
        let signature = Signature { cx, at, place: &place, separator: self.separator, message: &message };
        let timestamp = optional(self.timestamp, |spec| signature.timestamp(spec));
        let body_hash = optional(self.body_hash, |spec| signature.body_hash(spec));
        signature.holds_together(&proof, url.is_some(), matches!(timestamp, Some(None)))?;
        let public_url = url.filter(|_| message.names_url());
        let written =
            Written { place, prefix: self.prefix, separator: self.separator, encoding: self.encoding };
        Some(Verifier::Signed(Box::new(Signed {
            written,
            timestamp: timestamp?,
            require: require?,
            each: each?,
            body_hash: body_hash?,
            public_url,
            message,
            proof,
        })))
    }
}

/// A scheme whose parts are read, to see whether they fit each other.
struct Signature<'a> {
    cx: &'a Checker<'a>,
    at: &'a Path,
    place: &'a Place,
    separator: Option<char>,
    message: &'a Message,
}

impl Signature<'_> {
    fn report(&self, code: &'static str, field: &str, message: &str, help: &str) {
        self.cx.report(Problem::error(code, self.at.field(field), message).help(help));
    }

    fn timestamp(&self, spec: TimestampSpec) -> Option<Timestamp> {
        let at = self.at.field("timestamp");
        let whole = TimestampSpec { label: None, ..spec };
        let at = match spec.label {
            Some(label) if whole.header.is_none() && whole.query.is_none() && whole.body.is_none() => {
                let Some(separator) = self.separator else {
                    let message = "a label needs a list, and so a `separator`";
                    self.cx.report(Problem::error("missing-separator", at.field("label"), message));
                    return None;
                };
                At::Label(self.place.clone(), separator, label)
            }
            Some(_) => {
                self.cx.report(ambiguous_place(&at));
                return None;
            }
            None => At::Place(place(
                self.cx,
                &at,
                whole.header.as_ref(),
                whole.query.clone(),
                whole.body.as_deref(),
            )?),
        };
        if !self.is_signed(&at) {
            self.report(
                "unsigned-timestamp",
                "timestamp",
                "the timestamp is no part of what is signed: anybody could write a newer one",
                "put {timestamp} into `message`, or leave the timestamp out",
            );
            return None;
        }
        let past = whole.tolerance.0;
        let future = whole.future.map_or(past, |future| future.0);
        Some(Timestamp { at, unit: whole.unit, past, future })
    }

    fn is_signed(&self, at: &At) -> bool {
        self.message.names_timestamp() || matches!(at, At::Place(place) if self.covers(place))
    }

    /// Whether what stands there is a part of what is signed.
    fn covers(&self, place: &Place) -> bool {
        match place {
            Place::Headers(names) => names.iter().all(|name| self.message.names_header(name)),
            Place::Query(name) => self.message.names_url() || self.message.names_query(name),
            Place::Body(_) => self.message.names_body(),
        }
    }

    fn body_hash(&self, spec: BodyHashSpec) -> Option<BodyHash> {
        let hash = spec.check(self.cx, &self.at.field("body_hash"))?;
        if !self.covers(&hash.place) {
            self.report(
                "unsigned-body-hash",
                "body_hash",
                "the hash is no part of what is signed: anybody could write another one",
                "put it into `message`, like {header:Digest}",
            );
            return None;
        }
        Some(hash)
    }

    fn holds_together(&self, proof: &Proof, has_url: bool, has_no_timestamp: bool) -> Option<()> {
        let names_secret = self.message.names_secret();
        if matches!(proof, Proof::Hash(..)) != names_secret {
            let (message, help) = match names_secret {
                true => ("the secret is the key here, no part of the message", "leave {secret} out"),
                false => ("without the secret in it anybody can make this hash", "put {secret} into it"),
            };
            self.report("bad-message", "message", message, help);
            return None;
        }
        if self.message.names_url() && !has_url {
            let message = "this scheme signs the address that the sender knows, so `public_url` is needed";
            self.cx.report(
                Problem::error("missing-public-url", self.at.clone(), message)
                    .help("add public_url: https://hooks.example.com/webhooks/NAME beside `verify`, as the sender has it"),
            );
            return None;
        }
        if self.message.names_timestamp() && has_no_timestamp {
            self.report(
                "missing-timestamp",
                "message",
                "it names a timestamp, but nothing says where that stands",
                "add timestamp: {header: X-Timestamp}",
            );
            return None;
        }
        Some(())
    }
}

impl BodyHashSpec {
    fn check(self, cx: &Checker<'_>, at: &Path) -> Option<BodyHash> {
        let place = place(cx, at, self.header.as_ref(), self.query, None)?;
        Some(BodyHash { place, algorithm: self.algorithm, encoding: self.encoding })
    }
}

impl JwtSpec {
    pub(super) fn check(self, cx: &Checker<'_>, places: &Places) -> Option<Verifier> {
        let at = &places.scheme;
        let place = match &self.header {
            None => Place::Headers(vec![header::AUTHORIZATION]),
            Some(name) => Place::Headers(vec![header_name(cx, &at.field("header"), name)?]),
        };
        let keys = self.keys(cx, places)?;
        Some(Verifier::Jwt(Box::new(Jwt {
            place,
            bearer: self.header.is_none(),
            algorithm: self.algorithm,
            keys,
            issuer: self.issuer,
            audience: self.audience,
            body_claim: self.body_claim.map(|name| (name, self.body_claim_encoding)),
            leeway: self.leeway.0,
            max_age: self.max_age.map(|age| age.0),
        })))
    }

    fn keys(&self, cx: &Checker<'_>, places: &Places) -> Option<JwtKeys> {
        let hash = match self.algorithm {
            JwtAlgorithm::Hs256 => Some(Algorithm::Sha256),
            JwtAlgorithm::Hs512 => Some(Algorithm::Sha512),
            _ => None,
        };
        let (unfit, fit) = match hash {
            Some(_) => (self.key.is_some().then_some("key"), "secret"),
            None => (self.secret.is_some().then_some("secret"), "key"),
        };
        if let Some(name) = unfit {
            let message = format!("this algorithm has a `{fit}`, no `{name}`");
            cx.report(Problem::error("misplaced-setting", places.scheme.field(name), message).on_key());
            return None;
        }
        let scheme = match self.algorithm {
            JwtAlgorithm::Hs256 | JwtAlgorithm::Hs512 => return self.macs(cx, places, hash?),
            JwtAlgorithm::Rs256 => Scheme::Rsa(Algorithm::Sha256),
            JwtAlgorithm::Rs512 => Scheme::Rsa(Algorithm::Sha512),
            JwtAlgorithm::Es256 => Scheme::EcdsaFixed,
            JwtAlgorithm::EdDsa => Scheme::Ed25519,
        };
        public_keys(cx, &places.key, self.key.as_ref(), scheme, "").map(JwtKeys::Public)
    }

    fn macs(&self, cx: &Checker<'_>, places: &Places, hash: Algorithm) -> Option<JwtKeys> {
        let Some(secret) = &self.secret else {
            cx.report(empty_secret(places.secret.clone()));
            return None;
        };
        let secrets = secret.bytes(cx, &places.secret, self.secret_encoding, "")?;
        let mac = |secret: Dated<Vec<u8>>| {
            Some(Dated { value: Mac::new(hash, &secret.value)?, not_after: secret.not_after })
        };
        Some(JwtKeys::Hmac(secrets.into_iter().filter_map(mac).collect()))
    }
}

/// Nothing where nothing was set; `None` outside where it is wrong.
fn optional<S, T>(setting: Option<S>, check: impl FnOnce(S) -> Option<T>) -> Option<Option<T>> {
    match setting {
        None => Some(None),
        Some(setting) => check(setting).map(Some),
    }
}

fn place(
    cx: &Checker<'_>,
    at: &Path,
    header: Option<&HeaderNames>,
    query: Option<String>,
    body: Option<&str>,
) -> Option<Place> {
    match (header, query, body) {
        (Some(names), None, None) => header_names(cx, &at.field("header"), names).map(Place::Headers),
        (None, Some(name), None) => Some(Place::Query(name)),
        (None, None, Some(path)) => body_path(cx, &at.field("body"), path).map(Place::Body),
        (None, None, None) => {
            cx.report(
                Problem::error("missing-place", at.clone(), "nothing says where it stands")
                    .help("add header: X-Name, query: NAME, or body: FIELD"),
            );
            None
        }
        _ => {
            cx.report(ambiguous_place(at));
            None
        }
    }
}

pub(super) fn ambiguous_place(at: &Path) -> Problem {
    Problem::error("ambiguous-place", at.clone(), "it can stand in one place only")
        .help("keep one of header, query and body")
}

pub(super) fn body_path(cx: &Checker<'_>, at: &Path, text: &str) -> Option<BodyPath> {
    BodyPath::parse(text).map_err(|what| cx.report(Problem::error("bad-field", at.clone(), what))).ok()
}

fn header_names(cx: &Checker<'_>, at: &Path, names: &HeaderNames) -> Option<Vec<HeaderName>> {
    let mut found = Vec::new();
    for (index, name) in names.list.iter().enumerate() {
        let place = if names.written_as_list { at.index(index) } else { at.clone() };
        match name.split_once('*') {
            None => found.push(header_name(cx, &place, name)?),
            Some((before, behind)) => {
                for number in 1..=100 {
                    found.push(header_name(cx, &place, &format!("{before}{number}{behind}"))?);
                }
            }
        }
    }
    if found.is_empty() {
        cx.report(Problem::error("missing-place", at.clone(), "no header is named"));
    }
    (!found.is_empty()).then_some(found)
}
