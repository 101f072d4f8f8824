//! The way in for sources that are called rather than asked: the daemon's listener on one
//! side, the journal on the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

use crate::{Fault, Millis, Record, RecordId, Signature};

/// One delivery of a sender, verified; whether it can be decoded is the engine's to say.
pub struct Incoming {
    pub record: Record,
    /// Whether a (split) record is wanted at all; the rest is counted filtered.
    pub wanted: Arc<dyn Wanted>,
    /// How long the sender waits to hear how it ended; without it the answer comes once it is on disk.
    pub wait: Option<Duration>,
}

/// Says which records of a delivery go on (`events:`).
pub trait Wanted: Send + Sync {
    fn wants(&self, record: &Record) -> bool;
}

/// How a delivery stands when its sender is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// None of its records is wanted.
    Filtered,
    /// Known already.
    Duplicate,
    /// All its records reached their end, and nothing is left to do.
    Delivered,
    /// On disk, and on its way.
    Accepted,
    /// At least one of its records is a dead letter.
    DeadLettered,
}

/// What became of a delivery.
#[derive(Debug)]
pub enum Accepted {
    /// On disk, or known already.
    Stored { id: RecordId, fate: Fate },
    /// It could not be decoded or has no dedup key: the sender's fault.
    Undecodable(Fault),
    /// No room, or the pipeline is not ready: the sender should come again.
    Full { retry_after: Duration, reason: &'static str },
}

/// Decodes, splits, filters, deduplicates and journals; returns once the record is on disk.
#[async_trait]
pub trait Intake: Send + Sync {
    async fn accept(&self, incoming: Incoming) -> Accepted;
    /// Counts a request that was turned away before it could be accepted, by reason (`signature`, `method`).
    fn refused(&self, reason: &'static str);
    /// Counts a request that was answered without becoming a record, by kind (`handshake`).
    fn answered(&self, _kind: &'static str) {}
    /// Counts a request that proved where it comes from.
    fn verified(&self, _signature: &Signature) {}
    /// Notes how long a request waited for its answer once it was there.
    fn took(&self, _time: Duration) {}
    /// Logs and shows why requests are turned away. Seldom: a source says so at most every few seconds.
    fn diagnosed(&self, _diagnosis: Diagnosis) {}
}

/// Why a request was turned away, for whoever looks after the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// What its sender was told.
    pub message: String,
    /// What may be wrong. It holds neither secrets nor codes.
    pub hint: String,
    /// Heeding the hint would have let this request in; without it the hint is a guess.
    pub certain: bool,
    /// How many requests were turned away since the last diagnosis, with this one.
    pub refused: u64,
    pub at: Millis,
}

/// What an endpoint sees of a request beside its body.
pub struct RequestHead {
    pub parts: http::request::Parts,
    /// Who sent it: the proxies that are trusted are looked behind.
    pub peer: SocketAddr,
    /// The certificate that the client proved to have, in DER; only where the listener asks for one.
    pub certificate: Option<Bytes>,
}

pub type Response = http::Response<Bytes>;

/// Something that answers requests on a path of the ingress listener.
#[async_trait]
pub trait Endpoint: Send + Sync {
    /// Refuses a request before its body is read: 405, 415, 401 where no body is needed.
    fn admit(&self, head: &RequestHead) -> Result<(), Response>;
    /// Largest body in bytes, after decompression; 413 beyond it.
    fn max_body(&self) -> usize;
    /// Answers one request whose head was admitted. Never dropped half-way by a client that goes away.
    async fn call(&self, head: RequestHead, body: Bytes) -> Response;
}

/// The daemon's listener for webhooks and callbacks. It outlives every pipeline.
pub trait Ingress: Send + Sync {
    /// Serves `endpoint` at `path`, in place of what `owner` had there before.
    ///
    /// # Errors
    /// Another owner holds the path.
    fn mount(&self, owner: &str, path: &str, endpoint: Arc<dyn Endpoint>) -> Result<Mount, Fault>;
}

/// Keeps an endpoint mounted.
#[must_use]
pub struct Mount(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Mount {
    pub fn new(unmount: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(unmount)))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(unmount) = self.0.take() {
            unmount();
        }
    }
}
