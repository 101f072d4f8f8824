//! What a source that asks again and again tells of each of its runs, and when the next one is due.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Millis;

/// When a source runs.
pub trait Timetable: Send + Sync {
    /// The first time after this one; none where there will never be another.
    fn after(&self, time: Millis) -> Option<Millis>;
}

/// Where reports of runs go.
pub trait Runs: Send + Sync {
    /// Replaces what was told of this stream's run before; cheap enough for every page.
    fn tell(&self, report: RunReport);
    /// What was told last of a stream by this process: a run that goes on goes on counting.
    fn told(&self, stream: &str) -> Option<RunReport> {
        let _ = stream;
        None
    }
}

/// Nobody listens.
pub struct NoRuns;

impl Runs for NoRuns {
    fn tell(&self, _: RunReport) {}
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    #[default]
    Running,
    /// All is read and delivered.
    Done,
    /// All is read, but it is not what the file expects: the next run begins where this one began.
    Suspicious,
}

/// One run of one stream: from where it was left to where the far end had come when it began.
/// Times are milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RunReport {
    pub stream: String,
    /// Counted from 1 since the stream was first read.
    pub run: u64,
    pub state: RunState,
    pub started_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Millis>,
    /// When the next run is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Millis>,
    /// It went on where a process had stopped.
    pub resumed: bool,
    /// The window that is read, as it is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<[String; 2]>,
    pub windows_done: u64,
    /// How many there are as far as is known.
    pub windows: u64,
    pub partitions_done: u64,
    /// Left out by an error rule.
    pub partitions_skipped: u64,
    #[serde(flatten)]
    pub counts: RunCounts,
    /// What it waits for or stumbled over, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What one run brought and cost, or several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RunCounts {
    pub pages: u64,
    /// Records in the answers.
    pub read: u64,
    /// Left out by the source: known from the end of the window before.
    pub deduped: u64,
    /// Left out by the source: not in the window that was asked for.
    pub outside: u64,
    /// Given to the pipeline.
    pub emitted: u64,
    /// What was sent, everything included that was sent again.
    pub requests: u64,
    pub retries: u64,
    /// Time spent waiting because the far end or a limit said so.
    pub throttled_ms: u64,
    /// Answers that said that nothing changed.
    pub not_modified: u64,
    /// Of answers, as they came over the wire.
    pub bytes: u64,
    /// How often something was not as declared, by what it was: `cursor_regressed`, `cursor_missing`, …
    pub anomalies: BTreeMap<String, u64>,
}

impl RunCounts {
    /// Adds what came beside this.
    pub fn add(&mut self, other: &Self) {
        self.join(other, u64::saturating_add);
    }

    /// What has come since `before`; nothing of what fell.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut new = self.clone();
        new.join(before, u64::saturating_sub);
        new.anomalies.retain(|_, count| *count > 0);
        new
    }

    fn join(&mut self, other: &Self, how: fn(u64, u64) -> u64) {
        for (mine, theirs) in self.numbers().into_iter().zip(other.clone().numbers()) {
            *mine = how(*mine, *theirs);
        }
        for (kind, count) in &other.anomalies {
            let mine = self.anomalies.entry(kind.clone()).or_default();
            *mine = how(*mine, *count);
        }
    }

    fn numbers(&mut self) -> [&mut u64; 10] {
        let Self {
            pages,
            read,
            deduped,
            outside,
            emitted,
            requests,
            retries,
            throttled_ms,
            not_modified,
            bytes,
            anomalies: _,
        } = self;
        [pages, read, deduped, outside, emitted, requests, retries, throttled_ms, not_modified, bytes]
    }
}
