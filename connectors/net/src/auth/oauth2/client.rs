//! Asks an authorization server: one request, no redirects, a bounded answer in bounded time. What comes of an answer,
//! and when to ask, is decided elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use http::header::{ACCEPT, CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use karez_api::{Clock, Fault, Json, Millis, Path, Secret};
use reqwest::Url;

use super::answer::{Granted, Shape};
use super::client_auth::Proof;
use super::dpop::{DpopKey, Nonces, To, wants_nonce};
use super::keys::Keys;
use super::metadata::Metadata;
use super::params::Params;
use super::refusal::{Refusal, Said, said};
use crate::auth::Build;
use crate::auth::jose::SigningKey;
use crate::auth::saml::Saml;
use crate::spec::{BodyFormat, OAuth2, TokenRequest};
use crate::transport::Carrier;
use crate::{Effect, Request, Response};

/// Most bytes of an answer.
pub(crate) const LIMIT: usize = 1 << 20;
/// Longest time for one question.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// `Date` has whole seconds and answers travel: less than this is no difference between clocks.
const NO_SKEW: i64 = 2_000;
const SKEW_TO_WARN_OF: i64 = 30_000;

pub(crate) struct Client {
    pub(crate) name: Arc<str>,
    pub(crate) spec: OAuth2,
    /// What stands for `{name}` in addresses.
    pub(crate) params: BTreeMap<String, String>,
    pub(super) is_certified: bool,
    pub(crate) carrier: Arc<dyn Carrier>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shape: Shape,
    pub(crate) metadata: Metadata,
    pub(crate) keys: Keys,
    pub(crate) nonces: Nonces,
    /// The key of `assertion`.
    pub(crate) assertion_key: Option<SigningKey>,
    pub(crate) saml: Option<Saml>,
    proof: Proof,
    /// How far the server's clock is ahead of ours, in milliseconds.
    skew: AtomicI64,
}

/// An answer, and when it was asked for.
pub(crate) struct Asked {
    pub(crate) answer: Response,
    pub(crate) began: Instant,
    pub(crate) began_at: Millis,
}

/// What was granted, and when it was asked for.
pub(crate) struct Fresh {
    pub(crate) granted: Granted,
    pub(crate) began: Instant,
}

impl Client {
    /// # Errors
    /// The settings cannot be used; a check would have told.
    pub(crate) fn new(spec: OAuth2, cx: &Build) -> Result<Self, Fault> {
        let wrong = |what: String| Fault::fatal(format!("connection {} cannot be used: {what}", cx.name));
        let mut problems = Vec::new();
        let shape = Shape::compile(&spec, &Path::root(), &mut problems);
        if let Some(problem) = problems.first() {
            return Err(wrong(format!("{}: {}", problem.at, problem.message)));
        }
        let key = |assertion: &crate::spec::Assertion| {
            SigningKey::read(assertion.jwt.algorithm, &assertion.jwt.key)
        };
        Ok(Self {
            shape,
            metadata: Metadata::new(spec.issuer.clone()),
            keys: Keys::default(),
            nonces: Nonces::default(),
            assertion_key: spec.assertion.as_ref().map(key).transpose().map_err(wrong)?,
            saml: spec.saml.as_ref().map(Saml::read).transpose().map_err(wrong)?,
            proof: Proof::new(&spec).map_err(wrong)?,
            skew: AtomicI64::new(0),
            params: cx.params.clone(),
            is_certified: cx.is_certified,
            name: Arc::clone(&cx.name),
            spec,
            carrier: Arc::clone(&cx.carrier),
            clock: Arc::clone(&cx.clock),
        })
    }

    /// The time on the server's clock.
    pub(crate) fn there(&self) -> Millis {
        self.shifted(self.clock.now())
    }

    fn shifted(&self, at: Millis) -> Millis {
        Millis(at.0.saturating_add_signed(self.skew.load(Ordering::Relaxed)))
    }

    /// Asks for tokens as the file says that this server wants to be asked.
    ///
    /// # Errors
    /// None came; why says who can help.
    pub(crate) async fn tokens(
        &self,
        url: Url,
        params: Params,
        dpop: Option<&DpopKey>,
    ) -> Result<Fresh, Refusal> {
        let asked = self.ask(url, params, &self.spec.token_request, dpop).await?;
        self.read(asked)
    }

    /// # Errors
    /// It is no token.
    pub(crate) fn read(&self, asked: Asked) -> Result<Fresh, Refusal> {
        let there = self.shifted(asked.began_at);
        let granted = self.shape.read(&asked.answer, asked.began_at, there)?;
        Ok(Fresh { granted, began: asked.began })
    }

    /// Asks one of the other endpoints, which take forms.
    ///
    /// # Errors
    /// It could not be asked. Any status is an answer.
    pub(crate) async fn form(
        &self,
        url: Url,
        params: Params,
        dpop: Option<&DpopKey>,
    ) -> Result<Asked, Refusal> {
        self.ask(url, params, &TokenRequest::default(), dpop).await
    }

    /// # Errors
    /// It could not be asked. Any status is an answer.
    pub(crate) async fn get(&self, url: Url) -> Result<Asked, Refusal> {
        let mut request = Request::new(Method::GET, url);
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        self.send(&request).await
    }

