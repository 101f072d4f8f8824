//! The `enrich` step: asks another system about each record and puts the answer into it. What is asked
//! for twice is asked for once within a batch, and as long as `cache` says. Retries are the engine's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Method, StatusCode};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::iter;
use karez_api::{
    Body, Checker, Delivery, Encode, Escape, Fault, Json, Millis, Outcome, Path, Place, Problem, Record,
    Shape, Sink, SinkContext, SinkPlan, SinkSpec, Text, Value,
};
use karez_net::{Connection, Effect, Failure, Reuse, place};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::body::Payload;
use super::request::{Address, Request, Settings};
use super::results::as_record;
use super::spec::present;
use crate::api::{Decoder, Format, Lookup, trees};

/// Most records that are asked about in one go.
const LARGEST_BATCH: usize = 100;
/// Requests of one go at once.
const AT_ONCE: usize = 16;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Asks another system about each record and puts the answer into it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrich {
    /// What is asked, and whom. This, or `stream`.
    http: Option<Ask>,
    /// A stream of an `http` or `graphql` source of this pipeline that is asked instead, like `users`, or
    /// `SOURCE/users` where several have one: its first page is what was found.
    stream: Option<String>,
    /// What the stream's expressions see as `parent`, like `$.assignee`. Default: the record.
    #[schemars(extend("x-karez-kind" = "value"))]
    parent: Option<Json>,
    /// Where the answer is put, like `$.assignee`.
    into: String,
    /// The part of the answer that is put there, like `$.data`. Default: all of it.
    #[schemars(extend("x-karez-kind" = "value"))]
    pick: Option<Json>,
    /// How long an answer counts for records that ask the same.
    cache: Option<CacheKeys>,
    /// What happens where there is nothing to be found (404, 410, an empty answer, or a `pick` that matches nothing):
    /// `refuse` the record (default), put `null` there, or `skip`: the record goes on as it is.
    #[serde(default)]
    on_missing: OnMissing,
}

/// A request about a record.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// Where to ask, like `https://crm.example.com/users/{{id}}`. The host is fixed; path and query may hold `{{…}}`.
    #[schemars(extend("x-karez-kind" = "text"))]
    url: Option<String>,
    /// A connection of a shared file, in place of the beginning of `url`.
    connection: Option<String>,
    /// The path behind a connection's address, like `/users/{{id}}`. Default: nothing.
    #[schemars(extend("x-karez-kind" = "text"))]
    path: Option<String>,
    /// Default: GET.
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "text"))]
    headers: BTreeMap<String, String>,
    /// Query parameters to add; a list repeats its name, null and what matches nothing is left out.
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "value"))]
    query: BTreeMap<String, Json>,
    /// What is sent, as JSON. Default: nothing.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("x-karez-kind" = "value"))]
    body: Option<Json>,
    /// Networks that are not public and may be called all the same. Beside `url` only.
    #[serde(default)]
    allow_private: Vec<String>,
    /// Where a list of records is in the answer (JSONPath), as in an `http` source: that list is what was found, and
    /// one that is not there is an error. Default: the whole answer.
    #[schemars(extend("x-karez-kind" = "value"))]
    records: Option<String>,
    /// What the answer is, as in an `http` source: `csv`, `ndjson` and `xml` are lists of records. Default: `json`.
    format: Option<Format>,
}

impl Ask {
    /// The same for all that ask in the same way, in whichever pipeline: a connection's answers are kept in one place,
    /// and a user's number may be an order's, too.
    fn scope(&self) -> String {
        let asked = json!([self.method, self.url, self.path, self.headers, self.query, self.body]);
        digest(&asked)
    }

