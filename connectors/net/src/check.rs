//! What is wrong with a connection's settings, told when the file is loaded. Pure: nothing is called.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::{HeaderName, Method};
use karez_api::{Json, JsonMap, Path, Problem, Secret, suggest};
use sha2::{Digest as _, Sha256};

use crate::address::Template;
use crate::auth;
use crate::connection::{base_url, sensitive};
use crate::layers::{Judge, redis_address};
use crate::spec::{AuthSpec, ClientAuth, Concurrency, ConnectionSpec, Limits, Quota, TlsSpec};
use crate::transport;

/// Quotas of one connection.
const MOST_QUOTAS: usize = 32;
const MOST_REQUESTS: u32 = 100_000;

/// The settings of a connection, and that nothing is wrong with them.
#[derive(Debug, Clone)]
pub struct Checked(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    spec: ConnectionSpec,
    fingerprint: String,
    secrets: Vec<Secret>,
}

impl Checked {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }
    /// With what the provider fills in.
    #[must_use]
    pub fn spec(&self) -> &ConnectionSpec {
        &self.0.spec
    }
    /// The same way out, to others: with neither an address nor anything that says who we are.
    #[must_use]
    pub fn for_others(&self) -> Self {
        let Inner { name, spec, fingerprint, secrets } = &*self.0;
        let spec = ConnectionSpec {
            provider: None,
            params: BTreeMap::new(),
            url: None,
            headers: BTreeMap::new(),
            query: BTreeMap::new(),
            auth: None,
            tls: spec.tls.as_ref().map(TlsSpec::without_certificate),
            limits: Limits::default(),
            cache: None,
            errors: Vec::new(),
            probe: None,
            follow_redirects: false,
            ..spec.clone()
        };
        Self(Arc::new(Inner {
            name: format!("{name} (others)"),
            spec,
            fingerprint: format!("{fingerprint}/others"),
            secrets: secrets.clone(),
        }))
    }
    /// What of the settings nobody may see.
    pub(crate) fn secrets(&self) -> &[Secret] {
        &self.0.secrets
    }
    /// The same for the same settings, secrets included; they cannot be read from it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }
}

/// Reads a connection's settings.
///
/// # Errors
/// All that is wrong, with paths relative to the connection.
pub fn check(name: &str, settings: &Json) -> Result<Checked, Vec<Problem>> {
    let expanded = crate::provider::expand(settings)?;
    let spec = read(&expanded)?;
    let mut problems = Vec::new();
    addresses(&spec, &mut problems);
    limits(&spec.limits, &Path::root().field("limits"), &mut problems);
    rest(&spec, &mut problems);
    let proxy = spec.proxy.as_ref().map(karez_api::Secret::expose);
    transport::check(spec.tls.as_ref(), proxy, &mut problems);
    if let Some(auth) = &spec.auth {
        auth::check(auth, &Path::root().field("auth"), &mut problems);
    }
    certificate(&spec, &mut problems);
    if problems.iter().any(|problem| problem.severity == karez_api::Severity::Error) {
        return Err(problems);
    }
    let fingerprint = hex::encode(Sha256::digest(expanded.to_string()));
    let secrets = crate::scrub::secrets(&expanded);
    Ok(Checked(Arc::new(Inner { name: name.to_owned(), spec, fingerprint, secrets })))
}

/// The settings as a spec; where they are none, each field that is at fault.
fn read(settings: &Json) -> Result<ConnectionSpec, Vec<Problem>> {
    let whole = serde_json::from_value(settings.clone());
    let error = match whole {
        Ok(spec) => return Ok(spec),
        Err(error) => error,
    };
    let Json::Object(fields) = settings else {
        return Err(vec![Problem::error("bad-connection", Path::root(), "must be a map of settings")]);
    };
    let problems: Vec<Problem> = fields.iter().filter_map(|(name, value)| wrong(name, value)).collect();
    match problems.is_empty() {
        true => Err(vec![Problem::error("bad-connection", Path::root(), told(&error))]),
        false => Err(problems),
    }
}