    async fn ask(
        &self,
        url: Url,
        mut params: Params,
        how: &TokenRequest,
        dpop: Option<&DpopKey>,
    ) -> Result<Asked, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let audience = self.spec.issuer.as_deref().unwrap_or(url.as_str()).to_owned();
        let passing = |fault| Refusal::passing(fault, Effect::None);
        self.proof.put(&mut params, &mut headers, &audience, self.there()).map_err(passing)?;
        let mut secrets = params.secrets();
        secrets.extend(self.spec.client_secret.clone());
        let mut request = written(url, params.renamed(&self.spec.rename), how);
        headers.extend(std::mem::take(&mut request.headers));
        headers.extend(self::headers(&how.headers).map_err(passing)?);
        request.headers = headers;
        let mut asked = self.proved(&mut request, dpop).await?;
        if dpop.is_some() && wants_nonce(&asked.answer) {
            asked = self.proved(&mut request, dpop).await?;
        }
        asked.answer.body = scrubbed(&asked.answer, &secrets);
        Ok(asked)
    }

    async fn proved(&self, request: &mut Request, dpop: Option<&DpopKey>) -> Result<Asked, Refusal> {
        if let Some(key) = dpop {
            let nonce = self.nonces.of(&request.url);
            let to = To { method: &request.method, url: &request.url, nonce: nonce.as_deref() };
            let proof = key.proof(to, None, self.there());
            let proof = proof.map_err(|fault| Refusal::passing(fault, Effect::None))?;
            request.headers.insert("dpop", proof);
        }
        let asked = self.send(request).await?;
        if dpop.is_some() {
            self.nonces.learn(&request.url, &asked.answer.headers);
        }
        Ok(asked)
    }

    pub(crate) async fn send(&self, request: &Request) -> Result<Asked, Refusal> {
        let (began, began_at) = (self.clock.instant(), self.clock.now());
        let answer = tokio::select! {
            answer = self.carrier.send(request.clone(), LIMIT) => answer?,
            () = self.clock.sleep(TIMEOUT) => {
                let host = request.url.host_str().unwrap_or_default();
                let fault = Fault::connection(format!("{host} gave no answer within {}s", TIMEOUT.as_secs()));
                return Err(Refusal::passing(fault, Effect::Unknown));
            }
        };
        self.compare_clocks(&answer, began);
        Ok(Asked { answer, began, began_at })
    }

    fn compare_clocks(&self, answer: &Response, began: Instant) {
        let date = answer.headers.get(DATE).and_then(|date| date.to_str().ok());
        let Some(date) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
            return;
        };
        let Ok(date) = date.duration_since(std::time::UNIX_EPOCH) else {
            return;
        };
        let halfway = self.clock.instant().saturating_duration_since(began) / 2;
        let here = Duration::from_millis(self.clock.now().0).saturating_sub(halfway);
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let skew = millis(date).saturating_add(500).saturating_sub(millis(here));
        let skew = if skew.abs() < NO_SKEW { 0 } else { skew };
        let before = self.skew.swap(skew, Ordering::Relaxed);
        if skew.abs() > SKEW_TO_WARN_OF && before.abs() <= SKEW_TO_WARN_OF {
            let seconds = skew / 1_000;
            tracing::warn!(connection = %self.name, seconds, "the authorization server's clock differs from ours");
        }
    }
}

/// A request with parameters where this server wants them.
fn written(mut url: Url, params: Params, how: &TokenRequest) -> Request {
    let method = how.method.as_deref().and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    let method = method.unwrap_or(Method::POST);
    let in_query = how.body == BodyFormat::Query || method == Method::GET;
    let (kind, body) = match how.body {
        _ if in_query => (None, String::new()),
        BodyFormat::Json => (Some("application/json"), params.json()),
        _ => (Some("application/x-www-form-urlencoded"), params.form()),
    };
    if in_query {
        params.append_to(&mut url);
    }
    let mut request = Request::new(method, url);
    request.body = body.into();
    if let Some(kind) = kind {
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    request
}

pub(crate) fn headers(said: &BTreeMap<String, String>) -> Result<HeaderMap, Fault> {
    let header = |(name, value): (&String, &String)| {
        let name = HeaderName::try_from(name).ok()?;
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    };
    let all: Option<HeaderMap> = said.iter().map(header).collect();
    all.ok_or_else(|| Fault::fatal("`token_request.headers` holds something that is no header"))
}

/// Some servers repeat in an error what they were sent; that goes no further.
fn scrubbed(answer: &Response, secrets: &[Secret]) -> bytes::Bytes {
    let has = |secret: &Secret| memchr::memmem::find(&answer.body, secret.expose().as_bytes()).is_some();
    if answer.status.is_success() || !secrets.iter().any(has) {
        return answer.body.clone();
    }
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    secrets.iter().fold(text, |text, secret| text.replace(secret.expose(), "[redacted]")).into()
}

/// An answer as JSON, or what it refuses.
///
/// # Errors
/// It is no success, or no JSON.
pub(crate) fn json(asked: &Asked) -> Result<Json, Refusal> {
    let body = karez_api::parse_json(&asked.answer.body).ok();
    match (body, asked.answer.status.is_success()) {
        (Some(body), true) => Ok(body),
        (body, _) => {
            let said: Option<Said> = body.as_ref().and_then(said);
            Err(Refusal::judge(&asked.answer, said, asked.began_at))
        }
    }
}
