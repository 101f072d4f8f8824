//! `karez status`.

use anyhow::Result;
use karez_api::{Clock, Json};
use karez_runtime::SystemClock;

use super::Exit;
use crate::admin::Client;
use crate::console::{self, Format};
use crate::diagnostics;
use crate::runs;
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) async fn perform(status: Status, settings: Settings) -> Result<Exit> {
    let answer = Client::expect(&settings).await?.get("status").await?;
    match status.format {
        Format::Json => console::json(&answer)?,
        Format::Text => {
            for line in lines(&answer, SystemClock.now().0) {
                console::line(&line)?;
            }
        }
    }
    Ok(Exit::Fine)
}

/// The daemon's answer for people; `now` in milliseconds since the epoch.
fn lines(answer: &Json, now: u64) -> Vec<String> {
    let state = answer["not_ready"].as_str().map_or("ready".to_owned(), |why| format!("not ready: {why}"));
    let mut lines = vec![format!("karez {}: {state}", text(&answer["version"]))];
    for one in list(&answer["pipelines"]) {
        pipeline(one, now, &mut lines);
    }
    for one in list(&answer["connections"]) {
        // The first line says that all is well.
        let unusual = super::connections::live_lines(one).into_iter().skip(1).collect::<Vec<_>>();
        if !unusual.is_empty() {
            lines.push(format!("  connection {}", text(&one["name"])));
            lines.extend(unusual.into_iter().map(|line| format!("  {line}")));
        }
    }
    if !answer["unreadable"].is_null() {
        lines.push(format!("  files not read: {}", text(&answer["unreadable"])));
    }
    for (name, reason) in answer["failures"].as_object().into_iter().flatten() {
        lines.push(format!("  {name}: not started or changed: {}", text(reason)));
    }
    for problem in list(&answer["problems"]) {
        let place = format!("{}:{}:{}", text(&problem["file"]), problem["line"], problem["column"]);
        let (severity, code) = (text(&problem["severity"]), text(&problem["code"]));
        let help = problem["help"].as_str().map_or(String::new(), |help| format!("; {help}"));
        lines.push(format!("  {place}: {severity}[{code}] {}{help}", text(&problem["message"])));
    }
    for stream in list(&answer["orphaned"]) {
        lines.push(format!("  {}", orphan(stream)));
    }
    let letters = &answer["dead_letters"];
    if letters["count"] != 0 {
        let help = "`karez dead-letters list` shows them";
        lines.push(format!("  {} dead letters ({} bytes); {help}", letters["count"], letters["bytes"]));
    }
    if answer["store"]["damage"].as_u64().is_some_and(|regions| regions > 0) {
        let regions = &answer["store"]["damage"];
        lines.push(format!("  {regions} damaged regions in the log; `karez store verify` names them"));
    }
    lines
}

/// One journal that no pipeline takes.
pub(super) fn orphan(stream: &Json) -> String {
    let unsettled = stream["unsettled"].as_u64().unwrap_or_default();
    diagnostics::orphan(&text(&stream["pipeline"]), &text(&stream["stream"]), unsettled)
}

fn pipeline(one: &Json, now: u64, lines: &mut Vec<String>) {
    let counters = &one["counters"];
    let counts = ["delivered", "filtered", "duplicate", "diverted", "dropped", "dead_lettered", "in_flight"];
    let shown = counts.iter().filter(|name| **name == "delivered" || counters[**name] != 0);
    let shown = shown.map(|name| format!(", {} {}", name.replace('_', "-"), counters[*name]));
    let (name, state) = (text(&one["name"]), text(&one["state"]));
    lines.push(format!("  {name} [{state}] {}", text(&one["summary"])));
    let recovered = counters["recovered"].as_u64().filter(|n| *n > 0);
    let recovered = recovered.map_or(String::new(), |n| format!(", recovered {n}"));
    lines.push(format!("    in {}{recovered}{}", counters["in"], shown.collect::<String>()));
    if !one["problem"].is_null() {
        lines.push(format!("    {}", text(&one["problem"])));
    }
    for node in list(&one["nodes"]) {
        let name = text(&node["name"]);
        lines.extend(node_line(node, now).map(|line| format!("    {name}: {line}")));
        lines.extend(list(&node["runs"]).iter().map(|run| format!("    {name}.{}", runs::line(run, now))));
    }
    for journal in list(&one["journals"]).iter().filter(|journal| journal["unsettled"] != 0) {
        let age = journal["oldest"].as_u64().map_or(0, |oldest| now.saturating_sub(oldest) / 1_000);
        let (source, n, bytes) =
            (text(&journal["source"]), &journal["unsettled"], &journal["unsettled_bytes"]);
        lines.push(format!(
            "    {source}: {n} records ({bytes} bytes) in the journal, the oldest {age} s old"
        ));
    }
}

