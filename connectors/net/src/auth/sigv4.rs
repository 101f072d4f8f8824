//! AWS Signature Version 4, as
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html> has it.

use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, header};
use karez_api::{Clock, Fault, Millis, Path, Problem, Secret};

use super::{Credentials, Stamp, encode, sensitive};
use crate::jose::Hash;
use crate::spec::AwsSigV4;
use crate::{Request, Response};

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");

pub(crate) struct SigV4Credentials {
    spec: AwsSigV4,
    token: Option<HeaderValue>,
    clock: Arc<dyn Clock>,
}

impl SigV4Credentials {
    pub(super) fn new(spec: &AwsSigV4, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let token = spec.session_token.as_ref().map(|token| sensitive(token.expose())).transpose()?;
        Ok(Self { spec: spec.clone(), token, clock })
    }

    /// S3 takes paths as they are, and wants the hash of the body in a header.
    fn is_s3(&self) -> bool {
        self.spec.service.starts_with("s3")
    }

    fn sign(&self, request: &mut Request, now: Millis) -> Result<(), String> {
        let time = amz_date(now)?;
        let date = time[..8].to_owned();
        let content = hex::encode(Hash::Sha256.digest(&request.body));
        rewrite_query(request);
        request.headers.remove(header::AUTHORIZATION);
        request.headers.insert(DATE, sensitive(&time)?);
        if let Some(token) = &self.token {
            request.headers.insert(TOKEN, token.clone());
        }
        if self.is_s3() {
            request.headers.insert(CONTENT, sensitive(&content)?);
        }
        let (headers, names) = canonical_headers(request);
        let canonical = format!(
            "{}\n{}\n{}\n{headers}\n{names}\n{content}",
            request.method.as_str(),
            self.canonical_path(request),
            canonical_query(request),
        );
        let scope = format!("{date}/{}/{}/aws4_request", self.spec.region, self.spec.service);
        let hash = hex::encode(Hash::Sha256.digest(canonical.as_bytes()));
        let signature = self.signature(&date, &format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}"));
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.spec.access_key_id
        );
        request.headers.insert(header::AUTHORIZATION, sensitive(&value)?);
        Ok(())
    }

    fn signature(&self, date: &str, to_sign: &str) -> String {
        let secret = Secret::new(format!("AWS4{}", self.spec.secret_access_key.expose()));
        let parts = [date, &self.spec.region, &self.spec.service, "aws4_request"];
        let key = parts
            .iter()
            .fold(secret.expose().as_bytes().to_vec(), |key, part| Hash::Sha256.mac(&key, part.as_bytes()));
        hex::encode(Hash::Sha256.mac(&key, to_sign.as_bytes()))
    }

    /// What is sent, encoded once more; for S3 what is meant, encoded once. Dots are resolved in a URL already.
    fn canonical_path(&self, request: &Request) -> String {
        let path = request.url.path();
        match self.is_s3() {
            true => encode::path(encode::decoded(path)),
            false => {
                let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
                let end = if parts.is_empty() || !path.ends_with('/') { "" } else { "/" };
                encode::path(format!("/{}{end}", parts.join("/")))
            }
        }
    }
}

/// `20150830T123600Z`.
fn amz_date(now: Millis) -> Result<String, String> {
    let seconds = i64::try_from(now.0 / 1_000).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).map_err(|_| "the clock is far off")?;
    Ok(time.strftime("%Y%m%dT%H%M%SZ").to_string())
}

/// Names and values, encoded, in order.
fn pairs(request: &Request) -> Vec<(String, String)> {
    let pairs = request.url.query_pairs();
    pairs.map(|(name, value)| (encode::strict(&*name), encode::strict(&*value))).collect()
}

/// What is sent is what is signed: without `+` for a space, which not all of AWS reads as one.
fn rewrite_query(request: &mut Request) {
    if request.url.query().is_none() {
        return;
    }
    let all: Vec<String> = pairs(request).iter().map(|(name, value)| format!("{name}={value}")).collect();
    request.url.set_query((!all.is_empty()).then(|| all.join("&")).as_deref());
}

fn canonical_query(request: &Request) -> String {
    let mut all = pairs(request);
    all.sort();
    let all: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    all.join("&")
}

/// The headers that are signed and their names: those that say where to and what, and all of AWS's own. Others may be
/// changed on their way.
fn canonical_headers(request: &Request) -> (String, String) {
    let host = match request.headers.get(header::HOST) {
        Some(host) => text_of(host),
        None => host_of(request),
    };
    let mut all = vec![("host".to_owned(), host)];
    for name in request.headers.keys() {
        if *name == header::CONTENT_TYPE || name.as_str().starts_with("x-amz-") {
            let values: Vec<String> = request.headers.get_all(name).iter().map(text_of).collect();
            all.push((name.as_str().to_owned(), values.join(",")));
        }
    }
    all.sort();
    let mut headers = String::new();
    for (name, value) in &all {
        // Nothing that is written to a text can fail.
        if writeln!(headers, "{name}:{value}").is_err() {
            break;
        }
    }
    let names: Vec<&str> = all.iter().map(|(name, _)| &**name).collect();
    (headers, names.join(";"))
}

fn host_of(request: &Request) -> String {
    let host = request.url.host_str().unwrap_or_default();
    request.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Spaces around it go, and of several in a row all but one.
fn text_of(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[async_trait]
impl Credentials for SigV4Credentials {
    async fn apply(&self, request: &mut Request) -> Result<Stamp, Fault> {
        self.sign(request, self.clock.now()).map_err(Fault::auth)?;
        Ok(Stamp(0))
    }

    async fn refused(&self, _stamp: Stamp, _answer: &Response) -> Result<bool, Fault> {
        Ok(false)
    }
}

pub(super) fn check(spec: &AwsSigV4, at: &Path, problems: &mut Vec<Problem>) {
    for (field, text) in
        [("access_key_id", &spec.access_key_id), ("region", &spec.region), ("service", &spec.service)]
    {
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            let what = "it has letters, digits, `-`, `_` and `.` only, and one of them at least";
            problems.push(Problem::error("bad-name", at.field(field), what));
        }
    }
    if let Some(what) = spec.session_token.as_ref().and_then(|token| sensitive(token.expose()).err()) {
        problems.push(Problem::error("bad-key", at.field("session_token"), what));
    }
}

#[cfg(test)]
mod tests;
