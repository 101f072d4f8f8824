//! `/metrics`: the counters in Prometheus' text form. Names begin with `karez_`, labels hold names
//! out of pipeline files, never ids of records.

use std::fmt::Write;

use karez_api::Json;
use karez_runtime::BUCKETS;

use super::api::orphaned;
use crate::fleet::Fleet;
use crate::ingress::Ingress;

pub(super) fn render(fleet: &Fleet, ingress: &Ingress) -> String {
    let mut text = Text::default();
    text.family("karez_build_info", "gauge", "version of this process");
    text.sample("karez_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    text.family("karez_ready", "gauge", "1 while records are accepted durably");
    text.sample("karez_ready", &[], f64::from(u8::from(fleet.not_ready().is_none())));
    let (done, failed) = fleet.reloads();
    text.family("karez_reload_total", "counter", "passes over the pipeline files by result");
    text.sample("karez_reload_total", &[("result", "ok")], done as f64);
    text.sample("karez_reload_total", &[("result", "failed")], failed as f64);
    text.family("karez_file_problems", "gauge", "problems in pipeline files at the last pass");
    text.sample("karez_file_problems", &[], fleet.problems().len() as f64);
    text.family("karez_dead_letters", "gauge", "dead letters in the store");
    text.sample("karez_dead_letters", &[], fleet.letters.totals().0 as f64);
    text.family("karez_dead_letter_bytes", "gauge", "bytes of dead letters in the store");
    text.sample("karez_dead_letter_bytes", &[], fleet.letters.totals().1 as f64);
    text.family("karez_orphaned_streams", "gauge", "journals with entries and no pipeline");
    text.sample("karez_orphaned_streams", &[], orphaned(fleet).len() as f64);
    text.family("karez_ingress_rejected_total", "counter", "requests that reached no pipeline, by reason");
    for (reason, count) in ingress.rejected().all() {
        text.sample("karez_ingress_rejected_total", &[("reason", reason)], count as f64);
    }
    text.family("karez_journal_entries", "gauge", "journaled records that are not settled");
    text.family("karez_journal_bytes", "gauge", "bytes of journaled records that are not settled");
    for stream in fleet.events.streams() {
        let stats = fleet.events.stats(&stream);
        let labels = [("pipeline", &*stream.pipeline), ("source", &*stream.source)];
        text.sample("karez_journal_entries", &labels, stats.unsettled as f64);
        text.sample("karez_journal_bytes", &labels, stats.unsettled_bytes as f64);
    }
    let statuses: Vec<Json> = fleet
        .pipelines()
        .values()
        .map(|running| serde_json::to_value(running.pipeline.status()).unwrap_or_default())
        .collect();
    pipelines(&mut text, &statuses);
    text.finish()
}

/// Counters of the conservation law, in origins: in + recovered = all the others together.
const ORIGINS: [&str; 9] = [
    "in",
    "recovered",
    "delivered",
    "filtered",
    "duplicate",
    "diverted",
    "dead_lettered",
    "dropped",
    "returned",
];
const NODES: [(&str, &str); 5] = [
    ("in", "records that entered a node"),
    ("out", "records that left a node"),
    ("failed", "records that a node refused or gave up"),
    ("attempts", "deliveries that a node tried"),
    ("retries", "deliveries that a node tried again"),
];

fn pipelines(text: &mut Text, statuses: &[Json]) {
    text.family("karez_records_total", "counter", "source records by what became of them");
    text.family("karez_in_flight", "gauge", "source records that are not settled");
    text.family("karez_webhook_received_total", "counter", "webhook events that were accepted or known");
    text.family(
        "karez_webhook_processed_total",
        "counter",
        "webhook events that were settled without failure",
    );
    text.family("karez_webhook_failed_total", "counter", "webhook events that were refused or dead-lettered");
    text.family("karez_webhook_duplicate_total", "counter", "webhook events that were known already");
    text.family("karez_refused_total", "counter", "requests turned away before they counted, by reason");
    text.family("karez_processing_seconds", "histogram", "time from receipt to settlement");
    for (name, help) in NODES {
        text.family(&format!("karez_node_{name}_total"), "counter", help);
    }
    for status in statuses {
        let (Some(name), Some(counters)) = (status["name"].as_str(), status["counters"].as_object()) else {
            continue;
        };
        let count = |key: &str| counters.get(key).and_then(Json::as_f64).unwrap_or_default();
        for outcome in ORIGINS {
            text.sample("karez_records_total", &[("pipeline", name), ("outcome", outcome)], count(outcome));
        }
        text.sample("karez_in_flight", &[("pipeline", name)], count("in_flight"));
        let mut refused = 0.0;
        for (reason, n) in counters.get("refused").and_then(Json::as_object).into_iter().flatten() {
            refused += n.as_f64().unwrap_or_default();
            text.sample(
                "karez_refused_total",
                &[("pipeline", name), ("reason", reason)],
                n.as_f64().unwrap_or_default(),
            );
        }
        if let Some(histogram) = counters.get("processing") {
            text.histogram("karez_processing_seconds", name, histogram);
        }
        let nodes = status["nodes"].as_array().map_or(&[][..], Vec::as_slice);
        if nodes.iter().any(|node| node["kind"] == "webhook") {
            let label = [("pipeline", name)];
            let processed = ["delivered", "filtered", "diverted", "dropped"].map(count).iter().sum();
            text.sample("karez_webhook_received_total", &label, count("in"));
            text.sample("karez_webhook_processed_total", &label, processed);
            text.sample("karez_webhook_failed_total", &label, refused + count("dead_lettered"));
            text.sample("karez_webhook_duplicate_total", &label, count("duplicate"));
        }
        for node in nodes {
            let Some(node_name) = node["name"].as_str() else {
                continue;
            };
            for (field, _) in NODES {
                let labels = [("pipeline", name), ("node", node_name)];
                if let Some(n) = node[field].as_f64() {
                    text.sample(&format!("karez_node_{field}_total"), &labels, n);
                }
            }
        }
    }
}

/// Samples grouped by family, as the format demands.
#[derive(Default)]
struct Text(Vec<(String, String, bool)>);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.0.push((name.into(), format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"), false));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.line(name, name, labels, value);
    }

    fn line(&mut self, family: &str, name: &str, labels: &[(&str, &str)], value: f64) {
        let Some((_, text, used)) = self.0.iter_mut().find(|(known, ..)| known == family) else {
            return;
        };
        *used = true;
        let labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a string does not fail.
        writeln!(text, "{name}{labels} {value}").ok();
    }

    fn histogram(&mut self, name: &str, pipeline: &str, reading: &Json) {
        let counts: Vec<f64> =
            reading["buckets"].as_array().into_iter().flatten().filter_map(Json::as_f64).collect();
        let mut total = 0.0;
        for (n, count) in counts.iter().enumerate() {
            total += count;
            let bound = BUCKETS.get(n).map_or("+Inf".to_owned(), f64::to_string);
            self.line(name, &format!("{name}_bucket"), &[("pipeline", pipeline), ("le", &bound)], total);
        }
        let sum = reading["sum_seconds"].as_f64().unwrap_or_default();
        self.line(name, &format!("{name}_sum"), &[("pipeline", pipeline)], sum);
        self.line(name, &format!("{name}_count"), &[("pipeline", pipeline)], total);
    }

    fn finish(self) -> String {
        self.0.into_iter().filter(|(_, _, used)| *used).map(|(_, text, _)| text).collect()
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pipeline_becomes_samples_under_their_families() {
        let mut text = Text::default();
        let status = json!({
            "name": "a\"b",
            "counters": {"in": 3, "delivered": 2, "dead_lettered": 1, "in_flight": 0, "refused": {"signature": 4},
                         "processing": {"buckets": [1, 0, 2], "sum_seconds": 0.5}},
            "nodes": [{"name": "source", "kind": "webhook", "in": 3, "out": 3}],
        });
        pipelines(&mut text, &[status]);
        let text = text.finish();
        for line in [
            "karez_records_total{pipeline=\"a\\\"b\",outcome=\"delivered\"} 2",
            "karez_webhook_failed_total{pipeline=\"a\\\"b\"} 5",
            "karez_processing_seconds_bucket{pipeline=\"a\\\"b\",le=\"0.005\"} 3",
            "karez_processing_seconds_count{pipeline=\"a\\\"b\"} 3",
            "karez_node_out_total{pipeline=\"a\\\"b\",node=\"source\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches("# TYPE karez_records_total counter").count(), 1);
    }
}