/// What is unusual about a node; nothing where all is well.
fn node_line(node: &Json, now: u64) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(reason) = node["down"].as_str() {
        let resumes = node["resumes_at"].as_u64().filter(|at| *at > now);
        parts.push(match resumes {
            Some(at) => format!("resumes {}: {reason}", runs::clock(at, now)),
            None => format!("down: {reason}"),
        });
    }
    match node["circuit"].as_str() {
        None | Some("closed") => {}
        Some("paused") => parts.push("paused until its credentials are accepted".to_owned()),
        Some(circuit) => parts.push(format!("circuit {circuit}")),
    }
    if let Some(waiting) = node["waiting"].as_u64().filter(|n| *n > 0) {
        parts.push(format!("{waiting} waiting"));
    }
    if let Some(failed) = node["failed"].as_u64().filter(|n| *n > 0) {
        parts.push(format!("{failed} failed"));
    }
    if let Some(fault) = node["fault"].as_str() {
        parts.push(format!("last fault: {fault}"));
    }
    let diagnosis = &node["diagnosis"];
    if let Some(at) = diagnosis["at"].as_u64() {
        let (age, message) = (now.saturating_sub(at) / 1_000, text(&diagnosis["message"]));
        let hint = diagnosis["hint"].as_str().filter(|hint| !hint.is_empty());
        let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
        parts.push(format!("turned a request away {age} s ago: {message}{hint}"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn what_is_unusual_is_told_under_its_pipeline() {
        let answer = json!({
            "version": "1.0.0", "not_ready": null, "unreadable": null,
            "pipelines": [{
                "name": "orders", "state": "running", "summary": "webhook -> crm (http)",
                "counters": {"in": 5, "recovered": 2, "delivered": 4, "filtered": 0, "duplicate": 1,
                    "diverted": 0, "dropped": 0, "dead_lettered": 0, "in_flight": 2},
                "nodes": [
                    {"name": "source", "waiting": 0, "failed": 0, "diagnosis": {
                        "message": "x-signature does not match", "hint": "it fits with algorithm: sha1", "at": 58_000,
                    }},
                    {"name": "list", "waiting": 0, "failed": 0, "down": "429: too many", "resumes_at": 120_000, "runs": [
                        {"stream": "issues", "run": 3, "state": "done", "windows": 5, "windows_done": 5, "pages": 12,
                            "read": 340, "next_at": 300_000},
                    ]},
                    {"name": "crm", "waiting": 2, "failed": 1, "circuit": "open", "fault": "refused"},
                ],
                "journals": [{"source": "source", "unsettled": 2, "unsettled_bytes": 90, "oldest": 1_000}],
            }],
            "failures": {"refunds": "the path /webhooks/a is held by orders"},
            "problems": [],
            "orphaned": [{"stream": "old/source", "pipeline": "old", "unsettled": 7}],
            "dead_letters": {"count": 3, "bytes": 900},
            "store": {"damage": 0},
        });
        expect![[r#"
            karez 1.0.0: ready
              orders [running] webhook -> crm (http)
                in 5, recovered 2, delivered 4, duplicate 1, in-flight 2
                source: turned a request away 3 s ago: x-signature does not match; it fits with algorithm: sha1
                list: resumes 00:02:00Z: 429: too many
                list.issues: run 3 done, 5 of 5 windows done, 12 pages, 340 records, next 00:05:00Z
                crm: circuit open, 2 waiting, 1 failed, last fault: refused
                source: 2 records (90 bytes) in the journal, the oldest 60 s old
              refunds: not started or changed: the path /webhooks/a is held by orders
              old/source: 7 unsettled records, but no pipeline of that name; give a pipeline `renamed_from: old`, or `karez store drop old`
              3 dead letters (900 bytes); `karez dead-letters list` shows them"#]]
        .assert_eq(&lines(&answer, 61_000).join("\n"));
    }
}
