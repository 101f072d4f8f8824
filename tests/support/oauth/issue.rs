//! Which tokens there are, and what each request does to them. Knows nothing of connections.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::proof::{NONCE, proof};
use super::{Counts, Oddities};
use crate::Seen;

/// An answer before it is written.
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

impl Told {
    pub(super) fn json(status: u16, body: &Json) -> Self {
        Self { status, headers: Vec::new(), kind: "application/json", body: body.to_string() }
    }

    pub(super) fn error(status: u16, code: &str) -> Self {
        Self::json(status, &json!({"error": code, "error_description": "as the test wants it"}))
    }

    fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// What came of one log-in.
#[derive(Default)]
struct Family {
    /// The number of the refresh token that counts; those below are used up.
    current: u64,
    revoked: bool,
}

pub(super) struct Issuer {
    pub(super) oddities: Oddities,
    pub(super) counts: Counts,
    families: Vec<Family>,
    /// Until when each counts.
    access: HashMap<String, Instant>,
    /// Challenges by code.
    codes: HashMap<String, Option<String>>,
    made: u64,
}

/// Its parameters, from a form or from JSON.
pub(super) fn parameters(seen: &Seen) -> HashMap<String, String> {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match serde_json::from_slice(&seen.body) {
        Ok(Json::Object(fields)) => fields.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        _ => form(&String::from_utf8_lossy(&seen.body)),
    }
}

fn form(text: &str) -> HashMap<String, String> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

impl Issuer {
    pub(super) fn new(oddities: Oddities) -> Self {
        let (families, access, codes) = (Vec::new(), HashMap::new(), HashMap::new());
        Self { oddities, counts: Counts::default(), families, access, codes, made: 0 }
    }

    pub(super) fn log_in(&mut self) -> String {
        self.families.push(Family { current: 1, revoked: false });
        refresh_token(self.families.len() - 1, 1)
    }

    pub(super) fn expire(&mut self) {
        self.access.clear();
    }

    pub(super) fn revoke_all(&mut self) {
        self.expire();
        self.families.iter_mut().for_each(|family| family.revoked = true);
    }

    /// Somebody logged in, and agreed.
    pub(super) fn authorize(&mut self, query: &str) -> Told {
        let asked = form(query);
        self.made += 1;
        let code = format!("code-{}", self.made);
        self.codes.insert(code.clone(), asked.get("code_challenge").cloned());
        let field = |name| asked.get(name).cloned().unwrap_or_default();
        let redirect = field("redirect_uri");
        let separator = if redirect.contains('?') { '&' } else { '?' };
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", &field("state"))
            .finish();
        Told::json(302, &json!({})).header("Location", format!("{redirect}{separator}{query}"))
    }

    pub(super) fn token(&mut self, seen: &Seen) -> Told {
        if self.oddities.dpop && !proof(seen).is_some_and(|proof| proof["nonce"] == NONCE) {
            self.counts.nonces_missed += 1;
            return Told::error(400, "use_dpop_nonce").header("DPoP-Nonce", NONCE);
        }
        let asked = parameters(seen);
        match asked.get("grant_type").map(String::as_str) {
            Some("refresh_token") => self.refresh(asked.get("refresh_token").map_or("", String::as_str)),
            Some("authorization_code") => self.exchange(&asked),
            Some(_) => self.give(None),
            None => Told::error(400, "invalid_request"),
        }
    }

    fn exchange(&mut self, asked: &HashMap<String, String>) -> Told {
        let challenge = asked.get("code").and_then(|code| self.codes.remove(code));
        let verifier =
            asked.get("code_verifier").map(|verifier| URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)));
        match challenge {
            Some(challenge) if challenge == verifier => {
                self.log_in();
                self.give(Some(self.families.len() - 1))
            }
            _ => Told::error(400, "invalid_grant"),
        }
    }

    fn refresh(&mut self, token: &str) -> Told {
        let Some((number, turn)) = parts(token).filter(|(number, _)| *number < self.families.len()) else {
            return Told::error(400, "invalid_grant");
        };
        let family = &mut self.families[number];
        if family.revoked {
            return Told::error(400, "invalid_grant");
        }
        let in_grace = self.oddities.grace && turn + 1 == family.current;
        if turn != family.current && !in_grace {
            self.counts.reused += 1;
            if self.oddities.reuse_revokes {
                family.revoked = true;
                self.counts.families_revoked += 1;
                self.access.retain(|access, _| !access.starts_with(&format!("access-{number}-")));
            }
            return Told::error(400, "invalid_grant");
        }
        if self.oddities.rotates && !in_grace {
            family.current += 1;
        }
        self.counts.refreshed += 1;
        self.give(Some(number))
    }

    /// A new access token, and the refresh token of its log-in if there was one.
    fn give(&mut self, family: Option<usize>) -> Told {
        self.made += 1;
        let owner = family.map_or_else(|| "client".to_owned(), |number| number.to_string());
        let access = format!("access-{owner}-{}", self.made);
        self.access.insert(access.clone(), Instant::now() + self.oddities.lifetime);
        let kind = if self.oddities.dpop { "DPoP" } else { "Bearer" };
        let lifetime = self.oddities.lifetime;
        let lifetime =
            if self.oddities.milliseconds { lifetime.as_millis() } else { lifetime.as_secs().into() };
        let lifetime = u64::try_from(lifetime).unwrap();
        let mut tokens = json!({"access_token": access, "token_type": kind, "expires_in": lifetime});
        if let Some(number) = family {
            tokens["refresh_token"] = refresh_token(number, self.families[number].current).into();
        }
        match self.oddities.nested {
            true => Told::json(200, &json!({"ok": true, "authed_user": tokens})),
            false => Told::json(200, &tokens),
        }
    }

    pub(super) fn revoked(&mut self, seen: &Seen) -> Told {
        self.counts.revocations += 1;
        let token = parameters(seen).remove("token").unwrap_or_default();
        self.access.remove(&token);
        if let Some(family) = parts(&token).and_then(|(number, _)| self.families.get_mut(number)) {
            family.revoked = true;
        }
        Told::json(200, &json!({}))
    }

    /// The API: any path, with a token that counts.
    pub(super) fn api(&mut self, seen: &Seen) -> Told {
        let kind = if self.oddities.dpop { "DPoP" } else { "Bearer" };
        let token = seen.header("authorization").and_then(|given| given.strip_prefix(&format!("{kind} ")));
        let counts = |token: &str| self.access.get(token).is_some_and(|end| *end > Instant::now());
        let Some(token) = token.filter(|token| counts(token)) else {
            self.counts.api_refused += 1;
            let why = format!("{kind} error=\"invalid_token\"");
            return Told::error(401, "invalid_token").header("WWW-Authenticate", why);
        };
        if self.oddities.dpop && !proof(seen).is_some_and(|proof| proof["ath"] == hash(token)) {
            self.counts.api_refused += 1;
            let why = "DPoP error=\"invalid_dpop_proof\"";
            return Told::error(401, "invalid_dpop_proof").header("WWW-Authenticate", why);
        }
        self.counts.api_accepted += 1;
        Told::json(200, &json!({"token": token}))
    }
}

/// As a proof binds a token (RFC 9449 §4.2).
fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token))
}

fn refresh_token(family: usize, turn: u64) -> String {
    format!("refresh-{family}-{turn}")
}

fn parts(token: &str) -> Option<(usize, u64)> {
    let (family, turn) = token.strip_prefix("refresh-")?.split_once('-')?;
    Some((family.parse().ok()?, turn.parse().ok()?))
}

/// The longest that anything waits here.
pub(super) const LONGEST: Duration = Duration::from_secs(120);
