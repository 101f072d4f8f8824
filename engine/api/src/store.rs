//! What the engine remembers, behind two traits: `Progress` for small keyed state, `Events`
//! for the journal, dedup keys and the sink ledger. Nothing outside `engine/store` names an engine.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Mark, Millis, Record};

/// The largest body that a record may have in the journal, in bytes: 60 MiB. What a push source would take
/// beyond it could never be accepted. With its metadata a record fits a frame of the log, which ends at 64 MiB.
pub const LARGEST_RECORD: usize = 60 << 20;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The journal's bound or the disk's floor is reached: nothing was written, later it may work.
    #[error("{0}")]
    Full(String),
    /// A write or sync failed: nothing more will be written by this process.
    #[error("the store failed and takes nothing more: {0}")]
    Failed(String),
    /// What is on disk is not what was written there, or belongs elsewhere; nothing was touched.
    #[error("{0}")]
    Refused(String),
    /// A compare-and-set lost: somebody else wrote first.
    #[error("{key} changed meanwhile")]
    Conflict { key: String },
}

/// `pipeline/source`: what a journal and its dedup keys hang on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName {
    pub pipeline: Arc<str>,
    pub source: Arc<str>,
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pipeline, self.source)
    }
}

/// `pipeline/sink`: what a ledger and a mark hang on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SinkName {
    pub pipeline: Arc<str>,
    pub sink: Arc<str>,
}

impl fmt::Display for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pipeline, self.sink)
    }
}

/// A value in `Progress` with the count of writes it has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub generation: u64,
    pub value: Bytes,
}

/// What a write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Anything,
    Absent,
    Generation(u64),
}

/// One write; `value` absent removes the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub key: String,
    pub expect: Expect,
    pub value: Option<Bytes>,
}

impl Write {
    #[must_use]
    pub fn put(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), expect: Expect::Anything, value: Some(value.into()) }
    }
    #[must_use]
    pub fn remove(key: impl Into<String>) -> Self {
        Self { key: key.into(), expect: Expect::Anything, value: None }
    }
}

/// Keyed state with compare-and-set: checkpoints, cursors, tokens, dead letters.
#[async_trait]
pub trait Progress: Send + Sync {
    /// # Errors
    /// [`StoreError::Refused`] where the value is damaged.
    async fn get(&self, key: &str) -> Result<Option<Stored>, StoreError>;
    /// All of `writes` or none; durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Full`], [`StoreError::Failed`].
    async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError>;
    /// Keys that begin with `prefix` and come after `after`, in order.
    ///
    /// # Errors
    /// As [`Progress::get`].
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Stored)>, StoreError>;
}

/// A dedup key as the store sees it: its text (hashed inside) and how long it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedupKey {
    /// `pipeline/source`, or the pipeline alone where the scope is wider.
    pub scope: Arc<str>,
    pub key: Arc<str>,
    pub ttl: Duration,
    pub at: Millis,
}

/// A record for the journal.
pub struct NewEntry {
    pub record: Record,
    pub dedup: Option<DedupKey>,
}

/// What became of a new entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    Stored(u64),
    /// Its dedup key is known; nothing was written.
    Duplicate,
}

/// A journaled record with its place in the stream.
#[derive(Debug, Clone)]
pub struct Entry {
    /// From 1, rising, never given twice in a stream.
    pub sequence: u64,
    pub record: Record,
}

/// What a stream holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamStats {
    pub unsettled: u64,
    pub unsettled_bytes: u64,
    /// The next sequence number.
    pub next: u64,
    pub oldest: Option<Millis>,
}

/// The log: journal, dedup keys, sink ledger.
#[async_trait]
pub trait Events: Send + Sync {
    /// Appends entries with their dedup keys, each entry and its key in one atomic write. Durable when it returns.
    /// Look-up and insert of a key are one action: of two equal ones at the same time, one is the duplicate,
    /// and it learns so only once the other is durable.
    ///
    /// # Errors
    /// [`StoreError::Full`] (nothing was written), [`StoreError::Failed`].
    async fn append(&self, stream: &StreamName, entries: Vec<NewEntry>) -> Result<Vec<Appended>, StoreError>;

    /// The unsettled entries after `after`, in order: from memory while they are recent, else from disk.
    /// Waits until there is at least one.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn read(
        &self,
        stream: &StreamName,
        after: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Entries by number; settled ones are left out.
    ///
    /// # Errors
    /// As [`Events::read`].
    async fn fetch(&self, stream: &StreamName, sequences: &[u64]) -> Result<Vec<Entry>, StoreError>;

    /// Marks entries settled. Written soon, durable with the next group or [`Events::flush`]: a crash before repeats them.
    fn settle(&self, stream: &StreamName, sequences: Vec<u64>);

    /// Whether a key counts at this moment.
    fn knows(&self, key: &DedupKey) -> bool;

    /// Writes dedup keys of delivered records of a replayable source. Durable when it returns.
    ///
    /// # Errors
    /// As [`Events::append`].
    async fn remember(&self, keys: Vec<DedupKey>) -> Result<(), StoreError>;

    /// Writes that `sink` confirmed records (by 128-bit hash of their id) and its mark, in one atomic write. Durable when it returns.
    ///
    /// # Errors
    /// As [`Events::append`].
    async fn delivered(&self, sink: &SinkName, ids: Vec<u128>, mark: Option<Mark>) -> Result<(), StoreError>;

    /// What a sink had confirmed of records that may come again, and its last mark.
    fn ledger(&self, sink: &SinkName) -> (HashSet<u128>, Option<Mark>);

    /// The origins of these deliveries are settled and their positions saved: they will not come again.
    fn forget(&self, sink: &SinkName, ids: Vec<u128>);

    /// Everything that was only buffered is durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn flush(&self) -> Result<(), StoreError>;

    fn stats(&self, stream: &StreamName) -> StreamStats;
    /// All streams that hold anything.
    fn streams(&self) -> Vec<StreamName>;

    /// Removes everything that hangs on a pipeline: entries, dedup keys of its sources and of itself, ledgers and
    /// marks of its sinks.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn remove(&self, pipeline: &str) -> Result<(), StoreError>;
    /// Moves everything that hangs on pipeline `from` to pipeline `to`, in one go.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn adopt(&self, from: &str, to: &str) -> Result<(), StoreError>;

    /// Why nothing can be accepted at this moment (disk floor, failed sync), if so.
    fn unavailable(&self) -> Option<StoreError>;
}
