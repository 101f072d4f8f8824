//! What a file says of an API that is read: data only.

use std::collections::BTreeMap;

use karez_api::{Duration, Json, JsonMap};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

use super::decode::Format;
use super::graphql::OnErrors;
use crate::http::present;

/// Reads an API: page by page, window by window, stream by stream.
#[derive(Debug)]
pub(crate) struct ApiSpec {
    pub(super) shared: Shared<StreamSpec>,
    /// Where there are no `streams`, the keys of the one stream stand beside the others.
    pub(super) single: StreamSpec,
}

/// What all streams of a source have in common.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound = "S: Deserialize<'de>")]
pub(super) struct Shared<S> {
    /// Where the API is, like `https://api.example.com/v1`; `path` goes behind it.
    pub(super) url: Option<String>,
    /// A connection of a shared file, in place of `url`: its address, credentials, limits and headers.
    pub(super) connection: Option<String>,
    /// Networks that are not public and may be called all the same, like `10.0.0.0/8`. Beside `url` only.
    #[serde(default)]
    pub(super) allow_private: Vec<String>,
    /// Several streams, by name. One alone may stand without a name, its keys beside `connection`.
    #[serde(default)]
    pub(super) streams: BTreeMap<String, S>,
    /// The streams whose records come out. Default: those that are nobody's parent.
    #[serde(default)]
    pub(super) emit: Vec<String>,
    /// How many partitions (records of a parent stream) are read at once, 1 to 64. Default: 4.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 64))]
    pub(super) parallel: usize,
}

fn four() -> usize {
    4
}

/// One list of an API. Its expressions see the request that is made: `parent`, `window`, `page` and `job`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StreamSpec {
    /// Default: GET, or POST for one with a body.
    pub(super) method: Option<String>,
    /// Behind the connection's address, like `/projects/{{parent.id}}/issues`.
    #[schemars(extend("x-karez-kind" = "text"))]
    pub(super) path: Option<String>,
    /// Query parameters, like `{since: "{{window.from}}"}`; null and what matches nothing are left out.
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) query: BTreeMap<String, Json>,
    #[schemars(extend("x-karez-kind" = "text"))]
    pub(super) headers: BTreeMap<String, String>,
    /// Sent as JSON.
    #[serde(deserialize_with = "present")]
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) body: Option<Json>,
    /// Sent as `application/x-www-form-urlencoded`.
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) form: BTreeMap<String, Json>,
    /// What an answer is. Default: `json`.
    pub(super) format: Option<Format>,
    /// The answer's body is a gzip file. What `Content-Encoding` says needs no setting.
    pub(super) gzip: bool,
    /// Where the list of records is in an answer (JSONPath). Default: `$`, the answer itself.
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) records: Option<String>,
    /// Fields that identify a record, like `[id]`.
    pub(super) key: Vec<String>,
    /// How the next page is asked for. Default: there is one page.
    pub(super) page: Option<PageSpec>,
    /// Most pages of one window of one partition; more is an error. Default: 100000.
    #[schemars(range(min = 1))]
    pub(super) max_pages: Option<u64>,
    /// What is new since the last run. Default: every run reads everything.
    pub(super) incremental: Option<IncrementalSpec>,
    /// Answers that mean something else than their status says; the first that fits counts.
    pub(super) errors: Vec<RuleSpec>,
    /// What a run has to bring; one that does not is suspicious, and the next begins where it began.
    pub(super) expect: Option<ExpectSpec>,
    /// Read once for each record of another stream: its name, `{stream, key, when, changed_only}`, or `{values: […]}`.
    pub(super) for_each: Option<Json>,
    /// A report that is made there first; the stream's own request downloads it.
    pub(super) job: Option<JobSpec>,
    /// Of a GraphQL query.
    #[serde(skip)]
    pub(super) on_errors: Option<OnErrors>,
}

