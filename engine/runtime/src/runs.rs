//! What a source that polls tells of its runs: the last report of each stream, and what all of its runs in this
//! process came to. Outlives reloads, as the counters do.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use karez_api::{RunCounts, RunReport, RunState, Runs};
use serde::Serialize;

/// Streams of one source that are told apart. Those beyond are read like the others, but not shown.
const MOST_STREAMS: usize = 1_000;

/// The runs of one source.
#[derive(Debug, Default)]
pub(crate) struct RunBook(Mutex<BTreeMap<String, StreamRuns>>);

impl RunBook {
    pub(crate) fn read(&self) -> Vec<StreamRuns> {
        self.streams().values().cloned().collect()
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<String, StreamRuns>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runs for RunBook {
    fn tell(&self, report: RunReport) {
        let mut streams = self.streams();
        if let Some(known) = streams.get_mut(&report.stream) {
            known.totals.add(Some(&known.report), &report);
            known.report = report;
        } else if streams.len() < MOST_STREAMS {
            let mut totals = RunTotals::default();
            totals.add(None, &report);
            streams.insert(report.stream.clone(), StreamRuns { report, totals });
        }
    }

    fn told(&self, stream: &str) -> Option<RunReport> {
        self.streams().get(stream).map(|known| known.report.clone())
    }
}

/// One stream: its run that goes on or was the last, and what all of them came to since this process began.
#[derive(Debug, Clone, Serialize)]
pub struct StreamRuns {
    #[serde(flatten)]
    pub report: RunReport,
    pub totals: RunTotals,
}

/// Runs of a stream since this process began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RunTotals {
    /// Runs that came to their end.
    pub runs: u64,
    #[serde(flatten)]
    pub counts: RunCounts,
}

impl RunTotals {
    /// Adds what is new since the report before. A count that fell is one of a source that was opened again where it
    /// was left: from there on it is followed again. What a process before this one had counted is not ours.
    fn add(&mut self, before: Option<&RunReport>, now: &RunReport) {
        let known = before.filter(|before| (before.run, before.started_at) == (now.run, now.started_at));
        let begun_elsewhere = before.is_none() && now.resumed;
        let known = if begun_elsewhere { Some(now) } else { known };
        match known {
            Some(known) => self.counts.add(&now.counts.since(&known.counts)),
            None => self.counts.add(&now.counts),
        }
        let ended = |report: &RunReport| report.state != RunState::Running;
        self.runs += u64::from(ended(now) && !known.is_some_and(ended));
    }

    /// Adds the totals of another stream.
    pub fn merge(&mut self, other: &Self) {
        self.runs += other.runs;
        self.counts.add(&other.counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use karez_api::Millis;

    fn report(stream: &str, run: u64, pages: u64) -> RunReport {
        let started_at = Millis(run);
        let counts = RunCounts { pages, read: pages * 10, ..RunCounts::default() };
        RunReport { stream: stream.into(), run, started_at, counts, ..RunReport::default() }
    }

    fn done(report: RunReport) -> RunReport {
        RunReport { state: RunState::Done, ..report }
    }

    fn totals(reports: impl IntoIterator<Item = RunReport>) -> (u64, u64, u64) {
        let book = RunBook::default();
        reports.into_iter().for_each(|report| book.tell(report));
        let RunTotals { runs, counts } = book.read().remove(0).totals;
        (runs, counts.pages, counts.read)
    }

    #[test]
    fn counts_go_on_from_run_to_run_and_never_fall() {
        let told = [report("a", 1, 1), report("a", 1, 3), done(report("a", 1, 3)), done(report("a", 1, 3))];
        assert_eq!(totals(told.clone()), (1, 3, 30), "an end that is told twice is one");
        let next = [report("a", 2, 0), report("a", 2, 2), done(report("a", 2, 4))];
        assert_eq!(totals(told.into_iter().chain(next)), (2, 7, 70));
    }

    #[test]
    fn a_source_that_was_opened_again_is_followed_from_where_it_was_left() {
        assert_eq!(totals([report("a", 1, 5), report("a", 1, 4), report("a", 1, 6)]), (0, 7, 70));
    }

    #[test]
    fn what_a_process_before_had_counted_is_not_ours() {
        let resumed = |pages| RunReport { resumed: true, ..report("a", 7, pages) };
        assert_eq!(totals([resumed(100), resumed(102), done(resumed(102))]), (1, 2, 20));
    }

    #[test]
    fn anomalies_are_counted_by_kind() {
        let odd = |run, kind: &str, count| {
            let anomalies = BTreeMap::from([(kind.to_owned(), count)]);
            RunReport { counts: RunCounts { anomalies, ..RunCounts::default() }, ..report("a", run, 1) }
        };
        let book = RunBook::default();
        for report in
            [odd(1, "cursor_missing", 2), odd(1, "cursor_missing", 3), odd(2, "cursor_regressed", 1)]
        {
            book.tell(report);
        }
        let anomalies = book.read().remove(0).totals.counts.anomalies;
        assert_eq!(anomalies, BTreeMap::from([("cursor_missing".into(), 3), ("cursor_regressed".into(), 1)]));
    }

    #[test]
    fn streams_are_bounded() {
        let book = RunBook::default();
        (0..MOST_STREAMS + 5).for_each(|n| book.tell(report(&format!("s{n}"), 1, 1)));
        assert_eq!(book.read().len(), MOST_STREAMS);
    }
}
