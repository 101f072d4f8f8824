//! What a pipeline shows of itself.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use karez_api::{Diagnosis, Millis, StreamStats};
use serde::Serialize;

use crate::counters::{Hold, NodeCounters, Reading};
use crate::runs::StreamRuns;

/// Whether a pipeline runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Running,
    Reloading,
    Draining,
    /// All sources came to their end and everything is settled.
    Ended,
    Stopped,
    /// It cannot go on; `problem` says why.
    Failed,
}

/// One pipeline at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub name: Arc<str>,
    pub file: Arc<str>,
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    pub counters: Reading,
    pub nodes: Vec<NodeStatus>,
    pub journals: Vec<JournalStatus>,
}

/// One node, in records.
#[derive(Debug, Clone, Serialize)]
pub struct NodeStatus {
    pub name: Arc<str>,
    pub kind: &'static str,
    pub role: &'static str,
    #[serde(rename = "in")]
    pub entered: u64,
    #[serde(rename = "out")]
    pub left: u64,
    pub failed: u64,
    pub attempts: u64,
    pub retries: u64,
    pub waiting: u64,
    /// Sinks: how often the circuit opened.
    pub circuit_opened: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Sources: why it does not work at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<String>,
    /// Sources that do not work: when they are opened again, in milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes_at: Option<Millis>,
    /// Sources that poll: each stream's run that goes on, or its last one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<StreamRuns>,
    /// Sources: why requests are turned away, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
}

impl NodeStatus {
    pub(crate) fn new(
        name: &Arc<str>,
        kind: &'static str,
        role: &'static str,
        counters: &NodeCounters,
    ) -> Self {
        let hold = Some(counters.hold()).filter(|hold| !hold.circuit.is_empty());
        Self {
            name: Arc::clone(name),
            kind,
            role,
            entered: counters.entered.load(Relaxed),
            left: counters.left.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            attempts: counters.attempts.load(Relaxed),
            retries: counters.retries.load(Relaxed),
            waiting: counters.waiting.load(Relaxed),
            circuit_opened: counters.opened.load(Relaxed),
            hold,
            down: None,
            resumes_at: None,
            runs: Vec::new(),
            diagnosis: None,
        }
    }
}

/// A source that does not work at the moment.
#[derive(Debug, Clone)]
pub(crate) struct Down {
    pub(crate) reason: String,
    /// When it is opened again, where that is known.
    pub(crate) resumes_at: Option<Millis>,
}

/// What the journal of one source holds.
#[derive(Debug, Clone, Serialize)]
pub struct JournalStatus {
    pub source: Arc<str>,
    pub unsettled: u64,
    pub unsettled_bytes: u64,
    /// Milliseconds since the epoch.
    pub oldest: Option<u64>,
}

impl JournalStatus {
    pub(crate) fn new(source: &Arc<str>, stats: StreamStats) -> Self {
        Self {
            source: Arc::clone(source),
            unsettled: stats.unsettled,
            unsettled_bytes: stats.unsettled_bytes,
            oldest: stats.oldest.map(|at| at.0),
        }
    }
}