/// What is wrong with one field: all of them may be left out, so each can be read alone.
fn wrong(name: &str, value: &Json) -> Option<Problem> {
    let alone = Json::Object(JsonMap::from_iter([(name.to_owned(), value.clone())]));
    let error = serde_json::from_value::<ConnectionSpec>(alone).err()?;
    Some(Problem::error("bad-connection", Path::root().field(name), told(&error)))
}

/// The library's words, but for those that quote a value: it may be a secret.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.starts_with("unknown field") || text.starts_with("missing field") {
        true => text,
        false => "has a value that cannot be read here".to_owned(),
    }
}

fn addresses(spec: &ConnectionSpec, problems: &mut Vec<Problem>) {
    let kept = kept(spec);
    let known: BTreeSet<&str> = spec.params.keys().map(String::as_str).chain(kept.iter().copied()).collect();
    let names = |text: &str, at: &Path, problems: &mut Vec<Problem>| {
        for name in Template::read(text).names() {
            if !known.contains(name) {
                problems.push(unknown(name, at.clone(), &known));
            }
        }
    };
    if let Some(text) = &spec.url {
        let at = Path::root().field("url");
        names(text, &at, problems);
        let template = Template::read(text);
        if template.names().iter().all(|name| spec.params.contains_key(*name))
            && let Err(what) =
                template.fill_address(&spec.params).and_then(|text| base_url(&text).map_err(str::to_owned))
        {
            problems.push(Problem::error("bad-url", at, what));
        }
    }
    for (name, text) in &spec.headers {
        let at = Path::root().field("headers").field(name);
        names(text, &at, problems);
        if name.parse::<HeaderName>().is_err() {
            problems.push(
                Problem::error("bad-header", at, format!("{name:?} is not the name of a header")).on_key(),
            );
        } else if sensitive(text).is_none() {
            problems.push(Problem::error("bad-header", at, "has characters that no header can hold"));
        }
    }
    for (name, text) in &spec.query {
        names(text, &Path::root().field("query").field(name), problems);
    }
}