    /// With its scope.
    fn check(&self, cx: &Checker<'_>, at: &Path) -> Option<(Whom, String)> {
        let payload = match &self.body {
            None | Some(Json::Null) => Some(Payload::Nothing),
            Some(setting) => {
                cx.value(&at.field("body"), setting).map(|value| Payload::Value(value, Encode::Json))
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
        let request = Request::check(cx, at, &settings, payload, false);
        let decoder = match (&self.records, &self.format) {
            (None, None) => Some(None),
            (records, format) => {
                let format = format.as_ref().unwrap_or(&Format::Json);
                Decoder::check(cx, at, format, false, records.as_deref()).map(Some)
            }
        };
        let call = Call { request: request?, decoder: decoder? };
        Some((Whom::Http(Arc::new(call)), self.scope()))
    }
}

fn digest(asked: &Json) -> String {
    hex::encode(&Sha256::digest(asked.to_string())[..8])
}

fn get() -> String {
    "GET".into()
}

/// How long an answer counts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CacheKeys {
    /// What two records that ask the same have in common, like `{{assignee.id}}`.
    #[schemars(extend("x-karez-kind" = "text"))]
    key: String,
    /// Like `1h`.
    ttl: karez_api::Duration,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnMissing {
    #[default]
    Refuse,
    Null,
    Skip,
}

impl SinkSpec for Enrich {
    const NAME: &'static str = "enrich";
    const SUMMARY: &'static str = "Asks another system about each record and puts the answer into it.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SinkPlan>> {
        let root = Path::root();
        let whom = match (&self.http, &self.stream) {
            (Some(_), None) if self.parent.is_some() => {
                let message = "only a stream has parents";
                let problem = Problem::error("bad-target", root.field("parent"), message).on_key();
                cx.report(problem.help("the expressions of `http` see the record itself"));
                None
            }
            (Some(ask), None) => ask.check(cx, &root.field("http")),
            (None, Some(name)) => {
                let parent = self.parent.as_ref().map(|parent| cx.value(&root.field("parent"), parent));
                let lookup = Lookup::check(cx, &root.field("stream"), name);
                let parent = parent.map_or(Some(None), |parent| parent.map(Some));
                lookup.zip(parent).map(|((lookup, asked), parent)| {
                    // Who asks about something else asks something else.
                    let scope = digest(&json!([asked, self.parent]));
                    (Whom::Stream(lookup.into(), parent), scope)
                })
            }
            (http, _) => {
                let message = match http {
                    Some(_) => "takes `http` or `stream`, not both",
                    None => "it needs to be said who is asked",
                };
                let help = "set http (a request) or stream (one of a source of this pipeline)";
                cx.report(Problem::error("bad-target", root.clone(), message).help(help));
                None
            }
        };
        let into = cx.place(&root.field("into"), &self.into);
        let pick = self.pick.as_ref().map(|setting| cx.value(&root.field("pick"), setting));
        let (whom, scope) = whom.unzip();
        let cache = self.cache.as_ref().map(|keys| {
            let key = cx.text(&root.field("cache").field("key"), &keys.key, Escape::None)?;
            Some(Cached { scope: scope?, key, ttl: keys.ttl.0 })
        });
        Some(Box::new(Plan(Arc::new(Asking {
            whom: whom?,
            into: into?,
            pick: pick.map_or(Some(None), |pick| pick.map(Some))?,
            cache: cache.map_or(Some(None), |cache| cache.map(Some))?,
            on_missing: self.on_missing,
        }))))
    }
}

/// Who is asked, and for what.
enum Whom {
    Http(Arc<Call>),
    /// With what is its parent, if that is not the record.
    Stream(Arc<Lookup>, Option<Value>),
}

struct Call {
    request: Request,
    /// Where the answer is a list of records.
    decoder: Option<Decoder>,
}

/// What is asked, and what becomes of the answer.
struct Asking {
    whom: Whom,
    into: Place,
    pick: Option<Value>,
    cache: Option<Cached>,
    on_missing: OnMissing,
}

struct Cached {
    scope: String,
    key: Text,
    ttl: Duration,
}

impl Asking {
    /// What of an answer is put into the record; nothing where nothing was found.
    fn found(&self, decoder: Option<&Decoder>, answer: &Bytes, now: Millis) -> Result<Option<Json>, Fault> {
        if answer.is_empty() {
            return Ok(None);
        }
        if let Some(decoder) = decoder {
            return self.picked(trees(decoder.read(answer.clone())?.records)?.into(), now);
        }
        let tree = karez_api::parse_json(answer).map_err(|error| {
            Fault::service(format!("the answer is not JSON: {error}")).with_code("bad_answer")
        })?;
        self.picked(tree, now)
    }

