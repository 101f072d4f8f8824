//! A live connection: requests get what the file says of every request, go through the layers, and come
//! back as answers or as failures with a name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue};
use karez_api::{Clock, Fault, Vault};
use reqwest::Url;

use crate::address::Template;
use crate::auth;
use crate::check::Checked;
use crate::connections::Options;
use crate::layers::{Cache, Circuit, Deadline, Gate, Judge, Layers, Quotas, Retries};
use crate::metrics::Metrics;
use crate::spec::{ConnectionSpec, TlsSpec, networks};
use crate::status::ConnectionStatus;
use crate::tasks::Owned;
use crate::transport::{Carrier, Manners, Transport};
use crate::wire::Wire;
use crate::{Failure, Request, Response, Streamed};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const MAX_RESPONSE: u64 = 32 << 20;

/// A named remote system that can be called.
pub struct Connection {
    checked: Checked,
    layers: Layers,
    base: Base,
    headers: Vec<(HeaderName, Part<HeaderValue>)>,
    query: Vec<(String, Part<String>)>,
    timeout: Duration,
    auth_metrics: Arc<auth::AuthMetrics>,
    pub(crate) tasks: Arc<Owned>,
}

/// As [`Url::origin`], without copies of them.
fn is_same_origin(one: &Url, other: &Url) -> bool {
    let port = Url::port_or_known_default;
    one.scheme() == other.scheme() && one.host() == other.host() && port(one) == port(other)
}

/// What paths are put behind.
enum Base {
    /// Every request brings its whole address.
    None,
    Fixed(Url),
    /// It has values in it that come with the log-in.
    Kept(Template),
}

enum Part<T> {
    Fixed(T),
    Kept(Template),
}

