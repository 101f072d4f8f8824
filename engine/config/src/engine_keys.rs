//! The keys that belong to the engine: what stands beside a component's type, and at the top
//! of a file. Types only; their meaning is in `build`.

use std::num::{NonZeroU32, NonZeroUsize};

use karez_api::{Backoff, ByteSize, Decode, Duration, Encode, Json, JsonMap, Rate, Role, Schedule};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

/// The keys a node of a role may have beside its type.
pub(crate) fn of_role(role: Role) -> &'static [&'static str] {
    match role {
        Role::Source => &[
            "decode",
            "split",
            "id",
            "dedup",
            "order_by",
            "journal",
            "max_in_flight",
            "concurrency",
            "timeout",
            "retry",
            "rate_limit",
            "schedule",
        ],
        Role::Step => {
            &["id", "from", "when", "on_failure", "timeout", "concurrency", "retry", "on_error", "rate_limit"]
        }
        Role::Sink => &[
            "from",
            "when",
            "on_failure",
            "encode",
            "batch",
            "concurrency",
            "timeout",
            "retry",
            "on_error",
            "rate_limit",
        ],
    }
}

/// Keys of a step that only one has that asks another system.
pub(crate) const ASKING: [&str; 4] = ["concurrency", "retry", "on_error", "rate_limit"];

/// Roles whose nodes may have this key.
pub(crate) fn roles_of(key: &str) -> Vec<Role> {
    [Role::Source, Role::Step, Role::Sink].into_iter().filter(|role| of_role(*role).contains(&key)).collect()
}

/// Keys at the top of a pipeline that are defaults for its nodes.
pub(crate) const INHERITED: [&str; 5] = ["order_by", "dedup", "on_failure", "retry", "on_error"];

/// What the engine does for a source.
#[derive(Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SourceKeys {
    /// How bytes become records: `json`, `text` or `bytes`. Default: what suits the source.
    pub(crate) decode: Option<Decode>,
    /// One record for each item that this yields, like `$.events[*]`.
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(crate) split: Option<Json>,
    /// What identifies a record across redelivery, where the source itself has nothing.
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(crate) id: Option<Json>,
    /// Records with a key that was seen within `ttl` are answered but not delivered again.
    pub(crate) dedup: Option<DedupKeys>,
    /// Records with equal keys stay in order; different keys run in parallel.
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(crate) order_by: Option<Json>,
    /// Write records to disk before they are acknowledged. Always on where the source cannot replay.
    pub(crate) journal: Option<bool>,
    /// How much may be on its way at once; beside the only source it is the pipeline's.
    pub(crate) max_in_flight: Option<InFlightKeys>,
    /// How many chunks of its records (256 at most in each) go through the steps at once, each on a core of its own.
    /// Default: one for each core of the machine.
    pub(crate) concurrency: Option<NonZeroUsize>,
    /// How long it may take to open: to connect, to log in, to declare. Default: 30s.
    pub(crate) timeout: Option<Duration>,
    /// How often and how long to wait before the source is opened again.
    pub(crate) retry: Option<RetryKeys>,
    /// How many records may come in, like `{rate: 100/s}`; the rest waits where it comes from.
    pub(crate) rate_limit: Option<RateLimitKeys>,
    /// When a source that asks for its records asks again, like `{every: 5m}`. Default: it asks once, and ends.
    pub(crate) schedule: Option<Schedule>,
}

/// What the engine does for a step.
#[derive(Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StepKeys {
    /// Its name, for `from`. Default: its type and its place in the list.
    pub(crate) id: Option<String>,
    /// The nodes it takes records from. Default: the step before it; the first takes all sources.
    pub(crate) from: Option<Names>,
    /// Where this is false, the record passes unchanged.
    #[schemars(extend("x-karez-kind" = "condition"))]
    pub(crate) when: Option<Json>,
    /// What happens to a record that it refuses. Default: `dead_letter`.
    pub(crate) on_failure: Option<FailureKey>,
    /// How long it may take with one record; what took longer is refused. Default: no limit but that of its language.
    /// For a step that asks another system: how long one request may take. Default: 30s.
    pub(crate) timeout: Option<Duration>,
    /// `enrich`: how many batches are asked for at once.
    pub(crate) concurrency: Option<NonZeroUsize>,
    /// `enrich`: how faults of class connection and service are retried.
    pub(crate) retry: Option<RetryKeys>,
    /// `enrich`: how faults are retried, by class; nearer than `retry`.
    pub(crate) on_error: Option<OnErrorKeys>,
    /// `enrich`: how many records may be asked for, like `{rate: 10/s, key: $.tenant}`.
    pub(crate) rate_limit: Option<RateLimitKeys>,
}

