//! What a component says of its requests, compiled: the same for the `http` sink and for `enrich`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use bytes::Bytes;
use karez_api::{Checker, Escape, Fault, Json, Path, Problem, Record, Shared, Text};
use karez_net::{Connection, Reuse};

use super::body::Payload;
use super::far_end::FarEnd;
use super::target::Target;

/// Longest method, in bytes.
const LONGEST_METHOD: usize = 32;

/// The settings, wherever they stand.
pub(crate) struct Settings<'a> {
    pub(crate) url: Option<&'a str>,
    pub(crate) connection: Option<&'a str>,
    pub(crate) path: Option<&'a str>,
    pub(crate) method: &'a str,
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) query: &'a BTreeMap<String, Json>,
    pub(crate) allow_private: &'a [String],
}

/// All that a request is made of.
pub(crate) struct Request {
    pub(crate) method: Method,
    far_end: FarEnd,
    target: Target,
    headers: Vec<Header>,
    pub(super) payload: Payload,
    status_decides: bool,
}

/// A request's target and headers for one record.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    /// Path and query behind the connection's address.
    pub(crate) target: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

struct Header {
    name: HeaderName,
    value: HeaderText,
}

enum HeaderText {
    Fixed(HeaderValue),
    PerRecord(Text),
}

impl Request {
    /// Checks settings that stand at `at`; what is wrong is reported, all of it.
    pub(super) fn check(
        cx: &Checker<'_>,
        at: &Path,
        settings: &Settings<'_>,
        payload: Option<Payload>,
        status_decides: bool,
    ) -> Option<Self> {
        let place = place(cx, at, settings);
        Self::at(cx, at, place, settings, payload, status_decides)
    }

    /// As [`Request::check`], for a path behind a far end that several requests have in common.
    pub(crate) fn behind(
        cx: &Checker<'_>,
        at: &Path,
        far_end: &FarEnd,
        settings: &Settings<'_>,
    ) -> Option<Self> {
        let path = settings.path.unwrap_or_default();
        let target = Target::check(cx, &at.field("path"), path, 0, settings.query);
        let place = target.map(|target| (far_end.clone(), target));
        Self::at(cx, at, place, settings, Some(Payload::Nothing), false)
    }

    fn at(
        cx: &Checker<'_>,
        at: &Path,
        place: Option<(FarEnd, Target)>,
        settings: &Settings<'_>,
        payload: Option<Payload>,
        status_decides: bool,
    ) -> Option<Self> {
        let method = method(cx, &at.field("method"), settings.method);
        let headers = headers(cx, &at.field("headers"), settings.headers);
        let (far_end, target) = place?;
        Some(Self { method: method?, far_end, target, headers: headers?, payload: payload?, status_decides })
    }

    /// # Errors
    /// As [`FarEnd::open`].
    pub(crate) fn open(&self, shared: &Shared) -> Result<Arc<Connection>, Fault> {
        self.far_end.open(shared)
    }

    /// # Errors
    /// Class validation: the record lacks what target or headers need.
    pub(crate) fn address(&self, record: &Record) -> Result<Address, Fault> {
        let value = |header: &Header| match &header.value {
            HeaderText::Fixed(value) => Ok(value.clone()),
            HeaderText::PerRecord(text) => HeaderValue::from_str(&text.eval(record)?).map_err(|_| {
                let message = format!("header {} cannot be sent with this record's value", header.name);
                Fault::validation("bad_header", message)
            }),
        };
        let headers = self.headers.iter().map(|header| Ok((header.name.clone(), value(header)?)));
        Ok(Address { target: self.target.of(record)?, headers: headers.collect::<Result<_, Fault>>()? })
    }