/// How the next page is asked for: one of `cursor`, `number`, `offset`, `link` and `next_url`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PageSpec {
    /// What an answer says of the next page: a pick in its body, `{header: NAME}`, or `{last: PICK}` in its last record.
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) cursor: Option<Json>,
    /// Pages are numbered.
    pub(super) number: Option<NumberSpec>,
    /// Records are skipped.
    pub(super) offset: Option<OffsetSpec>,
    /// The relation of a `Link` header (RFC 8288), usually `next`.
    pub(super) link: Option<String>,
    /// The whole address of the next page, in the answer's body; only where it is the same host's.
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) next_url: Option<String>,
    /// The first cursor, where the API wants one (`*`). Default: the first page is asked for without.
    pub(super) start: Option<Json>,
    /// Where cursor, number or offset go: `query.NAME`, `header.NAME`, `form.NAME` or `body.$.PATH`.
    pub(super) into: Option<String>,
    /// Where the size goes, as `into`.
    pub(super) size_into: Option<String>,
    /// There is another page only where this holds for the answer: a condition, or a pick that yields true.
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) more: Option<Json>,
    /// Of a GraphQL query: the connection, and the size of a page.
    #[serde(skip)]
    pub(super) relay: Option<(String, Option<u64>)>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NumberSpec {
    /// The first page. Default: 1.
    #[serde(default = "one")]
    pub(super) from: u64,
    /// Records of a page; one with fewer is the last. Default: only one without records is.
    #[schemars(range(min = 1))]
    pub(super) size: Option<u64>,
    /// How many pages there are, in the answer's body.
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) total: Option<String>,
}

fn one() -> u64 {
    1
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OffsetSpec {
    /// Records of a page.
    #[schemars(range(min = 1))]
    pub(super) size: u64,
    /// The first offset. Default: 0.
    #[serde(default)]
    pub(super) from: u64,
    /// How many records there are, in the answer's body.
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) total: Option<String>,
}

/// What is new since the last run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IncrementalSpec {
    /// When a record changed, or a number that grows, like `$.updated_at`.
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) cursor: Json,
    /// Where the first run begins, like `2024-01-01`. Default: at the beginning, without `window.from`.
    #[serde(default)]
    pub(super) start: Option<Json>,
    /// Length of a window, like `7d`: a long history is read in parts. Default: one window for each run.
    #[serde(default)]
    pub(super) step: Option<Duration>,
    /// Read again before the place that was reached: for records that appear late. Default: 0.
    #[serde(default)]
    pub(super) lookback: Option<Duration>,
    /// How the API sorts: `asc`, `desc` (newest first) or `none`. What is said is checked. Default: `none`.
    #[serde(default)]
    pub(super) order: Order,
    /// How long the API keeps what changed. A place that is older is given up: everything is read again.
    #[serde(default)]
    pub(super) retention: Option<Duration>,
    /// What changed more recently than this may still be joined by something earlier, so the next run reads it
    /// again; what was seen is not repeated. Default: 60s.
    #[serde(default)]
    pub(super) safety_lag: Option<Duration>,
    /// How the cursor is written: `rfc3339`, `rfc3339_ms`, `epoch`, `epoch_ms`, `date`, a pattern like
    /// `%Y-%m-%d %H:%M:%S` (strftime), `integer` for a number that grows, or `text`. Default: `rfc3339`.
    #[serde(default)]
    pub(super) format: Option<String>,
    /// Who leaves out what is not in the window: `server`, or `client` where the API cannot. Default: `server` where
    /// an expression of the request names `window`.
    #[serde(default)]
    pub(super) filter: Option<Filter>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    Asc,
    Desc,
    #[default]
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Filter {
    Server,
    Client,
}

