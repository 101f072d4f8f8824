//! What a sink is to the engine: something that takes records and says, one by one, what became of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Claim, Clock, Fault, Json, Record, Shared, Tasks};

/// How many records a sink takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Single,
    Batch {
        /// All or none of a batch take effect, in order: only then may one batch hold two records of one key.
        atomic: bool,
        /// Most records in a batch.
        max: usize,
    },
}

/// What became of one record.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Accepted by the far end, for good.
    Done,
    /// Answered by the far end: this is the record that goes on. Only for steps that ask.
    Became(Record),
    /// It will never be accepted.
    Refused(Fault),
    /// It did not reach the far end; try again.
    NotSent(Fault),
    /// It may have taken effect; try again under the same idempotency key.
    Unknown(Fault),
}

/// What a sink wants to be told when it is opened again, in its own terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(pub Bytes);

/// What became of a batch: an outcome for each record, in order.
#[derive(Debug)]
pub struct Delivery {
    pub each: Vec<Outcome>,
    pub mark: Option<Mark>,
}

impl Delivery {
    /// The same outcome for all.
    #[must_use]
    pub fn all(records: &[Record], outcome: &Outcome) -> Self {
        Self { each: vec![outcome.clone(); records.len()], mark: None }
    }
}

#[async_trait]
pub trait Sink: Send + Sync {
    /// Delivers records in order. May be dropped at `timeout`: then all count as unknown.
    async fn deliver(&self, records: &[Record]) -> Delivery;

    /// After the last delivery.
    ///
    /// # Errors
    /// What the far end said; nothing is lost by it.
    async fn close(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// How a record is written where no `body` says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encode {
    #[default]
    Json,
    Ndjson,
    /// A body that is a JSON string goes out as its text.
    Text,
}

/// What a sink is opened with.
pub struct SinkContext {
    pub pipeline: Arc<str>,
    pub sink: Arc<str>,
    /// What its last confirmed delivery returned.
    pub mark: Option<Mark>,
    /// The file asks for `batch`, so that records go out as lists, even where one holds a single record.
    pub batched: bool,
    pub clock: Arc<dyn Clock>,
    pub tasks: Arc<dyn Tasks>,
    pub shared: Shared,
}

impl SinkContext {
    /// The idempotency key of a record at this sink: the same on every retry and after every restart.
    #[must_use]
    pub fn idempotency_key(&self, record: &Record) -> String {
        let key = format!("{}/{}/{}", self.pipeline, self.sink, record.id());
        match &record.meta().error {
            // On a failure path it is another delivery than the same record on its way.
            Some(error) => format!("{key}/failed/{}", error.node),
            None => key,
        }
    }
}

/// A checked sink: nothing is open yet.
#[async_trait]
pub trait SinkPlan: Send + Sync {
    /// `batched`: the file asks for `batch`.
    fn shape(&self, batched: bool) -> Shape;
    /// Deliveries at once where the file does not say.
    fn default_concurrency(&self) -> usize {
        1
    }
    fn default_timeout(&self) -> Duration {
        Duration::from_secs(30)
    }
    /// Whether confirmed deliveries are written down before they settle, so that none is repeated after a crash.
    fn keeps_ledger(&self) -> bool {
        false
    }
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }
    /// What a step that asks makes of a record where this is the answer: for `tests:`, which ask nobody.
    ///
    /// # Errors
    /// The record is refused.
    fn answered(&self, record: Record, answer: &Json) -> Result<Record, Fault> {
        // A sink makes nothing of its records.
        let _ = answer;
        Ok(record)
    }
    /// Connects.
    ///
    /// # Errors
    /// Class fatal or validation for what the file can be blamed for, else a class that the engine retries.
    async fn open(&self, cx: SinkContext) -> Result<Box<dyn Sink>, Fault>;
}