    /// The request itself. Nobody but the engine tries it again.
    ///
    /// # Errors
    /// The address cannot be made, or needs what a log-in has not brought yet.
    pub(super) async fn made(
        &self,
        connection: &Connection,
        address: &Address,
        body: Bytes,
        reuse: Reuse,
    ) -> Result<karez_net::Request, Fault> {
        // Its address may be known only once somebody has logged in.
        connection.ready().await?;
        let mut headers: HeaderMap = address.headers.iter().cloned().collect();
        if let Some(media_type) = self.payload.content_type() {
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static(media_type));
        }
        Ok(karez_net::Request {
            headers,
            body,
            reuse,
            status_decides: self.status_decides,
            ..karez_net::Request::new(self.method.clone(), connection.url(&address.target)?)
        })
    }
}

fn method(cx: &Checker<'_>, at: &Path, written: &str) -> Option<Method> {
    let word = !written.is_empty()
        && written.len() <= LONGEST_METHOD
        && written.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    let found = Method::from_bytes(written.as_bytes()).ok().filter(|_| word);
    match found.filter(|method| ![Method::CONNECT, Method::TRACE].contains(method)) {
        Some(method) => Some(method),
        None => {
            let message = format!("{written:?} is not a method to send with");
            let help = "in capital letters, like POST, PUT, PATCH, DELETE or GET";
            cx.report(Problem::error("bad-method", at.clone(), message).help(help));
            None
        }
    }
}

fn place(cx: &Checker<'_>, at: &Path, settings: &Settings<'_>) -> Option<(FarEnd, Target)> {
    match (settings.url, settings.connection, settings.path) {
        (Some(url), None, None) => {
            let at = at.field("url");
            let end = super::target::host_end(cx, &at, url)?;
            let far_end = FarEnd::of_its_own(cx, &at, &url[..end], settings.allow_private);
            let target = Target::check(cx, &at, url, end, settings.query);
            Some((far_end?, target?))
        }
        (None, Some(name), path) => {
            if !settings.allow_private.is_empty() {
                let message = "the connection says which networks may be called";
                let problem = Problem::error("bad-target", at.field("allow_private"), message).on_key();
                cx.report(problem.help("move it to the connection"));
            }
            let far_end = FarEnd::named(cx, &at.field("connection"), name);
            let target = Target::check(cx, &at.field("path"), path.unwrap_or_default(), 0, settings.query);
            Some((far_end?, target?))
        }
        (url, _, _) => {
            let message = match url {
                Some(_) => "`url` stands alone, without `connection` and `path`",
                None => "it needs to be said where requests go",
            };
            let help = "set url, or connection (a name under `connections:`) with path";
            cx.report(Problem::error("bad-target", at.clone(), message).help(help));
            None
        }
    }
}

fn headers(cx: &Checker<'_>, at: &Path, own: &BTreeMap<String, String>) -> Option<Vec<Header>> {
    // All of them are checked before the first that is wrong ends it.
    let checked: Vec<_> =
        own.iter().map(|(name, setting)| one_header(cx, &at.field(name.as_str()), name, setting)).collect();
    checked.into_iter().collect()
}

fn one_header(cx: &Checker<'_>, at: &Path, name: &str, setting: &str) -> Option<Header> {
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        let message = format!("{name:?} is not a header name");
        let help = "letters, digits and `-`, like X-Tenant";
        cx.report(Problem::error("bad-header-name", at.clone(), message).on_key().help(help));
        return None;
    };
    let ours = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::TE,
        header::UPGRADE,
    ];
    if ours.contains(&parsed) {
        let message = format!("{name} is set by the client itself");
        cx.report(Problem::error("reserved-header", at.clone(), message).on_key().help("remove it"));
        return None;
    }
    let text = cx.text(at, setting, Escape::Header)?;
    let value = match text.constant().map(|fixed| HeaderValue::from_str(&fixed)) {
        None => HeaderText::PerRecord(text),
        Some(Ok(mut value)) => {
            value.set_sensitive(true);
            HeaderText::Fixed(value)
        }
        Some(Err(_)) => {
            let message = format!("the value of {name} cannot be sent in a header");
            cx.report(Problem::error("bad-header-value", at.clone(), message));
            return None;
        }
    };
    Some(Header { name: parsed, value })
}
