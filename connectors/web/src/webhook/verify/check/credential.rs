//! From the settings of a token, of a user or of nothing at all to what checks it.

use ::http::header;
use karez_api::{Checker, Path, Problem};

use super::super::super::header_name;
use super::super::Verifier;
use super::super::place::Place;
use super::super::secrets::empty_secret;
use super::super::spec::{BasicSpec, NoneSpec, TokenSpec};
use super::super::token::{Basic, Token};
use super::Places;
use super::place::{ambiguous_place, body_path};

impl TokenSpec {
    pub(super) fn check(self, cx: &Checker<'_>, places: &Places) -> Option<Verifier> {
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
            (None, None, Some(path)) => Place::Body(body_path(cx, &at.field("body"), path)?),
            _ => {
                cx.report(ambiguous_place(at));
                return None;
            }
        };
        let each = match &self.each {
            None => None,
            Some(path) => Some(body_path(cx, &at.field("each"), path)?),
        };
        Some(Verifier::Token(Token { place, bearer, each, tokens: tokens? }))
    }
}

impl BasicSpec {
    pub(super) fn check(self, cx: &Checker<'_>, at: &Path) -> Option<Verifier> {
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
    pub(super) fn check(self, cx: &Checker<'_>, at: &Path) -> Option<Verifier> {
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