/// How many records may pass in a time. What is above waits; with a key it holds back only records of its key.
#[derive(Clone, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimitKeys {
    /// Like `10/s`; up to a second's worth may go at once after a rest.
    pub(crate) rate: Rate,
    /// What the limit is counted for, like `$.tenant`. Default: all records together.
    #[serde(default)]
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(crate) key: Option<Json>,
    /// Most keys that are told apart at once; those beyond share one limit. Default: 10000.
    #[serde(default)]
    pub(crate) max_keys: Option<NonZeroUsize>,
}

/// What the engine does for a sink.
#[derive(Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SinkKeys {
    /// The nodes it takes records from. Default: the last step; all sources if there is none.
    pub(crate) from: Option<Names>,
    /// Where this is false, the record is not for this sink.
    #[schemars(extend("x-karez-kind" = "condition"))]
    pub(crate) when: Option<Json>,
    /// What happens to a record that it refuses, or whose retries are used up. Default: `dead_letter`.
    pub(crate) on_failure: Option<FailureKey>,
    /// How a record is written where the component's `body` does not say. Default: `json`.
    pub(crate) encode: Option<Encode>,
    /// Deliver several records at once.
    pub(crate) batch: Option<BatchKeys>,
    /// Deliveries at once.
    pub(crate) concurrency: Option<NonZeroUsize>,
    /// How long one delivery may take.
    pub(crate) timeout: Option<Duration>,
    /// How faults of class connection and service are retried.
    pub(crate) retry: Option<RetryKeys>,
    /// How faults are retried, by class; nearer than `retry`.
    pub(crate) on_error: Option<OnErrorKeys>,
    /// How many records may go out, like `{rate: 10/s, key: $.tenant}`.
    pub(crate) rate_limit: Option<RateLimitKeys>,
}

/// Deduplication.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DedupKeys {
    /// What two equal records have in common, like `$.id`.
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(crate) key: Json,
    /// How long a key counts. Default: 7d.
    #[serde(default)]
    pub(crate) ttl: Option<Duration>,
    /// Whether keys count per source or for the whole pipeline. Default: `source`.
    #[serde(default)]
    pub(crate) scope: ScopeKey,
}

#[derive(Clone, Copy, Default, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ScopeKey {
    #[default]
    Source,
    Pipeline,
}

/// How deliveries are grouped.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BatchKeys {
    /// Most records in a batch. Default: 500, or what the sink takes at most.
    pub(crate) records: Option<NonZeroUsize>,
    /// Most bytes in a batch. Default: 1MiB.
    pub(crate) bytes: ByteSize,
    /// How long a batch waits to become full. Default: 100ms.
    pub(crate) linger: Duration,
}

impl Default for BatchKeys {
    fn default() -> Self {
        Self {
            records: None,
            bytes: ByteSize(1 << 20),
            linger: Duration(std::time::Duration::from_millis(100)),
        }
    }
}

/// How one class of faults is retried; what is absent is as the class has it.
#[derive(Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetryKeys {
    /// How waiting grows with attempts.
    pub(crate) backoff: Option<BackoffKey>,
    /// The first wait.
    pub(crate) initial: Option<Duration>,
    /// The longest wait, `Retry-After` included.
    pub(crate) max_wait: Option<Duration>,
    /// Attempts before a record is given up, counted only while others get through.
    pub(crate) max_attempts: Option<NonZeroU32>,
    /// Age of the first failure before a record is given up in any case.
    pub(crate) max_elapsed: Option<Duration>,
}

#[derive(Clone, Copy, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BackoffKey {
    Constant,
    Linear,
    Exponential,
}

impl From<BackoffKey> for Backoff {
    fn from(key: BackoffKey) -> Self {
        match key {
            BackoffKey::Constant => Self::Constant,
            BackoffKey::Linear => Self::Linear,
            BackoffKey::Exponential => Self::Exponential,
        }
    }
}