/// Names of values that come with the log-in.
fn kept(spec: &ConnectionSpec) -> BTreeSet<&str> {
    match &spec.auth {
        Some(AuthSpec::OAuth2(oauth2)) => oauth2.keep.keys().map(String::as_str).collect(),
        Some(AuthSpec::Session(session)) => session.keep.keys().map(String::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

fn unknown(name: &str, at: Path, known: &BTreeSet<&str>) -> Problem {
    let problem = Problem::error("unknown-param", at, format!("nothing provides {{{name}}}"));
    let missing = || format!("put {name:?} into `params`, or keep it from the log-in (`auth.….keep`)");
    let help = match known.is_empty() {
        true => None,
        false => suggest::help(name, known.iter().copied(), "there are"),
    };
    problem.help(help.unwrap_or_else(missing))
}

fn limits(limits: &Limits, at: &Path, problems: &mut Vec<Problem>) {
    let mut report = |at: Path, message: &str| problems.push(Problem::error("bad-limit", at, message));
    if limits.quotas.len() > MOST_QUOTAS {
        report(at.field("quotas"), "has more than 32 quotas");
    }
    for (number, quota) in limits.quotas.iter().enumerate() {
        let at = at.field("quotas").index(number);
        for (field, message) in quota_faults(quota) {
            report(if field.is_empty() { at.clone() } else { at.field(field) }, message);
        }
    }
    if limits.reserve.is_some_and(|reserve| reserve > 90) {
        report(at.field("reserve"), "leaves too little: at most 90 percent");
    }
    if let Some(Concurrency::Fixed(limit)) = limits.concurrency
        && !(1..=10_000).contains(&limit)
    {
        report(at.field("concurrency"), "must be between 1 and 10000, or `adaptive`");
    }
    if let Some(circuit) = &limits.circuit {
        let at = at.field("circuit");
        if circuit.window.is_some_and(|window| !(2..=1000).contains(&window)) {
            report(at.field("window"), "must be between 2 and 1000 calls");
        }
        if circuit.failures.is_some_and(|failures| !(1..=100).contains(&failures)) {
            report(at.field("failures"), "must be between 1 and 100 percent");
        }
        if circuit.open.is_some_and(|open| open.0.is_zero()) {
            report(at.field("open"), "must be longer than 0");
        }
    }
}

fn quota_faults(quota: &Quota) -> Vec<(&'static str, &'static str)> {
    let mut faults = Vec::new();
    let requests = quota.requests.map(f64::from).or_else(|| {
        let (window, rate) = (quota.window?, quota.rate?);
        Some(window.0.as_secs_f64() / rate.interval)
    });
    match (quota.rate, quota.window, quota.requests) {
        (None, None, None) => faults.push(("", "says neither `rate` nor `window` with `requests`")),
        (_, Some(_), _) if requests.is_none() => {
            faults.push(("window", "needs `requests` beside it, or `rate`"))
        }
        (_, None, Some(_)) => faults.push(("requests", "needs `window` beside it")),
        (_, Some(window), _) if window.0.is_zero() => faults.push(("window", "must be longer than 0")),
        _ => {}
    }
    if requests.is_some_and(|requests| !(1.0..=f64::from(MOST_REQUESTS)).contains(&requests)) {
        faults.push(("window", "must have room for 1 to 100000 requests"));
    }
    if quota.window.is_some() && quota.burst.is_some() {
        faults.push(("burst", "is for buckets; a window has none"));
    }
    if quota.burst == Some(0) {
        faults.push(("burst", "must be at least 1"));
    }
    let most = requests.or(quota.burst.map(f64::from)).unwrap_or(f64::from(MOST_REQUESTS));
    if quota.cost == Some(0) || quota.cost.is_some_and(|cost| f64::from(cost) > most) {
        faults.push(("cost", "must be at least 1, and no more than there is"));
    }
    if quota.methods.iter().any(|method| !is_method(method)) {
        faults.push(("methods", "has something that is no HTTP method"));
    }
    if quota.path.as_ref().is_some_and(|path| !path.starts_with('/')) {
        faults.push(("path", "must begin with /"));
    }
    faults
}

fn rest(spec: &ConnectionSpec, problems: &mut Vec<Problem>) {
    let root = Path::root;
    for (number, text) in spec.allow_private.iter().enumerate() {
        if let Err(what) = text.parse::<karez_api::Network>() {
            problems.push(Problem::error("bad-network", root().field("allow_private").index(number), what));
        }
    }
    if let Some(Err(what)) = spec.cache.as_ref().and_then(|cache| cache.redis.as_ref()).map(redis_address) {
        problems.push(Problem::error("bad-url", root().field("cache").field("redis"), what));
    }
    if let Err((number, field, what)) = Judge::new(&spec.errors, false) {
        let at = root().field("errors").index(number).field(field);
        problems.push(Problem::error("bad-error-rule", at, what));
    }
    if spec.probe.as_ref().and_then(|probe| probe.method.as_deref()).is_some_and(|method| !is_method(method))
    {
        problems.push(Problem::error(
            "bad-method",
            root().field("probe").field("method"),
            "is no HTTP method",
        ));
    }
    for (field, time) in [("timeout", spec.timeout), ("connect_timeout", spec.connect_timeout)] {
        if time.is_some_and(|time| time.0.is_zero()) {
            problems.push(Problem::error("bad-limit", root().field(field), "must be longer than 0"));
        }
    }
    if spec.max_response.is_some_and(|size| size.0 == 0) {
        problems.push(Problem::error("bad-limit", root().field("max_response"), "must be more than 0"));
    }
}

/// Whoever proves itself by a certificate needs one.
fn certificate(spec: &ConnectionSpec, problems: &mut Vec<Problem>) {
    let Some(AuthSpec::OAuth2(oauth2)) = &spec.auth else { return };
    let is_certified = spec.tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
    if oauth2.client_auth == ClientAuth::Tls && !is_certified {
        let at = Path::root().field("auth").field("oauth2").field("client_auth");
        let what = "`tls` shows the connection's certificate, and it has none";
        problems.push(
            Problem::error("missing-field", at, what).help("put `tls: {certificate, key}` beside `auth`"),
        );
    }
}

fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic()) && text.parse::<Method>().is_ok()
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
