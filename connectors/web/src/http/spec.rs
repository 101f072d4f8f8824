//! What the `http` sink's settings say, and the plan made of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::http::{HeaderName, StatusCode};
use async_trait::async_trait;
use karez_api::{Checker, Encode, Fault, Json, Path, Problem, Shape, Sink, SinkContext, SinkPlan, SinkSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::body::{Framing, Payload};
use super::request::{Request, Settings};
use super::results::{ResultKeys, Results, Word, statuses};
use super::sink::HttpSink;

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
    /// A connection of a shared file, in place of the beginning of `url`: its address, credentials, limits and headers.
    connection: Option<String>,
    /// The path behind a connection's address, like `/users/{{id}}`. Default: nothing.
    #[schemars(extend("x-karez-kind" = "text"))]
    path: Option<String>,
    /// POST, PUT, PATCH, DELETE, GET, or what the far end knows. Default: POST.
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
    /// Networks that are not public and may be called all the same, like `10.0.0.0/8`. Beside `url` only.
    #[serde(default)]
    allow_private: Vec<String>,
    /// The header that carries the key by which the far end knows a repeated request. Default: `Idempotency-Key`.
    #[serde(default = "idempotency_key")]
    idempotency_header: String,
    /// What statuses mean here, like `{409: done, 423: retry}`.
    #[serde(default)]
    on_status: BTreeMap<String, Word>,
    /// With `batch`: how the answer tells which records were accepted. Default: its status counts for all.
    results: Option<ResultKeys>,
}

fn post() -> String {
    "POST".into()
}

fn idempotency_key() -> String {
    "Idempotency-Key".into()
}

/// Tells null from absent.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

impl SinkSpec for Http {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "Sends each record, or each batch, as an HTTP request.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SinkPlan>> {
        let root = Path::root();
        let payload = match &self.body {
            None => Some(Payload::Encoded(cx.encode)),
            Some(Json::Null) => Some(Payload::Nothing),
            Some(setting) => {
                cx.value(&root.field("body"), setting).map(|value| Payload::Value(value, cx.encode))
            }
        };
        let settings = Settings {
            url: self.url.as_deref(),
            connection: self.connection.as_deref(),
            path: self.path.as_deref(),
            method: &self.method,
            headers: &self.headers,
            query: &self.query,
            allow_private: &self.allow_private,
        };
        let request = Request::check(cx, &root, &settings, payload, self.results.is_none());
        let idempotency = self.checked_idempotency(cx);
        let on_status = statuses(cx, &root.field("on_status"), &self.on_status);
        let results = match &self.results {
            Some(keys) => Results::check(cx, &root.field("results"), keys).map(Some),
            None => Some(None),
        };
        Some(Box::new(Plan(Arc::new(Sending {
            request: request?,
            idempotency: idempotency?,
            on_status: on_status?,
            results: results?,
        }))))
    }
}

impl Http {
    fn checked_idempotency(&self, cx: &Checker<'_>) -> Option<HeaderName> {
        let found = HeaderName::from_bytes(self.idempotency_header.as_bytes()).ok();
        if found.is_none() {
            let at = Path::root().field("idempotency_header");
            let message = format!("{:?} is not a header name", self.idempotency_header);
            cx.report(Problem::error("bad-header-name", at, message).help("like X-Request-Id"));
        }
        found
    }
}

/// Everything about a sink's requests and what their answers mean.
pub(super) struct Sending {
    pub(super) request: Request,
    pub(super) idempotency: HeaderName,
    pub(super) on_status: Vec<(StatusCode, Word)>,
    pub(super) results: Option<Results>,
}

struct Plan(Arc<Sending>);

#[async_trait]
impl SinkPlan for Plan {
    fn shape(&self, batched: bool) -> Shape {
        match self.0.request.payload.framing() {
            Some(_) if batched => Shape::Batch { atomic: false, max: LARGEST_BATCH },
            _ => Shape::Single,
        }
    }
    fn default_concurrency(&self) -> usize {
        CONCURRENCY
    }
    async fn open(&self, cx: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        let framing = match self.0.request.payload {
            // One line is NDJSON too, batch or not.
            Payload::Encoded(Encode::Ndjson) | Payload::Value(_, Encode::Ndjson) => Framing::Lines,
            _ if cx.batched => self.0.request.payload.framing().unwrap_or(Framing::One),
            _ => Framing::One,
        };
        let connection = self.0.request.open(&cx.shared)?;
        Ok(Box::new(HttpSink::new(Arc::clone(&self.0), framing, connection, cx)))
    }
}
