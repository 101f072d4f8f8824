//! `/metrics`: which counters are shown. Names begin with `karez_`, labels hold names out of
//! pipeline files, never ids of records.

use karez_runtime::{NodeStatus, Reading, RequestReading, State, Status};

use super::exposition::Exposition;
use super::{connection_metrics, run_metrics};
use crate::fleet::Fleet;
use crate::ingress::Ingress;

pub(super) fn render(fleet: &Fleet, ingress: &Ingress) -> String {
    let mut text = Exposition::default();
    process(&mut text, fleet);
    files(&mut text, fleet);
    store(&mut text, fleet);
    text.counter("karez_ingress_rejected_total", "requests that reached no pipeline, by reason");
    for (reason, count) in ingress.rejected().all() {
        text.sample("karez_ingress_rejected_total", &[("reason", reason)], count);
    }
    let statuses: Vec<Status> = fleet.statuses().into_iter().map(|(_, status)| status).collect();
    pipelines(&mut text, &statuses);
    nodes(&mut text, &statuses);
    run_metrics::render(&mut text, &statuses);
    connection_metrics::render(&mut text, fleet);
    text.finish()
}

fn process(text: &mut Exposition, fleet: &Fleet) {
    text.gauge("karez_build_info", "version of this process");
    text.sample("karez_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1_u64);
    text.gauge("karez_ready", "1 while records are accepted durably");
    text.sample("karez_ready", &[], fleet.not_ready().is_none());
    text.gauge("process_resident_memory_bytes", "memory of this process that is in RAM");
    if let Some(bytes) = resident_bytes() {
        text.sample("process_resident_memory_bytes", &[], bytes);
    }
    let jq = karez_steps::jq_runs();
    text.counter("karez_jq_slow_total", "runs of jq programs that took more than 50 ms");
    text.sample("karez_jq_slow_total", &[], jq.slow);
    text.counter("karez_jq_given_up_total", "runs of jq programs that were given up after 1 s");
    text.sample("karez_jq_given_up_total", &[], jq.given_up);
}

/// As the kernel tells it; absent where it does not.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}

fn files(text: &mut Exposition, fleet: &Fleet) {
    let (done, failed) = fleet.reloads();
    text.counter("karez_reload_total", "passes over the pipeline files by result");
    text.sample("karez_reload_total", &[("result", "ok")], done);
    text.sample("karez_reload_total", &[("result", "failed")], failed);
    text.gauge("karez_file_problems", "problems in pipeline files at the last pass");
    text.sample("karez_file_problems", &[], fleet.problems().len());
    text.gauge(
        "karez_pipelines_not_changed",
        "pipelines that could not be started or changed at the last pass",
    );
    text.sample("karez_pipelines_not_changed", &[], fleet.failures().len());
}

fn store(text: &mut Exposition, fleet: &Fleet) {
    let (letters, letter_bytes) = fleet.letters.totals();
    text.gauge("karez_dead_letters", "dead letters in the store");
    text.sample("karez_dead_letters", &[], letters);
    text.gauge("karez_dead_letter_bytes", "bytes of dead letters in the store");
    text.sample("karez_dead_letter_bytes", &[], letter_bytes);
    text.gauge("karez_orphaned_streams", "journals with unsettled records and no pipeline");
    text.sample("karez_orphaned_streams", &[], fleet.orphans().len());
    let usage = fleet.memory.usage();
    text.gauge("karez_store_segments", "segments of the log on disk");
    text.sample("karez_store_segments", &[], usage.segments);
    text.gauge("karez_store_live_bytes", "bytes of unsettled records in the log");
    text.sample("karez_store_live_bytes", &[], usage.live_bytes);
    text.gauge("karez_store_dedup_memory_bytes", "memory that dedup keys take");
    text.sample("karez_store_dedup_memory_bytes", &[], usage.dedup_memory);
    text.gauge("karez_store_log_bytes", "bytes of the log on disk");
    text.sample("karez_store_log_bytes", &[], usage.log_bytes);
    text.counter("karez_journal_appended_total", "records written to journals");
    text.sample("karez_journal_appended_total", &[], usage.appended);
    text.counter(
        "karez_store_syncs_total",
        "fsyncs of the log; appended records by fsyncs is the group size",
    );
    text.sample("karez_store_syncs_total", &[], usage.syncs);
    text.counter("karez_store_written_bytes_total", "bytes written to the log");
    text.sample("karez_store_written_bytes_total", &[], usage.written_bytes);
    text.counter("karez_store_damage_total", "regions of the log that could not be read");
    text.sample("karez_store_damage_total", &[], usage.damage);
    text.gauge("karez_journal_entries", "journaled records that are not settled");
    text.gauge("karez_journal_bytes", "bytes of journaled records that are not settled");
    text.gauge("karez_journal_oldest_timestamp_seconds", "when the oldest unsettled record was received");
    let events = fleet.memory.events();
    for stream in events.streams() {
        let stats = events.stats(&stream);
        let labels = [("pipeline", &*stream.pipeline), ("source", &*stream.source)];
        text.sample("karez_journal_entries", &labels, stats.unsettled);
        text.sample("karez_journal_bytes", &labels, stats.unsettled_bytes);
        if let Some(oldest) = stats.oldest {
            text.sample("karez_journal_oldest_timestamp_seconds", &labels, oldest.0 as f64 / 1_000.0);
        }
    }
}

/// What the conservation law adds up, in origins: in + recovered = all the others together, with those in flight.
fn outcomes(counters: &Reading) -> [(&'static str, u64); 9] {
    [
        ("in", counters.received),
        ("recovered", counters.recovered),
        ("delivered", counters.delivered),
        ("filtered", counters.filtered),
        ("duplicate", counters.duplicate),
        ("diverted", counters.diverted),
        ("dead_lettered", counters.dead_lettered),
        ("dropped", counters.dropped),
        ("returned", counters.returned),
    ]
}

fn pipelines(text: &mut Exposition, statuses: &[Status]) {
    text.gauge("karez_pipeline_up", "1 while the pipeline runs, 0 when it failed, ended or was stopped");
    text.counter("karez_records_total", "source records by what became of them");
    text.gauge("karez_in_flight", "source records that are not settled");
    text.counter("karez_missing_order_key_total", "records for which order_by yields nothing");
    text.counter("karez_pipeline_reloads_total", "times that the pipeline was changed while it ran");
    text.counter("karez_refused_total", "requests turned away before they counted, by reason");
    text.counter("karez_answered_total", "requests answered that are no records, like handshakes, by kind");
    text.counter("karez_webhook_verified_total", "requests that proved where they come from");
    text.counter("karez_webhook_duplicate_deliveries_total", "deliveries that were known already");
    text.gauge(
        "karez_webhook_secret_last_matched_timestamp_seconds",
        "when each secret of verify, from 0, matched last: one that does no more can go",
    );
    text.family("karez_webhook_answer_seconds", "histogram", "time from the end of a request to its answer");
    text.family("karez_webhook_age_seconds", "histogram", "age of deliveries by their own signed time");
    text.family("karez_processing_seconds", "histogram", "time from receipt to settlement");
    text.counter("karez_webhook_received_total", "webhook events that were accepted or known");
    text.counter("karez_webhook_processed_total", "webhook events that were settled without failure");
    text.counter("karez_webhook_failed_total", "webhook events that were refused or dead-lettered");
    text.counter("karez_webhook_duplicate_total", "webhook events that were known already");
    for Status { name, state, counters, nodes, .. } in statuses {
        let label = [("pipeline", &**name)];
        let up = matches!(state, State::Running | State::Reloading | State::Draining);
        text.sample("karez_pipeline_up", &label, up);
        for (outcome, count) in outcomes(counters) {
            text.sample("karez_records_total", &[("pipeline", &**name), ("outcome", outcome)], count);
        }
        text.sample("karez_in_flight", &label, counters.in_flight);
        text.sample("karez_missing_order_key_total", &label, counters.missing_order_key);
        text.sample("karez_pipeline_reloads_total", &label, counters.reloads);
        for (source, reading) in &counters.requests {
            requests(text, [("pipeline", &**name), ("source", &**source)], reading);
        }
        text.histogram("karez_processing_seconds", &label, &counters.processing);
        if nodes.iter().any(|node| node.kind == "webhook") {
            webhooks(text, &label, counters);
        }
    }
}

fn webhooks(text: &mut Exposition, label: super::exposition::Labels<'_>, counters: &Reading) {
    let processed = counters.delivered + counters.filtered + counters.diverted + counters.dropped;
    let refused = counters.requests.values().flat_map(|reading| reading.refused.values());
    let failed = refused.sum::<u64>() + counters.dead_lettered;
    text.sample("karez_webhook_received_total", label, counters.received);
    text.sample("karez_webhook_processed_total", label, processed);
    text.sample("karez_webhook_failed_total", label, failed);
    text.sample("karez_webhook_duplicate_total", label, counters.duplicate);
}

fn requests(text: &mut Exposition, labels: [(&str, &str); 2], reading: &RequestReading) {
    let [pipeline, source] = labels;
    text.sample("karez_webhook_verified_total", &labels, reading.verified);
    text.sample("karez_webhook_duplicate_deliveries_total", &labels, reading.duplicates);
    for (reason, count) in &reading.refused {
        text.sample("karez_refused_total", &[pipeline, source, ("reason", reason)], *count);
    }
    for (kind, count) in &reading.answered {
        text.sample("karez_answered_total", &[pipeline, source, ("kind", kind)], *count);
    }
    for (secret, at) in &reading.secrets {
        let secret = secret.to_string();
        let labels = [pipeline, source, ("secret", &*secret)];
        text.sample("karez_webhook_secret_last_matched_timestamp_seconds", &labels, *at as f64 / 1_000.0);
    }
    text.histogram("karez_webhook_answer_seconds", &labels, &reading.answer_time);
    text.histogram("karez_webhook_age_seconds", &labels, &reading.age);
}

fn nodes(text: &mut Exposition, statuses: &[Status]) {
    text.counter("karez_node_in_total", "records that entered a node");
    text.counter("karez_node_out_total", "records that left a node");
    text.counter("karez_node_failed_total", "records that a node refused or gave up");
    text.gauge("karez_source_up", "1 while a source works, 0 while it is tried again");
    text.counter("karez_sink_attempts_total", "deliveries that a sink tried");
    text.counter("karez_sink_retries_total", "deliveries that a sink tried again");
    text.gauge("karez_sink_waiting", "records that wait for a sink");
    text.counter("karez_sink_circuit_opened_total", "times that a sink's circuit opened");
    text.gauge("karez_sink_up", "1 while a sink's circuit is closed and its connection is not paused");
    for status in statuses {
        for node in &status.nodes {
            let labels = [("pipeline", &*status.name), ("node", &*node.name)];
            text.sample("karez_node_in_total", &labels, node.entered);
            text.sample("karez_node_out_total", &labels, node.left);
            text.sample("karez_node_failed_total", &labels, node.failed);
            match node.role {
                "source" => text.sample("karez_source_up", &labels, node.down.is_none()),
                "sink" => sink(text, &labels, node),
                _ => {}
            }
        }
    }
}

fn sink(text: &mut Exposition, labels: super::exposition::Labels<'_>, node: &NodeStatus) {
    text.sample("karez_sink_attempts_total", labels, node.attempts);
    text.sample("karez_sink_retries_total", labels, node.retries);
    text.sample("karez_sink_waiting", labels, node.waiting);
    text.sample("karez_sink_circuit_opened_total", labels, node.circuit_opened);
    text.sample("karez_sink_up", labels, node.hold.as_ref().is_none_or(|hold| hold.circuit == "closed"));
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use karez_runtime::{Histogram, Hold};

    fn node(name: &str, kind: &'static str, role: &'static str) -> NodeStatus {
        NodeStatus {
            name: name.into(),
            kind,
            role,
            entered: 3,
            left: 3,
            failed: 0,
            attempts: 4,
            retries: 1,
            waiting: 2,
            circuit_opened: 1,
            hold: (role == "sink").then_some(Hold { circuit: "open", fault: None }),
            down: (role == "source").then(|| "refused".to_owned()),
            resumes_at: None,
            runs: Vec::new(),
            diagnosis: None,
        }
    }

    fn status(name: &str) -> Status {
        let histogram = Histogram::default();
        histogram.observe(std::time::Duration::from_millis(1), 3);
        let requests = RequestReading {
            verified: 3,
            duplicates: 1,
            refused: BTreeMap::from([("signature", 4)]),
            answered: BTreeMap::from([("handshake", 2)]),
            secrets: BTreeMap::from([(1, 1_700_000_000_500)]),
            answer_time: histogram.read(),
            age: histogram.read(),
        };
        let counters = Reading {
            received: 3,
            recovered: 0,
            delivered: 2,
            filtered: 0,
            duplicate: 0,
            diverted: 0,
            dead_lettered: 1,
            dropped: 0,
            returned: 0,
            in_flight: 0,
            missing_order_key: 0,
            reloads: 0,
            requests: BTreeMap::from([("hook".into(), requests)]),
            processing: histogram.read(),
        };
        Status {
            name: name.into(),
            file: "a.yaml".into(),
            state: State::Failed,
            problem: None,
            counters,
            nodes: vec![node("hook", "webhook", "source"), node("crm", "http", "sink")],
            journals: Vec::new(),
        }
    }

    fn shown(statuses: &[Status]) -> String {
        let mut text = Exposition::default();
        pipelines(&mut text, statuses);
        nodes(&mut text, statuses);
        text.finish()
    }

    #[test]
    fn a_pipeline_becomes_samples() {
        let text = shown(&[status("a\"b")]);
        for line in [
            "karez_pipeline_up{pipeline=\"a\\\"b\"} 0",
            "karez_records_total{pipeline=\"a\\\"b\",outcome=\"delivered\"} 2",
            "karez_webhook_failed_total{pipeline=\"a\\\"b\"} 5",
            "karez_processing_seconds_bucket{pipeline=\"a\\\"b\",le=\"0.005\"} 3",
            "karez_processing_seconds_count{pipeline=\"a\\\"b\"} 3",
            "karez_refused_total{pipeline=\"a\\\"b\",source=\"hook\",reason=\"signature\"} 4",
            "karez_webhook_secret_last_matched_timestamp_seconds{pipeline=\"a\\\"b\",source=\"hook\",secret=\"1\"} 1700000000.5",
            "karez_webhook_answer_seconds_count{pipeline=\"a\\\"b\",source=\"hook\"} 3",
            "karez_node_out_total{pipeline=\"a\\\"b\",node=\"hook\"} 3",
            "karez_source_up{pipeline=\"a\\\"b\",node=\"hook\"} 0",
            "karez_sink_up{pipeline=\"a\\\"b\",node=\"crm\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    /// The rules of the format: a family once, its samples under it, counters called so, no sample twice.
    #[test]
    fn the_text_obeys_its_format() {
        let text = shown(&[status("a"), status("b")]);
        let (mut families, mut samples) = (BTreeSet::new(), BTreeSet::new());
        let mut current = ("", "");
        for line in text.lines() {
            if let Some(head) = line.strip_prefix("# TYPE ") {
                current = head.split_once(' ').unwrap();
                assert!(families.insert(current.0), "{} stands twice", current.0);
                assert_eq!(current.1 == "counter", current.0.ends_with("_total"), "{}", current.0);
            } else if !line.starts_with("# HELP ") {
                let name = line.split(['{', ' ']).next().unwrap();
                let suffixes: &[&str] =
                    if current.1 == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.iter().any(|suffix| name == format!("{}{suffix}", current.0)), "{line}");
                let (sample, value) = line.rsplit_once(' ').unwrap();
                assert!(samples.insert(sample), "{sample} stands twice");
                value.parse::<f64>().unwrap();
            }
        }
        assert!(families.len() > 10);
    }
}
