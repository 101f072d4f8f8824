//! From what `verify:` says to a verifier, or to what is wrong with it and where.

use ::http::header;
use karez_api::{Checker, Path, Problem, Secret};

use super::super::header_name;
use super::super::provider::{self, Provider};
use super::secrets::{Secrets, empty_secret};
use super::spec::{BasicSpec, NoneSpec, TokenSpec, Verify};
use super::token::{Basic, Token};
use super::url::PublicUrl;
use super::{Place, Verifier};

const WAYS: &str = "provider, hmac, ed25519, ecdsa, rsa, hash, token, basic, jwt";

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

    fn of_provider(at: &Path) -> Self {
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
    /// Nothing where there is no such provider, which is reported by [`Verify::check`].
    pub(in super::super) fn provider(&self) -> Option<&'static Provider> {
        provider::find(self.provider.as_deref()?)
    }

    pub(in super::super) fn verify_token(&self) -> Option<&Secret> {
        self.verify_token.as_ref()
    }

    /// The secrets as text, for handshakes that compute with them.
    pub(in super::super) fn secret_texts(&self) -> Vec<String> {
        let own = [&self.hmac, &self.hash].into_iter().flatten().find_map(|spec| spec.secret.as_ref());
        let secrets = self.secret.as_ref().or(own);
        secrets.into_iter().flat_map(Secrets::texts).map(str::to_owned).collect()
    }

    pub(in super::super) fn check(self, cx: &Checker<'_>, wanted: Wanted) -> Option<Verifier> {
        let at = Path::root().field("verify");
        let schemes = self.schemes();
        match (&self.provider, &*schemes) {
            (Some(name), []) => {
                let provider = known_provider(cx, &at, name)?;
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

    /// Asked for and given, or neither.
    fn verify_token_fits(&self, cx: &Checker<'_>, at: &Path, wanted: bool) -> Option<()> {
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
        } else if let Some(spec) = self.token {
            spec.check(cx, places)
        } else if let Some(spec) = self.jwt {
            spec.check(cx, places)
        } else if let Some(spec) = self.basic {
            spec.check(cx, &places.scheme)
        } else {
            self.none?.check(cx, &places.scheme)
        }?;
        if has_url && !matches!(&verifier, Verifier::Signed(signed) if signed.public_url.is_some()) {
            cx.scope.warn(Problem::warning(
                "needless-public-url",
                cx.at.field("public_url"),
                "the address is no part of what is signed here",
            ));
        }
        Some(verifier)
    }

    fn check_provider(
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

fn known_provider(cx: &Checker<'_>, at: &Path, name: &str) -> Option<&'static Provider> {
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

impl TokenSpec {
    fn check(self, cx: &Checker<'_>, places: &Places) -> Option<Verifier> {
        let at = &places.scheme;
        let tokens = match &self.token {
            Some(token) => token.bytes(cx, &places.secret, Default::default(), ""),
            None => {
                cx.report(empty_secret(places.secret.clone()));
                None
            }
        };
        let bearer = self.header.is_none() && self.query.is_none() && self.body.is_none();
        let place = match (&self.header, self.query, &self.body) {
            (None, None, None) => Place::Headers(vec![header::AUTHORIZATION]),
            (Some(name), None, None) => Place::Headers(vec![header_name(cx, &at.field("header"), name)?]),
            (None, Some(name), None) => Place::Query(name),
            (None, None, Some(path)) => {
                Place::Body(super::signature::body_path(cx, &at.field("body"), path)?)
            }
            _ => {
                cx.report(super::signature::ambiguous_place(at));
                return None;
            }
        };
        let each = match &self.each {
            None => None,
            Some(path) => Some(super::signature::body_path(cx, &at.field("each"), path)?),
        };
        Some(Verifier::Token(Token { place, bearer, each, tokens: tokens? }))
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
        Some(Verifier::Basic(Basic { username: self.username.into_bytes(), password: password.into() }))
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
