//! What one stream's run is told to the engine as: counted here, printed elsewhere.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use karez_api::{Millis, RunReport, RunState as Stage, Runs};
use karez_net::Tally;

use super::records::Sorted;
use super::state::RunState;

/// The report of one stream's run.
pub(super) struct Tracker {
    runs: Arc<dyn Runs>,
    pub(super) tally: Arc<Tally>,
    /// This process has told of the same run before.
    pub(super) continued: bool,
    report: Mutex<RunReport>,
}

impl Tracker {
    pub(super) fn new(runs: Arc<dyn Runs>, stream: &str, run: &RunState, resumed: bool) -> Self {
        let goes_on = |told: &RunReport| (told.run, told.started_at) == (run.number, run.started);
        let told = runs.told(stream).filter(goes_on);
        let continued = told.is_some();
        let report = told.unwrap_or_else(|| RunReport {
            stream: stream.to_owned(),
            run: run.number,
            started_at: run.started,
            resumed,
            ..RunReport::default()
        });
        let tally = Tally::default();
        tally.requests.store(report.counts.requests, Relaxed);
        tally.retries.store(report.counts.retries, Relaxed);
        tally.throttled_ms.store(report.counts.throttled_ms, Relaxed);
        tally.not_modified.store(report.counts.not_modified, Relaxed);
        tally.bytes.store(report.counts.bytes, Relaxed);
        let tracker = Self { runs, tally: Arc::new(tally), continued, report: Mutex::new(report) };
        tracker.tell(|_| ());
        tracker
    }

    /// Changes the report and passes it on.
    pub(super) fn tell(&self, change: impl FnOnce(&mut RunReport)) {
        let report = {
            let mut report = self.report();
            change(&mut report);
            let tally = &self.tally;
            report.counts.requests = tally.requests.load(Relaxed);
            report.counts.retries = tally.retries.load(Relaxed);
            report.counts.throttled_ms = tally.throttled_ms.load(Relaxed);
            report.counts.not_modified = tally.not_modified.load(Relaxed);
            report.counts.bytes = tally.bytes.load(Relaxed);
            report.clone()
        };
        self.runs.tell(report);
    }

    /// A page that is on its way with so many records.
    pub(super) fn page(&self, read: u64, sorted: &Sorted, emitted: u64) {
        self.count_records(1, read, sorted, emitted);
    }

    /// A part of a page.
    pub(super) fn part(&self, read: u64, sorted: &Sorted, emitted: u64) {
        self.count_records(0, read, sorted, emitted);
    }

    fn count_records(&self, pages: u64, read: u64, sorted: &Sorted, emitted: u64) {
        self.tell(|report| {
            report.counts.pages += pages;
            report.counts.read += read;
            report.counts.deduped += sorted.deduped;
            report.counts.outside += sorted.outside;
            report.counts.emitted += emitted;
            for (kind, count) in [
                ("cursor_missing", sorted.missing_cursor),
                ("cursor_regressed", sorted.disordered),
                ("mark_overflow", sorted.forgotten),
            ] {
                add(&mut report.counts.anomalies, kind, count);
            }
        });
    }

    pub(super) fn anomaly(&self, kind: &str, note: String) {
        self.tell(|report| {
            add(&mut report.counts.anomalies, kind, 1);
            report.note = Some(note);
        });
    }

    pub(super) fn count(&self, kind: &str, count: u64) {
        self.tell(|report| add(&mut report.counts.anomalies, kind, count));
    }

    pub(super) fn end(&self, state: Stage, now: Millis, next: Option<Millis>) {
        self.tell(|report| {
            report.state = state;
            report.ended_at = Some(now);
            report.next_at = next;
        });
    }

    fn report(&self) -> MutexGuard<'_, RunReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(anomalies: &mut BTreeMap<String, u64>, kind: &str, count: u64) {
    if count > 0 {
        *anomalies.entry(kind.to_owned()).or_default() += count;
    }
}
