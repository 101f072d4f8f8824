//! A provider's scheme with the keys of the file that names it.

use karez_api::{Checker, Duration, Path, Problem, Secret, secret_item};

use super::super::super::handshake::HandshakeSpec;
use super::super::super::provider::{self, Provider};
use super::super::Verifier;
use super::super::secrets::{Public, Secrets, empty_secret};
use super::super::spec::{CodeSpec, PendingSpec, TimestampSpec, Verify};
use super::super::texts::Parameters;
use super::super::url::PublicUrl;
use super::Places;

/// What a file has to give beside the name of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super::super) enum Needs {
    Secret,
    Key,
    /// Its keys are public and fetched.
    Nothing,
}

impl Needs {
    /// The setting that it is given in.
    pub(in super::super::super) fn setting(self) -> Option<&'static str> {
        match self {
            Self::Secret => Some("secret"),
            Self::Key => Some("key"),
            Self::Nothing => None,
        }
    }
}

impl Verify {
    /// What the scheme of a provider lacks.
    pub(in super::super::super) fn needs(&self) -> Needs {
        match (self.signature(), &self.jwt, &self.none) {
            (Some(spec), ..) if spec.with.certificate.is_some() => Needs::Nothing,
            (Some(_), ..) => Needs::Key,
            (_, Some(jwt), _) if jwt.jwks.is_some() => Needs::Nothing,
            (_, Some(jwt), _) if jwt.algorithm.scheme().is_some() => Needs::Key,
            _ if self.message_signature.as_ref().is_some_and(|spec| spec.algorithm.scheme().is_some()) => {
                Needs::Key
            }
            (.., Some(_)) => Needs::Nothing,
            _ => Needs::Secret,
        }
    }

    /// Gives a provider's scheme the keys of the file.
    fn take_keys(
        &mut self,
        cx: &Checker<'_>,
        at: &Path,
        secret: Option<Secrets>,
        key: Option<Secrets<Public>>,
    ) -> Option<()> {
        let wanted = self.needs().setting();
        let given = [("secret", secret.is_some()), ("key", key.is_some())];
        let mut fine = true;
        for (other, _) in given.iter().filter(|(name, given)| *given && Some(*name) != wanted) {
            let message = match wanted {
                None => "this provider publishes its keys: they are fetched".to_owned(),
                Some(name) => format!("this provider is verified with `{name}`, not with `{other}`"),
            };
            cx.report(Problem::error("misplaced-setting", at.field(*other), message).on_key());
            fine = false;
        }
        if let Some(name) = wanted.filter(|name| !given.contains(&(*name, true))) {
            let problem =
                Problem::error("missing-secret", at.field("provider"), format!("`{name}` is missing"));
            cx.report(
                problem.help(format_args!("add {name}: \"${{WEBHOOK_{}}}\" beside it", name.to_uppercase())),
            );
            fine = false;
        }
        self.put(secret, key);
        fine.then_some(())
    }

    fn put(&mut self, secret: Option<Secrets>, key: Option<Secrets<Public>>) {
        let by_key = [&mut self.ed25519, &mut self.ecdsa, &mut self.rsa].into_iter().find_map(Option::as_mut);
        let by_secret = [&mut self.hmac, &mut self.hash].into_iter().find_map(Option::as_mut);
        match (by_key, by_secret, &mut self.token, &mut self.jwt) {
            (Some(spec), ..) => spec.with.key = key,
            (_, Some(spec), ..) => spec.with.secret = secret,
            (.., Some(spec), _) => spec.token = secret,
            (.., Some(spec)) => (spec.secret, spec.key) = (secret, key),
            _ => {
                if let Some(spec) = &mut self.message_signature {
                    (spec.secret, spec.key) = (secret, key);
                }
            }
        }
    }

    /// Where the code stands and what it is made from.
    pub(in super::super) fn code(&mut self) -> Option<&mut CodeSpec> {
        let by_key = [&mut self.ed25519, &mut self.ecdsa, &mut self.rsa].into_iter().flatten();
        let by_secret = [&mut self.hmac, &mut self.hash].into_iter().flatten();
        by_key.map(|spec| &mut spec.code).chain(by_secret.map(|spec| &mut spec.code)).next()
    }

    /// How old a request may be; nothing where it carries no time.
    pub(in super::super::super) fn tolerance(&mut self) -> Option<Tolerance<'_>> {
        if self.jwt.is_some() {
            return self.jwt.as_mut()?.max_age.as_mut().map(Tolerance::Jwt);
        }
        if self.message_signature.is_some() {
            let spec = self.message_signature.as_mut()?;
            return Some(Tolerance::Message(&mut spec.tolerance, &mut spec.future));
        }
        self.code()?.timestamp.as_mut().map(Tolerance::Timestamp)
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