/// How faults are retried, by class.
#[derive(Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OnErrorKeys {
    /// The far end does not accept who we are.
    pub(crate) auth: Option<ClassKeys>,
    /// The far end asks for patience.
    pub(crate) rate_limit: Option<ClassKeys>,
    /// The far end could not be reached.
    pub(crate) connection: Option<ClassKeys>,
    /// The far end failed.
    pub(crate) service: Option<ClassKeys>,
}

/// What happens to faults of one class.
#[derive(Clone, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClassKeys {
    pub(crate) retry: RetryKeys,
}

/// `dead_letter`, `drop`, `continue`, `block`, or `{to: NAME}`.
#[derive(Clone, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureKey {
    DeadLetter,
    Drop,
    Continue,
    Block,
    /// A sink, or the first step of a branch.
    To(String),
}

/// One name or a list of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    One(String),
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::String(name) => Ok(Self::One(name)),
            Json::Array(names) => names
                .into_iter()
                .map(|name| match name {
                    Json::String(name) => Ok(name),
                    _ => Err(D::Error::custom("expected a name")),
                })
                .collect::<Result<_, _>>()
                .map(Self::Many),
            _ => Err(D::Error::custom("expected a name or a list of names")),
        }
    }
}

impl JsonSchema for Names {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Names".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-karez-kind": "names",
            "oneOf": [
                {"type": "string"},
                {"type": "array", "minItems": 1, "items": {"type": "string", "x-karez-kind": "names"}}
            ]
        })
    }
}

/// A number of records, or records and bytes.
#[derive(Clone, Copy)]
pub(crate) struct InFlightKeys {
    pub(crate) records: Option<NonZeroUsize>,
    pub(crate) bytes: Option<ByteSize>,
}

/// The long form of [`InFlightKeys`].
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct InFlightMap {
    /// Records. Default: 1024.
    records: Option<NonZeroUsize>,
    /// Bytes. Default: 16MiB.
    bytes: Option<ByteSize>,
}

impl<'de> Deserialize<'de> for InFlightKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        if json.is_number() {
            let records = serde_json::from_value(json).map_err(D::Error::custom)?;
            return Ok(Self { records: Some(records), bytes: None });
        }
        let InFlightMap { records, bytes } = serde_json::from_value(json).map_err(D::Error::custom)?;
        Ok(Self { records, bytes })
    }
}

impl JsonSchema for InFlightKeys {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "InFlight".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<InFlightMap>();
        json_schema!({"oneOf": [{"type": "integer", "minimum": 1}, map]})
    }
}

/// The journal's own settings.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JournalKeys {
    /// The most that unsettled records may take on disk; beyond it senders are asked to come again. Default: 1GiB.
    pub(crate) max_bytes: ByteSize,
}

impl Default for JournalKeys {
    fn default() -> Self {
        Self { max_bytes: ByteSize(1 << 30) }
    }
}

#[derive(Clone, Copy, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UnroutedKey {
    DeadLetter,
    Drop,
}

/// What stands at the top of a pipeline file beside its nodes.
#[derive(Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TopKeys {
    /// The pipeline's name; state belongs to it. Default: the file's stem.
    pub(crate) name: Option<String>,
    /// The name it had before: journal, positions and dead letters come along.
    pub(crate) renamed_from: Option<String>,
    /// The file changes a pipeline of an earlier path instead of defining one.
    pub(crate) overlay: Option<bool>,
    /// Names for `{{@vars.…}}` and jq `$vars`.
    pub(crate) vars: Option<JsonMap>,
    /// As beside a source, for all sources.
    #[schemars(extend("x-karez-kind" = "value"))]
    pub(crate) order_by: Option<Json>,
    /// As beside a source, for all sources.
    pub(crate) dedup: Option<DedupKeys>,
    /// As beside a step or sink, for all.
    pub(crate) on_failure: Option<FailureKey>,
    /// As beside a source or sink, for all.
    pub(crate) retry: Option<RetryKeys>,
    /// As beside a sink, for all sinks.
    pub(crate) on_error: Option<OnErrorKeys>,
    /// What happens to a record that no sink wants. Default: `dead_letter`.
    pub(crate) unrouted: Option<UnroutedKey>,
    /// How much may be on its way at once. Default: 1024 records and 16MiB.
    pub(crate) max_in_flight: Option<InFlightKeys>,
    /// The journal's own settings.
    pub(crate) journal: Option<JournalKeys>,
}

/// Keys at the top that are nodes or tests.
pub(crate) const TOP_NODES: [&str; 6] = ["source", "sources", "steps", "sink", "sinks", "tests"];
