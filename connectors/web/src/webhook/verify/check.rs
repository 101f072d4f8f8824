//! From what `verify:` says to a verifier, or to what is wrong with it and where.

mod credential;
mod fit;
mod jwt;
mod message_signature;
pub(super) mod place;
mod provider;
mod signature;

use karez_api::{Checker, Path, Problem, Secret};

pub(in super::super) use provider::Needs;

use super::super::provider::{self as catalogue, Provider};
use super::Verifier;
use super::secrets::Secrets;
use super::spec::Verify;
use super::texts::Parameters;
use super::url::PublicUrl;

const WAYS: &str = "provider, hmac, ed25519, ecdsa, rsa, hash, token, basic, jwt, message_signature, mtls";

/// Where a scheme and its keys stand in the file: the keys of a provider stand beside its name.
pub(super) struct Places {
    pub(super) scheme: Path,
    pub(super) secret: Path,
    pub(super) key: Path,
}

impl Places {
    fn own(at: &Path, scheme: &str) -> Self {
        let scheme = at.field(scheme);
        let secret = scheme.field(if scheme == at.field("token") { "token" } else { "secret" });
        Self { secret, key: scheme.field("key"), scheme }
    }

    pub(super) fn of_provider(at: &Path) -> Self {
        Self { scheme: at.field("provider"), secret: at.field("secret"), key: at.field("key") }
    }
}

/// What is wanted of a `verify` beside its verifier.
pub(in super::super) struct Wanted {
    pub(in super::super) public_url: Option<PublicUrl>,
    /// A handshake of the file itself asks for the token.
    pub(in super::super) verify_token: bool,
}

impl Verify {
    /// A provider and its keys, as a file would name them.
    pub(in super::super) fn of_provider(
        provider: &Provider,
        secrets: &[Secret],
        keys: &[String],
        parameters: Parameters,
    ) -> Self {
        Self {
            provider: Some(provider.name().to_owned()),
            secret: (!secrets.is_empty()).then(|| Secrets::of(secrets.iter().cloned())),
            key: (!keys.is_empty()).then(|| Secrets::of(keys.iter().map(Secret::new))),
            parameters,
            ..Self::default()
        }
    }

    /// Nothing where there is no such provider, which is reported by [`Verify::check`].
    pub(in super::super) fn provider(&self) -> Option<&'static Provider> {
        catalogue::find(self.provider.as_deref()?)
    }

    pub(in super::super) fn verify_token(&self) -> Option<&Secret> {
        self.verify_token.as_ref()
    }

    /// The name that the secret gets which a provider has not sent yet.
    pub(in super::super) fn pending(&self) -> Option<String> {
        self.pending.as_ref().map(|pending| pending.secret.clone())
    }

    /// The secrets as text, for handshakes that compute with them.
    pub(in super::super) fn secret_texts(&self) -> Vec<String> {
        let own = self.mac().and_then(|spec| spec.with.secret.as_ref());
        let secrets = self.secret.as_ref().or(own);
        secrets.into_iter().flat_map(Secrets::texts).map(str::to_owned).collect()
    }

    pub(in super::super) fn check(self, cx: &Checker<'_>, wanted: Wanted) -> Option<Verifier> {
        let at = Path::root().field("verify");
        let schemes = self.schemes();
        match (&self.provider, &*schemes) {
            (Some(name), []) => {
                let provider = provider::known(cx, &at, name)?;
                self.verify_token_fits(cx, &at, wanted.verify_token || provider.wants_verify_token())?;
                self.check_provider(cx, &at, provider, wanted.public_url)
            }
            (None, [scheme]) => {
                self.verify_token_fits(cx, &at, wanted.verify_token)?;
                self.nothing_of_a_provider(cx, &at, scheme)?;
                let places = Places::own(&at, scheme);
                self.check_scheme(cx, &places, wanted.public_url)
            }
            (None, []) => {
                let help = format!("one of {WAYS}, or none: {{reason: \"…\"}}");
                cx.report(Problem::error("missing-verify", at, "`verify` does not say how").help(help));
                None
            }
            _ => {
                cx.report(
                    Problem::error("ambiguous-verify", at, "`verify` says more than one way")
                        .help(format_args!("keep exactly one of {WAYS} and none")),
                );
                None
            }
        }
    }

    /// The names of those that are there.
    fn schemes(&self) -> Vec<&'static str> {
        [
            ("hmac", self.hmac.is_some()),
            ("hash", self.hash.is_some()),
            ("ed25519", self.ed25519.is_some()),
            ("ecdsa", self.ecdsa.is_some()),
            ("rsa", self.rsa.is_some()),
            ("token", self.token.is_some()),
            ("basic", self.basic.is_some()),
            ("jwt", self.jwt.is_some()),
            ("message_signature", self.message_signature.is_some()),
            ("mtls", self.mtls.is_some()),
            ("none", self.none.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect()
    }

    fn nothing_of_a_provider(&self, cx: &Checker<'_>, at: &Path, scheme: &str) -> Option<()> {
        let beside = [
            ("secret", self.secret.is_some()),
            ("key", self.key.is_some()),
            ("tolerance", self.tolerance.is_some()),
            ("parameters", !self.parameters.is_empty()),
            ("pending", self.pending.is_some()),
        ];
        let mut fine = Some(());
        for (name, _) in beside.into_iter().filter(|(_, there)| *there) {
            fine = None;
            let message = format!("`{name}` stands beside a provider only");
            cx.report(
                Problem::error("misplaced-setting", at.field(name), message)
                    .on_key()
                    .help(format_args!("`{scheme}` has settings of its own inside")),
            );
        }
        fine
    }

    /// What a provider's file or a pipeline's says of its one scheme.
    pub(super) fn check_scheme(
        self,
        cx: &Checker<'_>,
        places: &Places,
        public_url: Option<PublicUrl>,
    ) -> Option<Verifier> {
        let has_url = public_url.is_some();
        let verifier = if let Some(spec) = self.hmac {
            spec.hmac(cx, places, public_url)
        } else if let Some(spec) = self.hash {
            spec.hash(cx, places, public_url)
        } else if let Some(spec) = self.ed25519 {
            spec.ed25519(cx, places, public_url)
        } else if let Some(spec) = self.ecdsa {
            spec.ecdsa(cx, places, public_url)
        } else if let Some(spec) = self.rsa {
            spec.rsa(cx, places, public_url)
        } else if let Some(spec) = self.message_signature {
            spec.check(cx, places, public_url)
        } else if let Some(spec) = self.token {
            spec.check(cx, places)
        } else if let Some(spec) = self.jwt {
            spec.check(cx, places)
        } else if let Some(spec) = self.mtls {
            spec.check(cx, &places.scheme)
        } else if let Some(spec) = self.basic {
            spec.check(cx, &places.scheme)
        } else {
            self.none?.check(cx, &places.scheme)
        }?;
        if has_url && !verifier.signs_the_address() {
            cx.scope.warn(Problem::warning(
                "needless-public-url",
                cx.at.field("public_url"),
                "the address is no part of what is signed here",
            ));
        }
        Some(verifier)
    }
}
