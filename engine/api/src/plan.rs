//! A checked pipeline: what the loader makes of a file and the runtime runs. Nothing is open yet.

use std::sync::Arc;
use std::time::Duration;

use crate::{
    Class, Condition, Decode, Encode, Json, JsonMap, Port, SinkPlan, SourcePlan, Step, Timetable, Value,
};

/// A whole pipeline.
pub struct PipelinePlan {
    pub name: Arc<str>,
    /// The file it came from, for people.
    pub file: Arc<str>,
    /// Equal fingerprints: nothing about the pipeline changed.
    pub fingerprint: u64,
    pub renamed_from: Option<String>,
    pub sources: Vec<SourceNode>,
    /// In an order in which every node comes after those it takes from.
    pub steps: Vec<StepNode>,
    pub sinks: Vec<SinkNode>,
    pub unrouted: Unrouted,
    pub max_in_flight: InFlight,
    pub journal_max_bytes: u64,
    pub tests: Vec<Test>,
}

/// How much may be on its way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    pub records: usize,
    pub bytes: usize,
}

impl Default for InFlight {
    fn default() -> Self {
        Self { records: 1_024, bytes: 16 << 20 }
    }
}

/// What happens to a record that no sink wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unrouted {
    #[default]
    DeadLetter,
    Drop,
}

pub struct SourceNode {
    pub name: Arc<str>,
    /// The component's type, for people.
    pub kind: &'static str,
    /// Equal fingerprints: the source can go on standing through a reload.
    pub fingerprint: u64,
    pub plan: Box<dyn SourcePlan>,
    pub decode: Decode,
    /// One record for each item of the list that this yields.
    pub split: Option<Value>,
    pub id: Option<Value>,
    pub dedup: Option<Dedup>,
    pub order_by: Option<Value>,
    /// Journaled before it is acknowledged: always where the source cannot replay.
    pub journal: bool,
    /// How many chunks of its records may be in the steps at once, each on a core; one for each core if not said.
    pub concurrency: Option<usize>,
    /// How long it may take to open.
    pub timeout: Duration,
    pub retry: Retry,
    /// How often a record may come in; without a key.
    pub rate_limit: Option<RateLimit>,
    /// When it asks again, if it polls; part of its fingerprint.
    pub timetable: Option<Arc<dyn Timetable>>,
}

#[derive(Clone)]
pub struct Dedup {
    pub key: Value,
    pub ttl: Duration,
    pub scope: DedupScope,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DedupScope {
    #[default]
    Source,
    Pipeline,
}

/// What a node takes its records from, by index into the plan's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    Source(usize),
    Step(usize, Port),
}

/// An edge into a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input(pub Upstream);

pub struct StepNode {
    pub id: Arc<str>,
    pub kind: &'static str,
    pub act: Act,
    pub from: Vec<Input>,
    pub when: Option<Condition>,
    pub on_failure: OnFailure,
    /// How long it may take with one record; none where the file does not say.
    pub timeout: Option<Duration>,
}

impl StepNode {
    /// As [`Step::outputs`].
    #[must_use]
    pub fn outputs(&self) -> Vec<String> {
        match &self.act {
            Act::Apply(step) => step.outputs(),
            Act::Ask(_) => Vec::new(),
        }
    }
    /// As [`Step::has_default_output`].
    #[must_use]
    pub fn has_default_output(&self) -> bool {
        match &self.act {
            Act::Apply(step) => step.has_default_output(),
            Act::Ask(_) => true,
        }
    }
}

/// How a step does what it does.
pub enum Act {
    /// By itself.
    Apply(Box<dyn Step>),
    /// By asking another system.
    Ask(Box<Asking>),
}

/// A step that asks: records wait for it, are delivered in batches and retried as at a sink.
pub struct Asking {
    pub fingerprint: u64,
    pub plan: Box<dyn SinkPlan>,
    pub concurrency: usize,
    pub timeout: Duration,
    pub on_error: OnError,
    pub rate_limit: Option<RateLimit>,
}