impl Connection {
    /// # Errors
    /// Class fatal: what the check would have told, or the system's root certificates cannot be used.
    pub(crate) fn open(
        checked: &Checked,
        clock: &Arc<dyn Clock>,
        vault: Option<Arc<dyn Vault>>,
        options: &Options,
        lasting: Arc<dyn karez_api::Tasks>,
    ) -> Result<Self, Fault> {
        let spec = checked.spec();
        let wrong =
            |what: String| Fault::fatal(format!("connection {} cannot be used: {what}", checked.name()));
        let tasks = Arc::new(Owned::default());
        let (base, carrier, unnamed) = match &options.wire {
            Wire::Played(player) => {
                let base = player.base(checked.name()).map(base_url).transpose();
                let base = base.map_err(|what| wrong(format!("its recorded address {what}")))?;
                let own = || Base::read(spec).map_err(wrong);
                let carrier = player.carrier(checked);
                (base.map_or_else(own, |base| Ok(Base::Fixed(base)))?, Arc::clone(&carrier), carrier)
            }
            Wire::Network | Wire::Recorded(_) => {
                let [carrier, unnamed] = carriers(spec, &manners(spec, options).map_err(wrong)?, clock)?;
                (Base::read(spec).map_err(wrong)?, carrier, unnamed)
            }
        };
        let auth_metrics = Arc::new(auth::AuthMetrics::default());
        let build = auth::Build {
            name: checked.name().into(),
            base: base.fixed().cloned(),
            carrier: Arc::clone(&carrier),
            vault,
            clock: Arc::clone(clock),
            tasks: Arc::clone(&tasks) as Arc<dyn karez_api::Tasks>,
            lasting,
            metrics: Arc::clone(&auth_metrics),
            params: spec.params.clone(),
            is_certified: spec.tls.as_ref().is_some_and(|tls| tls.certificate.is_some()),
        };
        let asks = !matches!(options.wire, Wire::Played(_));
        let credentials = spec.auth.as_ref().filter(|_| asks);
        let credentials = credentials.map(|spec| auth::build(spec, build)).transpose()?;
        let carrier = match &options.wire {
            Wire::Recorded(recorder) => recorder.around(checked, base.fixed().map(Url::as_str), carrier),
            Wire::Network | Wire::Played(_) => carrier,
        };
        // What is noted or played is whole: no answer of before stands in for one.
        let keeps = matches!(options.wire, Wire::Network);
        let owner = format!("{}\n{}", checked.name(), checked.fingerprint());
        let cache =
            Cache::new(spec.cache.as_ref().filter(|_| keeps), &owner, Arc::clone(clock)).map_err(wrong)?;
        let judge = Judge::new(&spec.errors, spec.follow_redirects);
        let layers = Layers {
            name: checked.name().into(),
            carrier,
            unnamed,
            credentials,
            clock: Arc::clone(clock),
            cache,
            circuit: Circuit::new(&spec.limits.circuit.clone().unwrap_or_default()),
            quotas: Quotas::new(&spec.limits, clock.instant()),
            gate: Gate::new(spec.limits.concurrency.as_ref()),
            retries: Retries::new(),
            judge: judge
                .map_err(|(number, field, what)| wrong(format!("errors[{number}].{field} {what}")))?,
            metrics: Metrics::new(),
            limit: usize::try_from(spec.max_response.map_or(MAX_RESPONSE, |size| size.0))
                .unwrap_or(usize::MAX),
            follows: spec.follow_redirects,
        };
        // What a log-in brings is not there where nobody logs in.
        let (mut headers, mut query) = (headers(spec).map_err(wrong)?, query(spec));
        if !asks {
            headers.retain(|(_, value)| matches!(value, Part::Fixed(_)));
            query.retain(|(_, value)| matches!(value, Part::Fixed(_)));
        }
        Ok(Self {
            headers,
            query,
            timeout: spec.timeout.map_or(TIMEOUT, |timeout| timeout.0),
            checked: checked.clone(),
            layers,
            base,
            auth_metrics,
            tasks,
        })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.checked.name()
    }

    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.checked.fingerprint()
    }

    #[must_use]
    pub fn spec(&self) -> &ConnectionSpec {
        self.checked.spec()
    }

    /// Most bytes of an answer, where a request does not say otherwise.
    #[must_use]
    pub fn max_response(&self) -> u64 {
        self.layers.limit.try_into().unwrap_or(u64::MAX)
    }

    /// The address of a path, which may have a query. A whole address is fine where it has the connection's origin.
    ///
    /// # Errors
    /// Class auth: the address is not known before somebody has logged in. Class validation: it cannot be made an address.
    pub fn url(&self, path: &str) -> Result<Url, Fault> {
        let base = self.base(&self.kept())?;
        let bad = || {
            Fault::validation("bad_url", format!("the path makes no address for connection {}", self.name()))
        };
        if path.starts_with("https://") || path.starts_with("http://") {
            let url = Url::parse(path).map_err(|_| bad())?;
            self.own(base.as_ref(), &url)?;
            return Ok(url);
        }
        let Some(base) = base else {
            let message = format!("connection {} has no url, so a path alone is no address", self.name());
            return Err(Fault::validation("bad_url", message));
        };
        if path.is_empty() {
            return Ok(base);
        }
        let separator = if path.starts_with(['?', '/']) || base.path().ends_with('/') { "" } else { "/" };
        let beginning =
            base.as_str().strip_suffix(if path.starts_with('/') { "/" } else { "" }).unwrap_or(base.as_str());
        Url::parse(&format!("{beginning}{separator}{path}")).map_err(|_| bad())
    }

    /// Waits until the values of a log-in are there that [`Connection::url`] needs, where it needs any.
    ///
    /// # Errors
    /// They cannot be had now.
    pub async fn ready(&self) -> Result<(), Fault> {
        match &self.layers.credentials {
            Some(credentials) if self.is_open() => credentials.prepare().await,
            _ => Ok(()),
        }
    }

    /// Where a human logs in to it, if that is how it gets its credentials.
    #[must_use]
    pub fn account(&self) -> Option<crate::login::OAuthAccount> {
        self.layers.credentials.as_ref()?.account()
    }

    /// Calls it. The answer has a status that means success here, and a media type that was asked for.
    ///
    /// # Errors
    /// What it came to: the class of the fault, what may have been done there, and the answer if there was one.
    pub async fn call(&self, mut request: Request) -> Result<Response, Failure> {
        let deadline = self.prepared(&mut request).await?;
        self.layers.call(&request, deadline).await.map_err(Failure::named)
    }

    /// Calls it for an answer that is read while it comes: never one of before, and none that is kept. Its status and
    /// the beginning of its body are judged as those of a call are; between two pieces as much time may pass as for
    /// a call.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn stream(&self, mut request: Request) -> Result<Streamed, Failure> {
        let deadline = self.prepared(&mut request).await?;
        let begun = self.layers.begin(&request, deadline).await.map_err(Failure::named)?;
        Ok(Streamed::new(begun, self.time_for(&request), Arc::clone(&self.layers.clock), request.tally))
    }

    /// The request that shows whether the connection works, where one is known.
    ///
    /// # Errors
    /// As [`Connection::url`].
    pub fn probe(&self) -> Result<Option<Request>, Fault> {
        let Some(probe) = &self.spec().probe else { return Ok(None) };
        let method = probe.method.as_deref().unwrap_or("GET").parse();
        let method = method.map_err(|_| Fault::validation("bad_method", "the probe's method is none"))?;
        let mut request = Request::new(method, self.url(&probe.path)?);
        request.reuse = crate::Reuse::Never;
        if let Some(body) = &probe.body {
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body = body.to_string().into();
        }
        Ok(Some(request))
    }

    /// Forgets answers and quotas: the log-in was replaced or removed.
    pub async fn forget(&self) {
        self.layers.quotas.forget();
        self.layers.cache.forget().await;
    }

    #[must_use]
    pub fn status(&self) -> ConnectionStatus {
        let now = self.layers.clock.instant();
        ConnectionStatus {
            name: self.name().to_owned(),
            provider: self.spec().provider.clone(),
            url: self.base(&self.kept()).ok().flatten().map(|url| plain(&url)),
            calls: self.layers.metrics.read(),
            circuit: self.layers.circuit.state(now),
            concurrency: self.layers.gate.limit(),
            quotas: self.layers.quotas.left(now),
            auth: self.layers.credentials.as_ref().map(|credentials| credentials.status()),
            tokens: self.auth_metrics.read(),
        }
    }

    /// Makes a request what is sent of it. The time of its call, whose end comes back, runs already.
    async fn prepared(&self, request: &mut Request) -> Result<Deadline, Failure> {
        let deadline = self.layers.deadline(self.time_for(request));
        let ready = self.layers.in_time(request, &deadline, self.ready()).await?;
        ready.and_then(|()| self.prepare(request)).map_err(|fault| Failure::not_sent(fault).named())?;
        Ok(deadline)
    }

    fn time_for(&self, request: &Request) -> Duration {
        request.timeout.unwrap_or(self.timeout)
    }

    /// Puts in what the file says of every request.
    fn prepare(&self, request: &mut Request) -> Result<(), Fault> {
        let kept = self.kept();
        match &self.base {
            Base::Fixed(base) => self.own(Some(base), &request.url)?,
            _ => self.own(self.base(&kept)?.as_ref(), &request.url)?,
        }
        for (name, value) in &self.headers {
            if !request.headers.contains_key(name) {
                request.headers.insert(name.clone(), self.header(value, &kept)?);
            }
        }
        for (name, value) in &self.query {
            if !request.url.query_pairs().any(|(known, _)| known == *name) {
                let value = match value {
                    Part::Fixed(value) => value.clone(),
                    Part::Kept(template) => template.fill(&kept).map_err(|name| self.unknown(name))?,
                };
                request.url.query_pairs_mut().append_pair(name, &value);
            }
        }
        Ok(())
    }

    fn header(
        &self,
        value: &Part<HeaderValue>,
        kept: &BTreeMap<String, String>,
    ) -> Result<HeaderValue, Fault> {
        match value {
            Part::Fixed(value) => Ok(value.clone()),
            Part::Kept(template) => {
                let text = template.fill(kept).map_err(|name| self.unknown(name))?;
                sensitive(&text).ok_or_else(|| Fault::auth("a value of the log-in cannot stand in a header"))
            }
        }
    }

    /// What goes to others is not for this connection: they would learn who we are.
    fn own(&self, base: Option<&Url>, url: &Url) -> Result<(), Fault> {
        match base {
            Some(base) if !is_same_origin(base, url) => {
                let host = url.host_str().unwrap_or("nowhere");
                let message =
                    format!("{host} is not the host of connection {}, so nothing is sent there", self.name());
                Err(Fault::validation("foreign_origin", message))
            }
            _ => Ok(()),
        }
    }

    fn base(&self, kept: &BTreeMap<String, String>) -> Result<Option<Url>, Fault> {
        match &self.base {
            Base::None => Ok(None),
            Base::Fixed(url) => Ok(Some(url.clone())),
            Base::Kept(template) => {
                let told =
                    |what: String| Fault::auth(format!("the url of connection {}: {what}", self.name()));
                let text = template.fill_address(kept).map_err(told)?;
                base_url(&text).map(Some).map_err(|what| told(what.to_owned()))
            }
        }
    }

    /// Values of the file and of the log-in, where anything asks for those. The file's go first: a far end does not
    /// replace what somebody wrote.
    fn kept(&self) -> BTreeMap<String, String> {
        match &self.layers.credentials {
            _ if !self.is_open() => BTreeMap::new(),
            None => self.spec().params.clone(),
            Some(credentials) => {
                let mut known = credentials.kept();
                known.extend(self.spec().params.clone());
                known
            }
        }
    }

    /// Whether anything of it depends on the log-in.
    fn is_open(&self) -> bool {
        matches!(self.base, Base::Kept(_))
            || self.headers.iter().any(|(_, value)| matches!(value, Part::Kept(_)))
            || self.query.iter().any(|(_, value)| matches!(value, Part::Kept(_)))
    }

    fn unknown(&self, name: &str) -> Fault {
        Fault::auth(format!("{{{name}}} of connection {} is not known before a log-in", self.name()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.end();
    }
}

impl Base {
    fn read(spec: &ConnectionSpec) -> Result<Self, String> {
        let Some(text) = &spec.url else { return Ok(Self::None) };
        let template = Template::read(text);
        match template.names().iter().all(|name| spec.params.contains_key(*name)) {
            true => base_url(&template.fill_address(&spec.params)?).map(Self::Fixed).map_err(str::to_owned),
            false => Ok(Self::Kept(template)),
        }
    }

    fn fixed(&self) -> Option<&Url> {
        match self {
            Self::Fixed(url) => Some(url),
            Self::None | Self::Kept(_) => None,
        }
    }
}

/// An address that paths can be put behind.
///
/// # Errors
/// Why it is none.
pub(crate) fn base_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "cannot be read as a URL")?;
    match url.scheme() {
        "http" | "https" if !url.has_host() => return Err("names no host"),
        "http" | "https" => {}
        _ => return Err("must begin with http:// or https://"),
    }
    match () {
        () if url.query().is_some() || url.fragment().is_some() => {
            Err("must end before any ? or #, since a path goes behind it; use `query` for parameters")
        }
        () if url.password().is_some() || !url.username().is_empty() => {
            Err("must not hold a user or password; use `auth: {basic: …}`")
        }
        () => Ok(url),
    }
}

