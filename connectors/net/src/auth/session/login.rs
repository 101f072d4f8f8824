//! The call that logs in, and what is read from its answer.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use karez_api::{Fault, Json, Millis, Path, Problem, Secret, parse_json};
use reqwest::Url;

use super::class_of;
use crate::auth::{expiry, fixed};
use crate::pick::{self, Pick, Seen};
use crate::spec::{ExpiryFormat, Session};
use crate::told::retry_after;
use crate::transport::Carrier;
use crate::{Request, Response, Reuse};

/// Most bytes of an answer that are read.
const LARGEST: usize = 1 << 20;
/// Longest that a log-in may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct LogIn {
    request: Request,
    token: Pick,
    expires: Option<(Pick, ExpiryFormat)>,
    lifetime: Option<Duration>,
    keep: BTreeMap<String, Pick>,
}

/// What a log-in yields.
pub(super) struct LoggedIn {
    pub(super) token: Secret,
    pub(super) expires: Option<Millis>,
    pub(super) kept: BTreeMap<String, String>,
}

impl LogIn {
    pub(super) fn read(spec: &Session, base: Option<&Url>) -> Result<Self, String> {
        let keep = spec.keep.iter().map(|(name, pick)| Ok((name.clone(), Pick::read(pick)?)));
        Ok(Self {
            request: request(spec, base)?,
            token: Pick::read(spec.token.expose())?,
            expires: match &spec.expires {
                Some(pick) => Some((Pick::read(pick)?, spec.expires_format.unwrap_or_default())),
                None => None,
            },
            lifetime: spec.lifetime.map(|lifetime| lifetime.0),
            keep: keep.collect::<Result<_, String>>()?,
        })
    }

    /// # Errors
    /// Class auth where trying again as it is cannot help.
    pub(super) async fn call(&self, carrier: &dyn Carrier, now: Millis) -> Result<LoggedIn, Fault> {
        let answer = carrier.send(self.request.clone(), LARGEST).await.map_err(|failure| {
            let message = format!("the log-in failed: {}", failure.fault.message());
            failure.fault.clone().with_message(message)
        })?;
        if !answer.status.is_success() {
            return Err(refusal(&answer, now));
        }
        self.read_answer(&answer, now)
    }

    fn read_answer(&self, answer: &Response, now: Millis) -> Result<LoggedIn, Fault> {
        let body = parse_json(&answer.body).ok();
        let seen = Seen { body: body.as_ref(), headers: Some(&answer.headers), callback: None };
        let token = self.token.text(seen).filter(|token| !token.is_empty()).ok_or_else(|| {
            let what = match (&self.token, &body) {
                (Pick::Body(_), None) => "the log-in answered with something else than JSON",
                _ => "the log-in answered without a token where `token` looks for it",
            };
            Fault::auth(what)
        })?;
        let told = self
            .expires
            .as_ref()
            .and_then(|(pick, format)| pick.find(seen).and_then(|value| expiry::read(&value, *format, now)));
        let assumed = || {
            self.lifetime.map(|life| Millis(now.0 + u64::try_from(life.as_millis()).unwrap_or(u64::MAX / 2)))
        };
        let kept = self.keep.iter().filter_map(|(name, pick)| Some((name.clone(), pick.text(seen)?)));
        Ok(LoggedIn { token: Secret::new(token), expires: told.or_else(assumed), kept: kept.collect() })
    }
}

fn refusal(answer: &Response, now: Millis) -> Fault {
    let status = answer.status;
    let what = match status {
        status if status.is_redirection() => "a redirect, which is not followed with credentials".to_owned(),
        status => format!("status {}", status.as_u16()),
    };
    let wait = retry_after(&answer.headers, now);
    let code = match status {
        StatusCode::TOO_MANY_REQUESTS => "rate_limit".to_owned(),
        status => format!("http_{}", status.as_u16()),
    };
    Fault::new(class_of(status), code, format!("the log-in was answered with {what}")).with_retry_after(wait)
}

