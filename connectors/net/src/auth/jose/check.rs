//! What is wrong with a token as a file describes it.

use std::time::Duration;

use karez_api::{Path, Problem};

use super::SigningKey;
use crate::spec::Jwt;

const LONGEST: Duration = Duration::from_secs(3_600);
const SHORTEST: Duration = Duration::from_secs(1);

pub(crate) fn check(jwt: &Jwt, at: &Path, problems: &mut Vec<Problem>) {
    if let Err(what) = SigningKey::read(jwt.algorithm, &jwt.key) {
        problems.push(Problem::error("bad-key", at.field("key"), what));
    }
    if !(SHORTEST..=LONGEST).contains(&jwt.lifetime()) {
        problems.push(Problem::error("bad-lifetime", at.field("lifetime"), "a token counts from 1s to 1h"));
    }
    if jwt.backdate() >= jwt.lifetime() {
        let what = "the token would have expired when it is made: backdate must be below lifetime";
        problems.push(Problem::error("bad-backdate", at.field("backdate"), what));
    }
    if jwt.header.contains_key("alg") {
        let at = at.field("header").field("alg");
        problems.push(Problem::error("twice", at, "it is what `algorithm` says").on_key());
    }
    if jwt.key_id.is_some() && jwt.header.contains_key("kid") {
        let at = at.field("header").field("kid");
        problems.push(Problem::error("twice", at, "`key_id` says it already").on_key());
    }
    let named = [
        ("iss", "issuer", &jwt.issuer),
        ("sub", "subject", &jwt.subject),
        ("aud", "audience", &jwt.audience),
    ];
    for (claim, setting, value) in named {
        if value.is_some() && jwt.claims.contains_key(claim) {
            let at = at.field("claims").field(claim);
            problems.push(Problem::error("twice", at, format!("`{setting}` says it already")).on_key());
        }
    }
}
