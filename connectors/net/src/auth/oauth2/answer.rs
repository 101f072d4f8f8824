//! What stands in a token answer, wherever this server puts it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use karez_api::{Json, JsonMap, Millis, Path, Problem, Secret};

use super::expiry::remaining;
use super::refusal::{Refusal, Said, said};
use crate::Response;
use crate::pick::{Pick, Seen};
use crate::spec::{ExpiryFormat, OAuth2};

/// Where things stand, compiled from the settings.
pub(crate) struct Shape {
    access_token: Option<Pick>,
    refresh_token: Option<Pick>,
    expires: Option<Pick>,
    refresh_expires: Option<Pick>,
    scope: Option<Pick>,
    id_token: Option<Pick>,
    error: Option<Pick>,
    error_description: Option<Pick>,
    expiry: ExpiryFormat,
    keep: Vec<(String, Pick)>,
    /// GitHub's answer for an installation: `token` and `expires_at`.
    installation: bool,
}

/// What was granted.
pub(crate) struct Granted {
    pub(crate) access_token: Secret,
    pub(crate) refresh_token: Option<Secret>,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) refresh_expires_in: Option<Duration>,
    pub(crate) scope: Option<String>,
    pub(crate) id_token: Option<Secret>,
    pub(crate) kept: BTreeMap<String, String>,
}

/// Longest token that is taken: it has to fit a header.
const LONGEST_TOKEN: usize = 64 << 10;
/// Most bytes of a value that is kept.
const LONGEST_KEPT: usize = 2 << 10;

impl Shape {
    /// Problems are told with their place; what cannot be read is as if it was not said.
    pub(crate) fn compile(spec: &OAuth2, at: &Path, problems: &mut Vec<Problem>) -> Self {
        let paths = &spec.response;
        let at_paths = at.field("response");
        let mut pick = |text: &str, at: Path| {
            Pick::read(text).map_err(|what| problems.push(Problem::error("bad-pick", at, what))).ok()
        };
        let mut path = |name: &str, text: &Option<String>| pick(text.as_deref()?, at_paths.field(name));
        let mut shape = Self {
            access_token: path("access_token", &paths.access_token),
            refresh_token: path("refresh_token", &paths.refresh_token),
            expires: path("expires", &paths.expires),
            refresh_expires: path("refresh_expires", &paths.refresh_expires),
            scope: path("scope", &paths.scope),
            id_token: path("id_token", &paths.id_token),
            error: path("error", &paths.error),
            error_description: path("error_description", &paths.error_description),
            expiry: spec.expiry,
            keep: Vec::new(),
            installation: spec.assertion.as_ref().is_some_and(|a| a.installation_url.is_some()),
        };
        for (name, from) in &spec.keep {
            let kept = pick(from, at.field("keep").field(name));
            shape.keep.extend(kept.map(|kept| (name.clone(), kept)));
        }
        shape
    }

    /// # Errors
    /// It is no token, whatever its status says.
    pub(crate) fn read(&self, answer: &Response, now: Millis, there: Millis) -> Result<Granted, Refusal> {
        let refused = |said| Err(Refusal::judge(answer, said, now));
        let Some(body) = body(answer) else {
            return refused(None);
        };
        let seen = Seen { body: Some(&body), headers: Some(&answer.headers), callback: None };
        if let Some(said) = self.error(seen) {
            return refused(Some(said));
        }
        let access_token = match self.secret(&self.access_token, seen, "access_token") {
            None if self.installation => token(body.get("token").and_then(Json::as_str).map(str::to_owned)),
            found => found,
        };
        let access_token = match (access_token, answer.status.is_success()) {
            (Some(token), true) => token,
            _ => return refused(said(&body)),
        };
        let expires = self.expires.as_ref().and_then(|pick| pick.find(seen));
        Ok(Granted {
            access_token,
            refresh_token: self.secret(&self.refresh_token, seen, "refresh_token"),
            expires_in: match expires {
                Some(value) => remaining(&value, self.expiry, there),
                None => self.standard_expiry(&body, there),
            },
            refresh_expires_in: self.refresh_expiry(seen, there),
            scope: text(&self.scope, seen, "scope"),
            id_token: self.secret(&self.id_token, seen, "id_token"),
            kept: self.kept(seen),
        })
    }

    /// Values to keep that stand in what was seen, by the name that they are kept under.
    pub(crate) fn kept(&self, seen: Seen<'_>) -> BTreeMap<String, String> {
        let found = self.keep.iter().filter_map(|(name, pick)| Some((name.clone(), pick.text(seen)?)));
        found.filter(|(_, value)| value.len() <= LONGEST_KEPT).collect()
    }

    fn error(&self, seen: Seen<'_>) -> Option<Said> {
        let code = match self.error.as_ref()?.find(seen)? {
            Json::Null | Json::Bool(false) => return None,
            Json::String(text) if text.is_empty() => return None,
            Json::Number(number) if number.as_f64() == Some(0.0) => return None,
            Json::String(text) => text,
            other => other.to_string(),
        };
        let description = self.error_description.as_ref().and_then(|pick| pick.text(seen));
        Some(Said::new(&code, description.as_deref()))
    }

    fn standard_expiry(&self, body: &Json, there: Millis) -> Option<Duration> {
        match self.installation {
            true => remaining(body.get("expires_at")?, ExpiryFormat::Timestamp, there),
            false => remaining(body.get("expires_in")?, self.expiry, there),
        }
    }

    fn refresh_expiry(&self, seen: Seen<'_>, there: Millis) -> Option<Duration> {
        match self.refresh_expires.as_ref().and_then(|pick| pick.find(seen)) {
            Some(value) => remaining(&value, self.expiry, there),
            None => {
                let names = ["refresh_token_expires_in", "refresh_expires_in", "x_refresh_token_expires_in"];
                let value = names.iter().find_map(|name| seen.body?.get(name))?;
                remaining(value, ExpiryFormat::Seconds, there)
            }
        }
    }

    fn secret(&self, pick: &Option<Pick>, seen: Seen<'_>, standard: &str) -> Option<Secret> {
        token(text(pick, seen, standard))
    }
}

/// A token; an empty one is none.
fn token(text: Option<String>) -> Option<Secret> {
    text.filter(|text| !text.is_empty() && text.len() <= LONGEST_TOKEN).map(Secret::new)
}

/// What is picked, else what stands under the standard name.
fn text(pick: &Option<Pick>, seen: Seen<'_>, standard: &str) -> Option<String> {
    let picked = pick.as_ref().and_then(|pick| pick.find(seen));
    match picked.or_else(|| seen.body?.get(standard).cloned())? {
        Json::String(text) => Some(text),
        Json::Number(number) => Some(number.to_string()),
        Json::Array(list) => {
            let words: Option<Vec<&str>> = list.iter().map(Json::as_str).collect();
            words.map(|words| words.join(" "))
        }
        _ => None,
    }
}

/// JSON, or a form, which some servers answer with whatever was asked for.
fn body(answer: &Response) -> Option<Json> {
    if let Ok(body @ (Json::Object(_) | Json::Array(_))) = karez_api::parse_json(&answer.body) {
        return Some(body);
    }
    let kind = answer.headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes()).unwrap_or_default();
    let is_form = kind.starts_with(b"application/x-www-form-urlencoded") || kind.starts_with(b"text/plain");
    if !is_form || !answer.body.contains(&b'=') {
        return None;
    }
    let fields: JsonMap = form_urlencoded::parse(&answer.body)
        .take(64)
        .map(|(name, value)| (name.into_owned(), Json::String(value.into_owned())))
        .collect();
    Some(Json::Object(fields))
}
