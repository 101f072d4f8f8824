//! What a source is to the engine: something that yields batches and learns what became of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Clock, Fault, Form, Ingress, Intake, Json, Millis, Record, Runs, Shared, Tasks, Timetable};

/// The unit of order inside a source: a partition, a queue, a file. Equal names are one lane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub Arc<str>);

impl Lane {
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }
}

/// Where to resume, in the source's own terms; the engine saves it and never looks inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(pub Bytes);

/// The positions of a batch's records.
#[derive(Debug, Clone)]
pub enum Positions {
    /// The far end keeps them (AMQP, Redis Streams): acknowledged record by record.
    None,
    /// One for the whole batch: saved once every record of it is settled.
    After(Position),
    /// As [`Positions::After`], and saved before the batch's [`Ack`] is told: what was acknowledged never comes again.
    Now(Position),
    /// It comes with a later batch of the lane: this one is only a part of what that is about.
    Later,
    /// One after each record: saved as far as the prefix is settled.
    Each(Vec<Position>),
    /// Of a batch without records: the lane will not be read again, its saved position may go.
    Gone,
}

/// What became of one record.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Delivered to every sink that wants it, filtered, dead-lettered or journaled: it will not be asked for again.
    Durable,
    /// Known already; as good as durable.
    Duplicate,
    /// Refused with nobody to keep it; only for sources that can say so to their sender.
    Refused(Fault),
    /// Not settled: the pipeline stops. The source gives it back if it can.
    Returned,
}

/// What the far end made of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Done,
    /// The session that these records came in by is gone: expect them again.
    Stale,
}

/// The way back to where a batch came from.
#[async_trait]
pub trait Ack: Send {
    /// In parts, by index into the batch's records; called again with the same verdicts after a fault.
    ///
    /// # Errors
    /// The far end could not be told; the engine reopens the source.
    async fn settle(&mut self, part: &[(u32, Verdict)]) -> Result<Settled, Fault>;
}

/// For sources that need not be told: their position is all there is.
pub struct NoAck;

#[async_trait]
impl Ack for NoAck {
    async fn settle(&mut self, _: &[(u32, Verdict)]) -> Result<Settled, Fault> {
        Ok(Settled::Done)
    }
}

/// Records of one lane, in order. At most 1,024 records and about 1 MiB, so that a window stays a window.
/// One without records has its position saved before the next is asked for: where a lane begins, whose name
/// would not be found again otherwise.
pub struct Batch {
    pub lane: Lane,
    pub records: Vec<Record>,
    pub positions: Positions,
    pub ack: Box<dyn Ack>,
}

/// A source that is asked for its records.
#[async_trait]
pub trait Source: Send {
    /// The next batch; `None` when there will never be another.
    /// Raced only against stop: dropped at most once, then never called again; what it had
    /// fetched and not returned comes back by itself after a reopen.
    ///
    /// # Errors
    /// Classified; the engine waits and reopens the source.
    async fn pull(&mut self) -> Result<Option<Batch>, Fault>;

    /// Stop fetching; acknowledgements still work.
    ///
    /// # Errors
    /// As [`Source::pull`].
    async fn quiesce(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// After the last acknowledgement, or the deadline.
    ///
    /// # Errors
    /// As [`Source::pull`].
    async fn close(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

/// What came of opening a source.
pub enum Opened {
    Pull(Box<dyn Source>),
    /// It calls `cx.intake` by itself; the mount ends when the value is dropped.
    Push(crate::Mount),
}

/// Whether a source can yield a record again that was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Acknowledged after delivery.
    Yes,
    /// Journaled by the engine before it is acknowledged.
    No,
}

/// How a sender packs several events into one delivery.
pub trait Unpack: Send + Sync {
    /// One record for each event, with an id of its own.
    ///
    /// # Errors
    /// Class validation: the delivery cannot be read.
    fn unpack(&self, delivery: Record) -> Result<Vec<Record>, Fault>;
}

/// How bytes become bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decode {
    Json,
    Text,
    /// `a=1&b=2`: an object of texts. A request that says it is JSON is read as that.
    Form,
    /// Kept as they are; steps cannot look inside.
    Bytes,
}

impl Decode {
    /// What bytes become.
    #[must_use]
    pub fn form(self) -> Form {
        match self {
            Self::Json => Form::Json,
            Self::Text => Form::Text,
            Self::Form => Form::Urlencoded,
            Self::Bytes => Form::Opaque,
        }
    }
}

/// Something that only one holder in the process may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// A path on the ingress listener.
    IngressPath(String),
    /// A file that is written.
    File(String),
    /// Standard input or output.
    Stdio(&'static str),
}

/// What a source is opened with.
pub struct SourceContext {
    pub pipeline: Arc<str>,
    pub source: Arc<str>,
    /// Where each lane was left.
    pub positions: BTreeMap<Lane, Position>,
    pub clock: Arc<dyn Clock>,
    pub tasks: Arc<dyn Tasks>,
    pub shared: Shared,
    pub ingress: Arc<dyn Ingress>,
    pub intake: Arc<dyn Intake>,
    /// What raw bytes are to become, unless the format decides (CSV).
    pub decode: Decode,
    /// When to ask again (`schedule`), for a source that polls; without it, it asks once and ends.
    pub timetable: Option<Arc<dyn Timetable>>,
    /// Whether this process ends with its sources: a source that polls asks once, now, and ends.
    pub once: bool,
    pub runs: Arc<dyn Runs>,
}

/// A checked source: nothing is open yet.
#[async_trait]
pub trait SourcePlan: Send + Sync {
    fn replay(&self) -> Replay;
    /// Whether the records of a lane have an order worth keeping.
    fn ordered(&self) -> bool {
        true
    }
    /// Whether records have ids of their own that survive a redelivery.
    fn has_identity(&self) -> bool {
        true
    }
    /// Whether it asks again and again, so that it may have a `schedule`.
    fn polls(&self) -> bool {
        false
    }
    /// Whether it can come to an end by itself; `run --once` waits for that.
    fn ends(&self) -> bool {
        true
    }
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }
    fn default_decode(&self) -> Decode {
        Decode::Json
    }
    /// How its deliveries are taken apart; by default each is one record.
    fn unpack(&self) -> Option<Arc<dyn Unpack>> {
        None
    }
    /// How its records are deduplicated where the file does not say; by default they are not.
    fn default_dedup(&self) -> Option<crate::Dedup> {
        None
    }
    /// What it would ask for if it ran `now`, from where it was left; nothing is asked. None where there is nothing to
    /// tell: an object with `streams`, a list of objects with the name of the `stream`, where its next run `begins`
    /// (`why`, `text`), how far it has come (`mark`), `windows`, `partitions`, the first `request`, `paging` and `errors`;
    /// and, for all of them, `parallel` and `connection`. No secret stands in it.
    fn explain(&self, known: &BTreeMap<Lane, Position>, now: Millis) -> Option<Json> {
        let _ = (known, now);
        None
    }
    /// Connects.
    ///
    /// # Errors
    /// Class fatal or validation for what the file can be blamed for, else a class that the engine retries.
    async fn open(&self, cx: SourceContext) -> Result<Opened, Fault>;
}