/// A value that is not shown: what a file says of every request is often a key.
pub(crate) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn headers(spec: &ConnectionSpec) -> Result<Vec<(HeaderName, Part<HeaderValue>)>, String> {
    let header = |(name, text): (&String, &String)| {
        let template = Template::read(text);
        let name: HeaderName = name.parse().map_err(|_| format!("{name:?} is not the name of a header"))?;
        let value = match template.fill(&spec.params) {
            Ok(text) => {
                Part::Fixed(sensitive(&text).ok_or_else(|| format!("header {name} has an impossible value"))?)
            }
            Err(_) => Part::Kept(template),
        };
        Ok((name, value))
    };
    spec.headers.iter().map(header).collect()
}

fn query(spec: &ConnectionSpec) -> Vec<(String, Part<String>)> {
    let parameter = |(name, text): (&String, &String)| {
        let template = Template::read(text);
        let value = template.fill(&spec.params).map(Part::Fixed);
        (name.clone(), value.unwrap_or_else(|_| Part::Kept(template.clone())))
    };
    spec.query.iter().map(parameter).collect()
}

/// What carries requests to the far end, and what carries them to others, who learn nothing of us.
fn carriers(
    spec: &ConnectionSpec,
    manners: &Manners<'_>,
    clock: &Arc<dyn Clock>,
) -> Result<[Arc<dyn Carrier>; 2], Fault> {
    let carrier: Arc<dyn Carrier> = Arc::new(Transport::new(manners, Arc::clone(clock))?);
    let tls = manners.tls.filter(|tls| tls.certificate.is_some() && spec.follow_redirects);
    let unnamed: Arc<dyn Carrier> = match tls.map(TlsSpec::without_certificate) {
        None => Arc::clone(&carrier),
        Some(tls) => {
            let manners = Manners { tls: Some(&tls), allowed: manners.allowed.clone(), ..*manners };
            Arc::new(Transport::new(&manners, Arc::clone(clock))?)
        }
    };
    Ok([carrier, unnamed])
}

fn manners<'a>(spec: &'a ConnectionSpec, options: &Options) -> Result<Manners<'a>, String> {
    let mut allowed = networks(&spec.allow_private)?;
    allowed.extend(&options.allow_private);
    Ok(Manners {
        tls: spec.tls.as_ref(),
        proxy: spec.proxy.as_ref().map(karez_api::Secret::expose),
        connect_timeout: spec.connect_timeout.map(|timeout| timeout.0),
        allowed,
    })
}

/// An address for people.
fn plain(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
