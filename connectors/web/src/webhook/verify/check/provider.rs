//! A provider's scheme with the keys of the file that names it.

use karez_api::{Checker, Path, Problem};

use super::super::super::provider::{self, Provider};
use super::super::Verifier;
use super::super::secrets::{Public, Secrets, empty_secret};
use super::super::spec::{TimestampSpec, Verify};
use super::super::url::PublicUrl;
use super::Places;

impl Verify {
    /// Gives a provider's scheme the keys of the file.
    fn take_keys(
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
                spec.with.key = key;
                ("key", given, "secret", superfluous)
            }
            None => {
                let (given, superfluous) = (secret.is_some(), key.is_some());
                match (&mut self.hmac, &mut self.hash, &mut self.token) {
                    (Some(spec), ..) | (_, Some(spec), _) => spec.with.secret = secret,
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
    pub(in super::super::super) fn takes_a_key(&self) -> bool {
        self.ed25519.is_some() || self.ecdsa.is_some() || self.rsa.is_some()
    }

    pub(in super::super::super) fn timestamp(&mut self) -> Option<&mut TimestampSpec> {
        let by_key = [&mut self.ed25519, &mut self.ecdsa, &mut self.rsa].into_iter().flatten();
        let by_secret = [&mut self.hmac, &mut self.hash].into_iter().flatten();
        by_key
            .filter_map(|spec| spec.code.timestamp.as_mut())
            .chain(by_secret.filter_map(|spec| spec.code.timestamp.as_mut()))
            .next()
    }

    /// Asked for and given, or neither.
    pub(super) fn verify_token_fits(&self, cx: &Checker<'_>, at: &Path, wanted: bool) -> Option<()> {
        let help = "it is a text of your own that you enter where you register the webhook";
        match &self.verify_token {
            None if wanted => cx.report(
                Problem::error(
                    "missing-verify-token",
                    at.clone(),
                    "a `verify_token` is asked for before anything is sent",
                )
                .help(help),
            ),
            Some(_) if !wanted => {
                let message = "nobody asks for a `verify_token` here";
                cx.report(Problem::error("misplaced-setting", at.field("verify_token"), message).on_key());
            }
            Some(token) if token.expose().is_empty() => cx.report(empty_secret(at.field("verify_token"))),
            _ => return Some(()),
        }
        None
    }

    pub(super) fn check_provider(
        self,
        cx: &Checker<'_>,
        at: &Path,
        provider: &'static Provider,
        public_url: Option<PublicUrl>,
    ) -> Option<Verifier> {
        let mut scheme = provider.verify();
        scheme.take_keys(cx, at, self.secret, self.key)?;
        if let Some(tolerance) = self.tolerance {
            let Some(timestamp) = scheme.timestamp() else {
                let message = format!("{} signs no timestamp, so nothing can be too old", provider.name());
                cx.report(Problem::error("needless-tolerance", at.field("tolerance"), message).on_key());
                return None;
            };
            timestamp.tolerance = tolerance;
            timestamp.future = None;
        }
        scheme.check_scheme(cx, &Places::of_provider(at), public_url)
    }
}

pub(super) fn known(cx: &Checker<'_>, at: &Path, name: &str) -> Option<&'static Provider> {
    let found = provider::find(name);
    if found.is_none() {
        let problem = Problem::error(
            "unknown-provider",
            at.field("provider"),
            format!("{name:?} is no known provider"),
        );
        let help = karez_api::suggest::help(name, provider::names(), "there are");
        cx.report(Problem { help, ..problem });
    }
    found
}