    fn picked(&self, tree: Json, now: Millis) -> Result<Option<Json>, Fault> {
        match &self.pick {
            None => Ok(Some(tree)),
            Some(pick) => {
                Ok(pick.eval(&as_record(Body::from_tree(tree), now))?.filter(|value| !value.is_null()))
            }
        }
    }

    fn put(&self, record: Record, found: Option<Json>) -> Result<Record, Fault> {
        let value = match (found, self.on_missing) {
            (Some(value), _) => value,
            (None, OnMissing::Null) => Json::Null,
            (None, OnMissing::Skip) => return Ok(record),
            (None, OnMissing::Refuse) => {
                return Err(Fault::validation("missing", "there is no answer about this record"));
            }
        };
        let (body, rest) = record.into_body();
        let mut tree = body.into_tree().map_err(|error| Fault::validation("body", error))?;
        self.into.put(&mut tree, value)?;
        Ok(rest.with_body(Body::from_tree(tree)))
    }
}

struct Plan(Arc<Asking>);

#[async_trait]
impl SinkPlan for Plan {
    fn shape(&self, _: bool) -> Shape {
        // Records go on in the order of the batch, whichever answer comes first.
        Shape::Batch { atomic: true, max: LARGEST_BATCH }
    }
    fn default_concurrency(&self) -> usize {
        4
    }
    fn answered(&self, record: Record, answer: &Json) -> Result<Record, Fault> {
        let now = record.meta().received_at;
        let found = if answer.is_null() { None } else { self.0.picked(answer.clone(), now)? };
        self.0.put(record, found)
    }
    async fn open(&self, cx: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        let connection = match &self.0.whom {
            Whom::Http(call) => call.request.open(&cx.shared)?,
            Whom::Stream(lookup, _) => lookup.open(&cx.shared)?,
        };
        Ok(Box::new(EnrichSink { asking: Arc::clone(&self.0), connection, cx }))
    }
}

struct EnrichSink {
    asking: Arc<Asking>,
    connection: Arc<Connection>,
    cx: SinkContext,
}

/// One question, asked for all records that have it in common.
struct Question {
    asked: Asked,
    reuse: Reuse,
}

enum Asked {
    /// `key` is the same whenever it is asked again.
    Http {
        call: Arc<Call>,
        address: Address,
        body: Bytes,
        key: String,
    },
    Stream {
        lookup: Arc<Lookup>,
        parent: Json,
    },
}

impl EnrichSink {
    fn question(&self, record: &Record) -> Result<Question, Fault> {
        let reuse = match &self.asking.cache {
            Some(Cached { scope, key, ttl }) => {
                Reuse::For { key: format!("{scope} {}", key.eval(record)?), ttl: *ttl }
            }
            None => Reuse::Connection,
        };
        let asked = match &self.asking.whom {
            Whom::Http(call) => Asked::Http {
                call: Arc::clone(call),
                address: call.request.address(record)?,
                body: call.request.payload.of(record)?,
                key: self.cx.idempotency_key(record),
            },
            Whom::Stream(lookup, parent) => {
                let parent = match parent {
                    None => {
                        let tree = record.body().tree();
                        tree.map_err(|error| Fault::validation("body", error))?.clone()
                    }
                    Some(parent) => parent.eval(record)?.unwrap_or_default(),
                };
                Asked::Stream { lookup: Arc::clone(lookup), parent }
            }
        };
        Ok(Question { asked, reuse })
    }

