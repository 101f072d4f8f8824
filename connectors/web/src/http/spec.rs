//! What the `http` sink's settings say, and the plan made of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::http::{HeaderName, HeaderValue, Method, header};
use async_trait::async_trait;
use karez_api::{
    Checker, Encode, Escape, Fault, Json, Path, Problem, Shape, Sink, SinkContext, SinkPlan, SinkSpec, Text,
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::body::{Framing, Payload};
use super::sink::HttpSink;
use super::target::Target;
use super::{client, connection};

/// Most records in one request.
const LARGEST_BATCH: usize = 1_000;
const CONCURRENCY: usize = 16;

/// Sends records as HTTP requests.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// Where to send, like `https://crm.example.com/users/{{id}}`. The host is fixed; path and query may hold `{{…}}`.
    #[schemars(extend("x-karez-kind" = "text"))]
    url: Option<String>,
    /// A connection of a shared file, in place of the beginning of `url`: its address and headers.
    connection: Option<String>,
    /// The path behind a connection's address, like `/users/{{id}}`. Default: nothing.
    #[schemars(extend("x-karez-kind" = "text"))]
    path: Option<String>,
    /// POST, PUT, PATCH, DELETE or GET. Default: POST.
    #[serde(default = "post")]
    method: String,
    /// Headers to send; one of the same name replaces a connection's, or `Content-Type` or `Idempotency-Key`.
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "text"))]
    headers: BTreeMap<String, String>,
    /// Query parameters to add; a list repeats its name, null and what matches nothing is left out.
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "value"))]
    query: BTreeMap<String, Json>,
    /// What to send in place of the record; null sends no body. Default: the record, as `encode` says.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("x-karez-kind" = "value"))]
    body: Option<Json>,
}

fn post() -> String {
    "POST".into()
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

impl SinkSpec for Http {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "Sends each record, or each batch, as an HTTP request.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SinkPlan>> {
        let method = self.checked_method(cx);
        let payload = self.checked_body(cx);
        let (target, shared) = self.checked_target(cx).unzip();
        let headers = self.checked_headers(cx, shared.unwrap_or_default());
        Some(Box::new(Plan {
            request: Arc::new(Request {
                method: method?,
                target: target?,
                headers: headers?,
                payload: payload?,
            }),
        }))
    }
}

impl Http {
    fn checked_method(&self, cx: &Checker<'_>) -> Option<Method> {
        let known = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::GET];
        let found = known.iter().find(|method| method.as_str() == self.method).cloned();
        if found.is_none() {
            cx.report(
                Problem::error(
                    "bad-method",
                    Path::root().field("method"),
                    format!("{:?} is not a method to send with", self.method),
                )
                .help("one of POST, PUT, PATCH, DELETE, GET"),
            );
        }
        found
    }

    fn checked_body(&self, cx: &Checker<'_>) -> Option<Payload> {
        match &self.body {
            None => Some(Payload::Encoded(cx.encode)),
            Some(Json::Null) => Some(Payload::Nothing),
            Some(setting) => {
                cx.value(&Path::root().field("body"), setting).map(|value| Payload::Value(value, cx.encode))
            }
        }
    }

    /// The target, and the headers that come with its connection.
    fn checked_target(&self, cx: &Checker<'_>) -> Option<(Target, BTreeMap<String, String>)> {
        match (&self.url, &self.connection, &self.path) {
            (Some(url), None, None) => {
                Target::check(cx, None, "url", url, &self.query).map(|target| (target, BTreeMap::new()))
            }
            (None, Some(name), path) => {
                let connection = connection::find(cx, name)?;
                let path = path.as_deref().unwrap_or_default();
                let target = Target::check(cx, Some(&connection.url), "path", path, &self.query)?;
                Some((target, connection.headers))
            }
            (url, _, _) => {
                let message = match url {
                    Some(_) => "`url` stands alone, without `connection` and `path`",
                    None => "an http sink needs to know where to send",
                };
                cx.report(
                    Problem::error("bad-target", Path::root(), message)
                        .help("set url, or connection (a name under `connections:`) with path"),
                );
                None
            }
        }
    }

    fn checked_headers(&self, cx: &Checker<'_>, shared: BTreeMap<String, String>) -> Option<Vec<Header>> {
        let mut headers = Vec::new();
        for (name, value) in shared {
            let pair = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value));
            let (Ok(name), Ok(mut value)) = pair else {
                cx.report(Problem::error(
                    "bad-connection",
                    Path::root().field("connection"),
                    format!("header {name:?} of this connection cannot be sent"),
                ));
                return None;
            };
            value.set_sensitive(true);
            headers.push(Header { name, value: HeaderText::Fixed(value) });
        }
        // All of them are checked before the first that is wrong ends it.
        let own: Vec<_> = self.headers.iter().map(|(name, setting)| own_header(cx, name, setting)).collect();
        for own in own {
            let own = own?;
            headers.retain(|header: &Header| header.name != own.name);
            headers.push(own);
        }
        Some(headers)
    }
}

fn own_header(cx: &Checker<'_>, name: &str, setting: &str) -> Option<Header> {
    let at = Path::root().field("headers").field(name);
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        let message = format!("{name:?} is not a header name");
        let help = "letters, digits and `-`, like X-Tenant";
        cx.report(Problem::error("bad-header-name", at, message).on_key().help(help));
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
        cx.report(
            Problem::error("reserved-header", at, format!("{name} is set by the client itself"))
                .on_key()
                .help("remove it"),
        );
        return None;
    }
    let text = cx.text(&at, setting, Escape::Header)?;
    let value = match text.constant().map(|fixed| HeaderValue::from_str(&fixed)) {
        None => HeaderText::PerRecord(text),
        Some(Ok(mut value)) => {
            value.set_sensitive(true);
            HeaderText::Fixed(value)
        }
        Some(Err(_)) => {
            cx.report(Problem::error(
                "bad-header-value",
                at,
                format!("the value of {name} cannot be sent in a header"),
            ));
            return None;
        }
    };
    Some(Header { name: parsed, value })
}

pub(super) struct Header {
    pub(super) name: HeaderName,
    pub(super) value: HeaderText,
}

pub(super) enum HeaderText {
    Fixed(HeaderValue),
    PerRecord(Text),
}

/// All that a request is made of.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) headers: Vec<Header>,
    pub(super) payload: Payload,
}

struct Plan {
    request: Arc<Request>,
}

#[async_trait]
impl SinkPlan for Plan {
    fn shape(&self, batched: bool) -> Shape {
        match self.request.payload.framing() {
            Some(_) if batched => Shape::Batch { atomic: false, max: LARGEST_BATCH },
            _ => Shape::Single,
        }
    }
    fn default_concurrency(&self) -> usize {
        CONCURRENCY
    }
    async fn open(&self, cx: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        let framing = match self.request.payload {
            // One line is NDJSON too, batch or not.
            Payload::Encoded(Encode::Ndjson) | Payload::Value(_, Encode::Ndjson) => Framing::Lines,
            _ if cx.batched => self.request.payload.framing().unwrap_or(Framing::One),
            _ => Framing::One,
        };
        Ok(Box::new(HttpSink::new(Arc::clone(&self.request), framing, client::build()?, cx)))
    }
}