/// How many records may go to a node in a time.
#[derive(Clone)]
pub struct RateLimit {
    pub rate: crate::Rate,
    /// What the limit is counted for; all records together where absent.
    pub key: Option<Value>,
    /// Most keys that are told apart at once; those beyond share one limit.
    pub max_keys: usize,
}

pub struct SinkNode {
    pub name: Arc<str>,
    pub kind: &'static str,
    pub fingerprint: u64,
    pub plan: Box<dyn SinkPlan>,
    pub from: Vec<Input>,
    pub when: Option<Condition>,
    pub on_failure: OnFailure,
    pub encode: Encode,
    pub batch: Option<BatchPlan>,
    pub concurrency: usize,
    pub timeout: Duration,
    /// By class, in the order of [`Class::ALL`].
    pub on_error: OnError,
    pub rate_limit: Option<RateLimit>,
}

/// What happens to a record that a node refuses, or whose retries are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    #[default]
    DeadLetter,
    Drop,
    /// Steps only: the record goes on as it was.
    Continue,
    /// Sinks only: its key waits for an operator.
    Block,
    ToSink(usize),
    /// Enters at this step.
    ToStep(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPlan {
    pub records: usize,
    pub bytes: usize,
    pub linger: Duration,
}

/// How waiting grows with attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    Constant,
    Linear,
    Exponential,
}

/// How one class of faults is retried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    pub backoff: Backoff,
    /// The first wait.
    pub initial: Duration,
    /// The longest wait, `Retry-After` included.
    pub max_wait: Duration,
    /// Counted attempts before a record is given up; only while others get through.
    pub max_attempts: Option<u32>,
    /// Age of the first failure before a record is given up in any case.
    pub max_elapsed: Option<Duration>,
}

/// The error matrix of one sink.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OnError {
    pub auth: Retry,
    pub rate_limit: Retry,
    pub connection: Retry,
    pub service: Retry,
}

impl OnError {
    /// How a fault of this class is retried; validation and fatal are not.
    #[must_use]
    pub fn of(&self, class: Class) -> Option<&Retry> {
        match class {
            Class::Auth => Some(&self.auth),
            Class::RateLimit => Some(&self.rate_limit),
            Class::Connection => Some(&self.connection),
            Class::Service => Some(&self.service),
            Class::Validation | Class::Fatal => None,
        }
    }
}

impl Default for OnError {
    /// The error matrix of the delivery contract.
    fn default() -> Self {
        let retry = |backoff, initial, max_wait| Retry {
            backoff,
            initial: Duration::from_millis(initial),
            max_wait: Duration::from_secs(max_wait),
            max_attempts: None,
            max_elapsed: None,
        };
        Self {
            auth: retry(Backoff::Constant, 60_000, 60),
            rate_limit: retry(Backoff::Exponential, 1_000, 3_600),
            connection: Retry { max_attempts: Some(8), ..retry(Backoff::Linear, 500, 30) },
            service: Retry {
                max_attempts: Some(8),
                max_elapsed: Some(Duration::from_secs(24 * 3_600)),
                ..retry(Backoff::Exponential, 500, 60)
            },
        }
    }
}

/// One case of `tests:`.
pub struct Test {
    pub name: String,
    /// Where it stands in the file.
    pub at: crate::Path,
    /// Records by source name, in file order.
    pub input: Vec<(Arc<str>, Vec<Json>)>,
    /// In place of `input`: what the sources read of an API that was recorded.
    pub replay: Option<RecordedRun>,
    /// What steps that ask are answered, by their names: the same to every record.
    pub answers: JsonMap,
    /// What each named sink is given.
    pub expect: JsonMap,
    pub exact: bool,
    pub now: Option<crate::Millis>,
    pub seed: u64,
}

/// A recorded run of the sources that ask an API.
pub struct RecordedRun {
    /// Beside the pipeline file.
    pub fixture: String,
    /// Whether it is run again with each fault in each answer.
    pub faults: bool,
}