    /// What the far end knows; nothing where it says that there is nothing.
    async fn ask(&self, Question { asked, reuse }: Question) -> Result<Option<Json>, Outcome> {
        let now = self.cx.clock.now();
        let unsent = |fault: Fault| match fault.class().is_transient() {
            true => Outcome::NotSent(fault),
            false => Outcome::Refused(fault),
        };
        let (call, address, body, key) = match asked {
            Asked::Http { call, address, body, key } => (call, address, body, key),
            // There is nothing to ask about.
            Asked::Stream { parent: Json::Null, .. } => return Ok(None),
            Asked::Stream { lookup, parent } => {
                let found = lookup.ask(&self.connection, &*self.cx.clock, parent, reuse).await;
                let picked = |records: Option<Vec<Json>>| match records {
                    Some(records) => self.asking.picked(records.into(), now),
                    None => Ok(None),
                };
                // It only reads: whatever went wrong, nothing was done there.
                return found.and_then(picked).map_err(unsent);
            }
        };
        let made = call.request.made(&self.connection, &address, body, reuse);
        let mut request = made.await.map_err(unsent)?;
        if ![Method::GET, Method::HEAD].contains(&request.method)
            && let Ok(key) = HeaderValue::from_str(&key)
        {
            request.headers.entry(IDEMPOTENCY_KEY).or_insert(key);
        }
        let to = place(&request.method, &request.url);
        match self.connection.call(request).await {
            Ok(answer) => self.asking.found(call.decoder.as_ref(), &answer.body, now).map_err(|fault| {
                let told = fault.clone().with_message(format!("{to}: {}", fault.message()));
                if told.class().is_transient() { Outcome::Unknown(told) } else { Outcome::Refused(told) }
            }),
            Err(failure) if tells_of_nothing(&failure) => Ok(None),
            Err(Failure { fault, .. }) if !fault.class().is_transient() => Err(Outcome::Refused(fault)),
            Err(Failure { fault, effect: Effect::None, .. }) => Err(Outcome::NotSent(fault)),
            Err(Failure { fault, .. }) => Err(Outcome::Unknown(fault)),
        }
    }
}

fn tells_of_nothing(failure: &Failure) -> bool {
    let status = failure.response.as_ref().map(|response| response.status);
    matches!(status, Some(StatusCode::NOT_FOUND | StatusCode::GONE))
}

#[async_trait]
impl Sink for EnrichSink {
    async fn deliver(&self, records: &[Record]) -> Delivery {
        let mut questions = Vec::new();
        // Which question each record has; those with one cache key have one together.
        let mut asked: Vec<Result<usize, Outcome>> = Vec::with_capacity(records.len());
        let mut by_key: HashMap<String, usize> = HashMap::new();
        for record in records {
            let question = match self.question(record) {
                Ok(question) => question,
                Err(fault) => {
                    asked.push(Err(Outcome::Refused(fault)));
                    continue;
                }
            };
            let known = match &question.reuse {
                Reuse::For { key, .. } => Some(*by_key.entry(key.clone()).or_insert(questions.len())),
                _ => None,
            };
            match known.filter(|at| *at < questions.len()) {
                Some(at) => asked.push(Ok(at)),
                None => {
                    asked.push(Ok(questions.len()));
                    questions.push(question);
                }
            }
        }
        let answers: Vec<_> =
            iter(questions.into_iter().map(|question| self.ask(question))).buffered(AT_ONCE).collect().await;
        let became = |(record, asked): (&Record, Result<usize, Outcome>)| {
            let found = match asked.and_then(|at| answers[at].clone()) {
                Ok(found) => found,
                Err(outcome) => return outcome,
            };
            self.asking.put(record.clone(), found).map_or_else(Outcome::Refused, Outcome::Became)
        };
        Delivery { each: records.iter().zip(asked).map(became).collect(), mark: None }
    }
}
