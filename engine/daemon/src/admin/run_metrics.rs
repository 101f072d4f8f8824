//! What `/metrics` shows of the runs of sources that poll, since this process began.

use karez_runtime::{RunTotals, Status};

use super::exposition::Exposition;

/// A counter's name and meaning, and which of the totals it is.
type Counter = (&'static str, &'static str, fn(&RunTotals) -> u64);

const COUNTERS: [Counter; 8] = [
    ("karez_source_runs_total", "runs of a stream that came to their end", |totals| totals.runs),
    ("karez_source_pages_total", "pages that were read", |totals| totals.counts.pages),
    ("karez_source_records_read_total", "records in the answers of a far end", |totals| totals.counts.read),
    ("karez_source_requests_total", "requests of a source, those included that were sent again", |totals| {
        totals.counts.requests
    }),
    ("karez_source_retries_total", "requests of a source that were sent again", |totals| {
        totals.counts.retries
    }),
    ("karez_source_not_modified_total", "answers that said that nothing changed", |totals| {
        totals.counts.not_modified
    }),
    ("karez_source_bytes_total", "bytes of answers, as they came over the wire", |totals| {
        totals.counts.bytes
    }),
    ("karez_source_records_left_out_total", "records that were known or outside of their window", |totals| {
        totals.counts.deduped + totals.counts.outside
    }),
];
const THROTTLED: &str = "karez_source_throttled_seconds_total";
const ANOMALIES: &str = "karez_source_anomalies_total";

pub(super) fn render(text: &mut Exposition, statuses: &[Status]) {
    COUNTERS.iter().for_each(|(name, help, _)| text.counter(name, help));
    text.counter(THROTTLED, "time that a source waited because the far end or a limit said so");
    text.counter(ANOMALIES, "what was not as a file declares it, by kind");
    for status in statuses {
        for node in &status.nodes {
            for run in &node.runs {
                let (source, stream) = (("source", &*node.name), ("stream", &*run.report.stream));
                stream_of(text, [("pipeline", &*status.name), source, stream], &run.totals);
            }
        }
    }
}

fn stream_of(text: &mut Exposition, labels: [(&str, &str); 3], totals: &RunTotals) {
    for (name, _, count) in COUNTERS {
        text.sample(name, &labels, count(totals));
    }
    text.sample(THROTTLED, &labels, totals.counts.throttled_ms as f64 / 1_000.0);
    let [pipeline, source, stream] = labels;
    for (kind, count) in &totals.counts.anomalies {
        text.sample(ANOMALIES, &[pipeline, source, stream, ("kind", kind)], *count);
    }
}