    fn check_pending(
        &self,
        cx: &Checker<'_>,
        at: &Path,
        provider: &Provider,
        pending: &PendingSpec,
    ) -> Option<Verifier> {
        let place = at.field("pending");
        let given = [("secret", self.secret.is_some()), ("key", self.key.is_some())];
        if !provider.handshakes().iter().any(HandshakeSpec::hands_over) {
            let message = format!("{} sends no secret: you give or get it elsewhere", provider.name());
            cx.report(Problem::error("nothing-pending", place, message).on_key());
        } else if let Some((name, _)) = given.into_iter().find(|(_, given)| *given) {
            let message = format!("the `{name}` is there, so nothing is pending");
            cx.report(
                Problem::error("misplaced-setting", place, message).on_key().help("take `pending` out"),
            );
        } else if let Err(message) = secret_item(&pending.secret) {
            cx.report(Problem::error("bad-name", place.field("secret"), message));
        } else {
            return Some(Verifier::Pending);
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
        if let Some(pending) = &self.pending {
            return self.check_pending(cx, at, provider, pending);
        }
        self.scheme_of(cx, at, provider)?.check_scheme(cx, &Places::of_provider(at), public_url)
    }

    /// With its provider's scheme in place of the name, and the keys in it.
    pub(in super::super::super) fn resolved(self, cx: &Checker<'_>) -> Option<Self> {
        match self.provider() {
            Some(provider) => self.scheme_of(cx, &Path::root(), provider),
            None => Some(self),
        }
    }

    /// What is left to be checked of one that is resolved.
    pub(in super::super::super) fn check_resolved(
        self,
        cx: &Checker<'_>,
        public_url: Option<PublicUrl>,
    ) -> Option<Verifier> {
        self.check_scheme(cx, &Places::of_provider(&Path::root()), public_url)
    }

    /// With keys that are given in place of those that would be fetched.
    pub(in super::super::super) fn pinned(mut self, keys: &[String]) -> Self {
        let key = || Some(Secrets::of(keys.iter().map(Secret::new)));
        for spec in [&mut self.ed25519, &mut self.ecdsa, &mut self.rsa].into_iter().flatten() {
            if spec.with.certificate.take().is_some() {
                spec.with.key = key();
            }
        }
        if let Some(spec) = &mut self.jwt
            && spec.jwks.take().is_some()
        {
            spec.key = key();
        }
        self
    }

    /// The provider's scheme with what the file gives beside its name.
    fn scheme_of(self, cx: &Checker<'_>, at: &Path, provider: &'static Provider) -> Option<Self> {
        let mut scheme = provider.verify();
        let parameters = take_parameters(cx, at, provider, self.parameters);
        scheme.take_keys(cx, at, self.secret, self.key)?;
        if let Some(code) = scheme.code() {
            code.parameters = parameters?;
        }
        if let Some(wanted) = self.tolerance {
            let Some(tolerance) = scheme.tolerance() else {
                let message = format!("{} signs no timestamp, so nothing can be too old", provider.name());
                cx.report(Problem::error("needless-tolerance", at.field("tolerance"), message).on_key());
                return None;
            };
            tolerance.set(wanted);
        }
        Some(scheme)
    }
}

/// Where it is said how old a request may be.
pub(in super::super::super) enum Tolerance<'a> {
    Timestamp(&'a mut TimestampSpec),
    Jwt(&'a mut Duration),
    Message(&'a mut Duration, &'a mut Option<Duration>),
}

impl Tolerance<'_> {
    fn set(self, wanted: Duration) {
        match self {
            Self::Timestamp(timestamp) => (timestamp.tolerance, timestamp.future) = (wanted, None),
            Self::Jwt(max_age) => *max_age = wanted,
            Self::Message(tolerance, future) => (*tolerance, *future) = (wanted, None),
        }
    }
}

/// Exactly those that the provider wants.
fn take_parameters(
    cx: &Checker<'_>,
    at: &Path,
    provider: &Provider,
    given: Parameters,
) -> Option<Parameters> {
    let wanted = provider.parameters();
    let mut fine = true;
    for name in given.keys().filter(|name| !wanted.contains_key(*name)) {
        let message = format!("{} has no such parameter", provider.name());
        let problem =
            Problem::error("unknown-parameter", at.field("parameters").field(name), message).on_key();
        let help = karez_api::suggest::help(name, wanted.keys().map(String::as_str), "there are");
        cx.report(Problem { help, ..problem });
        fine = false;
    }
    for (name, what) in wanted {
        let empty = match given.get(name) {
            Some(values) => values.list.is_empty() || values.list.iter().any(String::is_empty),
            None => true,
        };
        if empty {
            let message = format!("`parameters` lacks {name}: {what}");
            let help = format!("add parameters: {{{name}: …}} beside it");
            cx.report(Problem::error("missing-parameter", at.field("provider"), message).help(help));
            fine = false;
        }
    }
    fine.then_some(given)
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