/// An answer that means something else than its status says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleSpec {
    /// Statuses that it is about, like `[403]`. Default: any.
    #[serde(default)]
    pub(super) status: Vec<u16>,
    /// A header that must be there, like `X-Error: expired`; a value matches whole.
    #[serde(default)]
    pub(super) header: BTreeMap<String, String>,
    /// A pick in the answer's body that must yield something, like `$.error.code`.
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) body: Option<String>,
    /// What the pick must yield: one of these. Default: anything but null and false.
    #[serde(default)]
    pub(super) is: Vec<Json>,
    /// What is done.
    #[serde(rename = "do")]
    pub(super) action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    /// The far end failed: try again.
    Retry,
    /// There is nothing here: as a page without records, the last one.
    Ignore,
    /// This partition cannot be read now: it is left out, and read from where it was left by the next run.
    SkipPartition,
    /// The run ends here.
    Fail,
    /// Too many requests: wait.
    Throttle,
    /// The credentials are renewed once and the request is sent again.
    RefreshAuth,
}

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExpectSpec {
    /// Records that a run has to read at least.
    pub(super) min_records: u64,
    /// How far below the middle of the last ten runs it may be, in percent.
    #[schemars(range(min = 0, max = 100))]
    pub(super) max_drop_pct: Option<u8>,
}

/// A report that is made there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JobSpec {
    /// Orders it. Its answer is `job` from then on.
    pub(super) create: CallSpec,
    /// Asks how far it is. Each answer replaces `job`.
    pub(super) poll: PollSpec,
    /// Calls it off where it took too long.
    #[serde(default)]
    pub(super) abort: Option<CallSpec>,
    /// Hosts beside the API's own that it may be fetched from, like `*.s3.amazonaws.com`, where an answer gives the
    /// whole address (`path: "{{job.url}}"`): by https like the API itself, and without credentials, headers and
    /// parameters of ours.
    #[serde(default)]
    pub(super) hosts: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CallSpec {
    /// Default: POST.
    #[serde(default)]
    pub(super) method: Option<String>,
    #[schemars(extend("x-karez-kind" = "text"))]
    pub(super) path: String,
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) query: BTreeMap<String, Json>,
    /// Sent as JSON.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) body: Option<Json>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PollSpec {
    /// Like `/reports/{{job.id}}`.
    #[schemars(extend("x-karez-kind" = "text"))]
    pub(super) path: String,
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(super) query: BTreeMap<String, Json>,
    /// Default: 5s.
    #[serde(default)]
    pub(super) every: Option<Duration>,
    /// How long it may take. Default: 1h.
    #[serde(default)]
    pub(super) timeout: Option<Duration>,
    /// When it is ready: a condition on the answer, like `@.status == 'done'`.
    #[schemars(extend("x-karez-kind" = "condition"))]
    pub(super) done: Json,
    /// When it has failed; it is ordered anew, three times in all.
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "condition"))]
    pub(super) failed: Option<Json>,
}

/// The names of [`Shared`]'s fields.
const SHARED: [&str; 6] = ["url", "connection", "allow_private", "streams", "emit", "parallel"];

impl<'de> Deserialize<'de> for ApiSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        apart(deserializer).map(|(shared, single)| Self { shared, single })
    }
}

impl JsonSchema for ApiSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HttpSource".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        together::<StreamSpec>(generator, "Reads an API, page by page.")
    }
}

/// What all streams have in common, and the keys of the one stream that stand beside it.
pub(super) fn apart<'de, S: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<(Shared<S>, S), D::Error> {
    let fields = JsonMap::deserialize(deserializer)?;
    let (shared, single): (JsonMap, JsonMap) =
        fields.into_iter().partition(|(name, _)| SHARED.contains(&name.as_str()));
    Ok((
        serde_json::from_value(shared.into()).map_err(D::Error::custom)?,
        serde_json::from_value(single.into()).map_err(D::Error::custom)?,
    ))
}

/// The schema of both side by side.
pub(super) fn together<S: JsonSchema>(generator: &mut SchemaGenerator, what: &str) -> Schema {
    let mut whole = S::json_schema(generator);
    let shared = Shared::<S>::json_schema(generator);
    let named = shared.get("properties").and_then(Json::as_object).cloned().unwrap_or_default();
    if let Some(properties) = whole.ensure_object().get_mut("properties").and_then(Json::as_object_mut) {
        properties.extend(named);
    }
    whole.insert("description".into(), what.into());
    whole
}