fn request(spec: &Session, base: Option<&Url>) -> Result<Request, String> {
    let mut headers = HeaderMap::new();
    let body = match (&spec.body, spec.form) {
        (None, _) => Bytes::new(),
        (Some(body), true) => {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_TYPE, form);
            form_of(body)?.into()
        }
        (Some(body), false) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            body.to_string().into()
        }
    };
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"));
    if let Some(basic) = &spec.basic {
        headers.insert(header::AUTHORIZATION, fixed::basic(basic)?);
    }
    for (name, value) in &spec.headers {
        let (name, value) = header_of(name, value)?;
        headers.insert(name, value);
    }
    Ok(Request { headers, body, reuse: Reuse::Never, ..Request::new(method(spec)?, address(spec, base)?) })
}

fn header_of(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let name = name.parse().map_err(|_| format!("{name:?} is not the name of a header"))?;
    let value = super::super::sensitive(value)?;
    Ok((name, value))
}

fn method(spec: &Session) -> Result<Method, String> {
    match &spec.method {
        None => Ok(Method::POST),
        Some(name) => {
            name.to_ascii_uppercase().parse().map_err(|_| format!("{name:?} is not a method of HTTP"))
        }
    }
}

/// A whole address, or a path behind the connection's.
fn address(spec: &Session, base: Option<&Url>) -> Result<Url, String> {
    if spec.url.contains("://") {
        let url: Url = spec.url.parse().map_err(|_| "it is not a URL")?;
        return match url.scheme() {
            "http" | "https" => Ok(url),
            other => Err(format!("{other} is not spoken here; http and https are")),
        };
    }
    let base = base.ok_or("a path needs the connection to have a `url`")?;
    let whole = format!("{}/{}", base.as_str().trim_end_matches('/'), spec.url.trim_start_matches('/'));
    whole.parse().map_err(|_| "it is neither a URL nor a path".into())
}

fn form_of(body: &Json) -> Result<String, String> {
    let fields = body.as_object().ok_or("a form is a map of names to values")?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        match value {
            Json::String(text) => form.append_pair(name, text),
            Json::Number(_) | Json::Bool(_) => form.append_pair(name, &value.to_string()),
            _ => return Err(format!("{name} is neither a text, nor a number, nor a boolean")),
        };
    }
    Ok(form.finish())
}

pub(super) fn check(spec: &Session, at: &Path, problems: &mut Vec<Problem>) {
    let mut tell = |field: &str, what: Option<String>, code| {
        problems.extend(what.map(|what| Problem::error(code, at.field(field), what)));
    };
    // Where a path is put behind is known when the connection opens.
    let somewhere = Url::parse("https://localhost/").ok();
    tell("url", address(spec, somewhere.as_ref()).err(), "bad-url");
    tell("method", method(spec).err(), "bad-method");
    let form = spec.body.as_ref().filter(|_| spec.form);
    tell("body", form.and_then(|body| form_of(body).err()), "bad-form");
    tell("form", (spec.form && spec.body.is_none()).then(|| "there is no `body` to send".into()), "no-body");
    let unused =
        (spec.expires_format.is_some() && spec.expires.is_none()).then(|| "it needs `expires`".into());
    tell("expires_format", unused, "unused");
    for (name, value) in &spec.headers {
        if let Err(what) = header_of(name, value) {
            problems.push(Problem::error("bad-header", at.field("headers").field(name), what));
        }
    }
    if let Some(basic) = &spec.basic {
        fixed::check_basic(basic, &at.field("basic"), problems);
    }
    check_picks(spec, at, problems);
}

fn check_picks(spec: &Session, at: &Path, problems: &mut Vec<Problem>) {
    let kept = spec.keep.iter().map(|(name, pick)| (at.field("keep").field(name), &**pick));
    let expires = spec.expires.as_deref().map(|pick| (at.field("expires"), pick));
    let token = (at.field("token"), spec.token.expose());
    for (at, text) in std::iter::once(token).chain(expires).chain(kept) {
        pick::check(text, &at, problems);
        if Pick::read(text).is_ok_and(|pick| pick.is_callback()) {
            problems.push(Problem::error("bad-pick", at, "a log-in by a call has no callback"));
        }
    }
}
