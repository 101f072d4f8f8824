//! What the whole daemon shows of itself, as JSON.

use karez_api::Json;
use karez_runtime::Status;
use serde_json::json;

use crate::fleet::{Fleet, Running};

pub(super) fn whole(fleet: &Fleet) -> Json {
    let (letters, bytes) = fleet.letters.totals();
    let (done, failed) = fleet.reloads();
    let usage = fleet.memory.usage();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "not_ready": fleet.not_ready(),
        "pipelines": pipelines(fleet),
        "connections": super::connections::all(fleet),
        "problems": *fleet.problems(),
        "failures": *fleet.failures(),
        "unreadable": fleet.unreadable(),
        "orphaned": orphaned(fleet),
        "dead_letters": {"count": letters, "bytes": bytes},
        "store": {
            "segments": usage.segments, "log_bytes": usage.log_bytes, "live_bytes": usage.live_bytes,
            "dedup_keys": usage.dedup_keys, "dedup_memory": usage.dedup_memory,
            "appended": usage.appended, "syncs": usage.syncs, "damage": usage.damage,
        },
        "reloads": {"ok": done, "failed": failed},
    })
}

pub(super) fn pipelines(fleet: &Fleet) -> Vec<Json> {
    fleet.statuses().iter().map(|(running, status)| pipeline(running, status)).collect()
}

/// The status of a pipeline as the runtime tells it, with what the loader knows.
pub(super) fn pipeline(running: &Running, status: &Status) -> Json {
    let mut shown = json!(status);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("summary".into(), json!(running.summary));
    }
    shown
}

/// Journals with unsettled entries and no pipeline.
fn orphaned(fleet: &Fleet) -> Vec<Json> {
    let shown = fleet.orphans().into_iter().map(|(stream, stats)| {
        json!({
            "stream": stream.to_string(), "pipeline": stream.pipeline, "unsettled": stats.unsettled,
            "unsettled_bytes": stats.unsettled_bytes, "oldest": stats.oldest.map(|at| at.0),
        })
    });
    shown.collect()
}
