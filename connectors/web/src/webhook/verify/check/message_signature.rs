//! From the settings of a message signature to a scheme with its keys.

use karez_api::{Checker, Path, Problem};
use karez_net::jose::{Hash, Scheme};

use super::super::Verifier;
use super::super::mac::{Algorithm, Mac};
use super::super::message_signature::{MessageSignature, SignatureKeys};
use super::super::secrets::{Dated, empty_secret};
use super::super::spec::{MessageSignatureSpec, SignatureAlgorithm};
use super::super::time::Window;
use super::super::url::PublicUrl;
use super::Places;
use super::signature::public_keys;

/// What has to be covered where the file does not say it: the method, where it goes to, and the body.
const COMPONENTS: [&[&str]; 3] = [&["@method"], &["@target-uri", "@authority"], &["content-digest"]];

/// What is derived from a request, of which the address is not the one that arrives.
const DERIVED: [&str; 7] =
    ["@method", "@target-uri", "@authority", "@scheme", "@path", "@query", "@request-target"];

impl MessageSignatureSpec {
    pub(super) fn check(
        self,
        cx: &Checker<'_>,
        places: &Places,
        public_url: Option<PublicUrl>,
    ) -> Option<Verifier> {
        let at = &places.scheme;
        let keys = self.keys(cx, places)?;
        let components: Vec<Vec<String>> = match &self.components {
            Some(names) => names.iter().map(|name| vec![name.clone()]).collect(),
            None => {
                COMPONENTS.iter().map(|any| any.iter().map(|name| (*name).to_owned()).collect()).collect()
            }
        };
        known(cx, &at.field("components"), &components)?;
        if public_url.is_none() && components.iter().flatten().any(|name| is_of_the_address(name)) {
            let message = "the address that the sender knows is signed, so `public_url` is needed";
            cx.report(
                Problem::error("missing-public-url", at.clone(), message)
                    .help("add public_url: https://hooks.example.com/webhooks/NAME beside `verify`, as the sender has it"),
            );
            return None;
        }
        let past = self.tolerance.0;
        let window = Window { past, future: self.future.map_or(past, |future| future.0) };
        Some(Verifier::Message(Box::new(MessageSignature {
            algorithm: self.algorithm.name(),
            keys,
            label: self.label,
            key_id: self.keyid,
            components,
            window,
            public_url,
        })))
    }

    fn keys(&self, cx: &Checker<'_>, places: &Places) -> Option<SignatureKeys> {
        let Some(scheme) = self.algorithm.scheme() else {
            return self.macs(cx, places);
        };
        if self.secret.is_some() {
            self.misplaced(cx, &places.scheme, "secret", "key");
            return None;
        }
        public_keys(cx, &places.key, self.key.as_ref(), scheme, "").map(SignatureKeys::Public)
    }

    fn macs(&self, cx: &Checker<'_>, places: &Places) -> Option<SignatureKeys> {
        if self.key.is_some() {
            self.misplaced(cx, &places.scheme, "key", "secret");
            return None;
        }
        let Some(secret) = &self.secret else {
            cx.report(empty_secret(places.secret.clone()));
            return None;
        };
        let mac = |secret: Dated<Vec<u8>>| {
            Some(Dated { value: Mac::new(Algorithm::Sha256, &secret.value)?, not_after: secret.not_after })
        };
        let secrets = secret.bytes(cx, &places.secret, self.secret_encoding, "")?;
        Some(SignatureKeys::Hmac(secrets.into_iter().filter_map(mac).collect()))
    }

    fn misplaced(&self, cx: &Checker<'_>, at: &Path, unfit: &str, fit: &str) {
        let message = format!("{} has a `{fit}`, no `{unfit}`", self.algorithm.name());
        cx.report(Problem::error("misplaced-setting", at.field(unfit), message).on_key());
    }
}

impl SignatureAlgorithm {
    /// Nothing where the key is a secret.
    pub(super) fn scheme(self) -> Option<Scheme> {
        match self {
            Self::HmacSha256 => None,
            Self::Ed25519 => Some(Scheme::Ed25519),
            Self::EcdsaP256Sha256 => Some(Scheme::EcdsaFixed),
            Self::RsaV15Sha256 => Some(Scheme::Rsa(Hash::Sha256)),
            Self::RsaPssSha512 => Some(Scheme::RsaPss(Hash::Sha512)),
        }
    }
}

fn is_of_the_address(name: &str) -> bool {
    name.starts_with('@') && name != "@method"
}

fn known(cx: &Checker<'_>, at: &Path, components: &[Vec<String>]) -> Option<()> {
    if components.is_empty() {
        cx.report(Problem::error("missing-components", at.clone(), "nothing would have to be signed"));
        return None;
    }
    let is_known = |name: &str| match name.starts_with('@') {
        true => DERIVED.contains(&name),
        false => ::http::HeaderName::from_lowercase(name.as_bytes()).is_ok(),
    };
    let mut fine = Some(());
    for (index, names) in components.iter().enumerate() {
        for name in names.iter().filter(|name| !is_known(name)) {
            let message = format!("{name:?} is no part of a request that can be covered");
            cx.report(
                Problem::error("bad-component", at.index(index), message)
                    .help(format_args!("a header in small letters, or one of {}", DERIVED.join(", "))),
            );
            fine = None;
        }
    }
    fine
}
