//! Runs of sources that poll, in words, and whether their records are all accounted for.

use jiff::Timestamp;
use karez_api::Json;
use karez_api::RunCounts;
use karez_runtime::{NodeStatus, Reading, RunTotals, Status};

use crate::diagnostics::{counted, printable};

/// `14:05:10Z`; with its date where that is not today's. Both in milliseconds since 1970.
pub(crate) fn clock(at: u64, now: u64) -> String {
    let time = |millis: u64| i64::try_from(millis).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    let Some(at) = time(at) else { return "never".to_owned() };
    let day = |time: Timestamp| time.strftime("%F").to_string();
    let today = time(now).is_some_and(|now| day(now) == day(at));
    at.strftime(if today { "%TZ" } else { "%FT%TZ" }).to_string()
}

/// One stream's run, as the status has it, in a line.
pub(crate) fn line(run: &Json, now: u64) -> String {
    let n = |key: &str| run[key].as_u64().unwrap_or_default();
    let text = |key: &str| run[key].as_str().unwrap_or_default();
    let mut parts = vec![format!("run {} {}", n("run"), text("state"))];
    if run["resumed"] == true {
        parts.push("resumed".to_owned());
    }
    if n("windows") > 0 {
        parts.push(format!("{} of {} done", n("windows_done"), counted(n("windows"), "window")));
    }
    if let (Some(from), Some(to), "running") =
        (run["window"][0].as_str(), run["window"][1].as_str(), text("state"))
    {
        parts.push(format!("at {} to {}", printable(from), printable(to)));
    }
    parts.push(counted(n("pages"), "page"));
    parts.push(counted(n("read"), "record"));
    let seldom = [
        ("deduped", "deduped"),
        ("outside", "outside"),
        ("partitions_skipped", "partitions skipped"),
        ("not_modified", "not modified"),
        ("retries", "retried"),
    ];
    parts.extend(seldom.iter().filter(|(key, _)| n(key) > 0).map(|(key, word)| format!("{} {word}", n(key))));
    if n("throttled_ms") > 0 {
        parts.push(format!("waited {:.1} s", n("throttled_ms") as f64 / 1_000.0));
    }
    for (kind, count) in run["anomalies"].as_object().into_iter().flatten() {
        parts.push(format!("{kind} {count}"));
    }
    if let Some(next) = run["next_at"].as_u64().filter(|_| text("state") != "running") {
        parts.push(format!("next {}", clock(next, now)));
    }
    let note = run["note"].as_str().map_or_else(String::new, |note| format!("; {}", printable(note)));
    format!("{}: {}{note}", printable(text("stream")), parts.join(", "))
}

/// How far all runs of a pipeline are and what they wait for, to be put before its counters; empty where none of it polls.
pub(crate) fn progress(status: &Status, now: u64) -> String {
    let waiting = status.nodes.iter().filter_map(|node| {
        let (at, why) = node.resumes_at.filter(|at| at.0 > now).zip(node.down.as_deref())?;
        Some(format!("{} resumes {}: {}, ", node.name, clock(at.0, now), printable(why)))
    });
    waiting.chain(windows(status)).collect()
}

fn windows(status: &Status) -> Option<String> {
    let mut runs = status.nodes.iter().flat_map(|node| &node.runs).peekable();
    runs.peek()?;
    let (done, windows, pages) = runs.fold((0, 0, 0), |(done, windows, pages), run| {
        (done + run.report.windows_done, windows + run.report.windows, pages + run.report.counts.pages)
    });
    let windows =
        if windows > 0 { format!("{done} of {}, ", counted(windows, "window")) } else { String::new() };
    Some(format!("{windows}{}, ", counted(pages, "page")))
}

/// Where every record went that was read.
pub(crate) struct Account {
    pub(crate) text: String,
    pub(crate) adds_up: bool,
}

/// What the runs of a pipeline came to since this process began; none where nothing of it polls.
pub(crate) fn account(status: &Status) -> Option<Account> {
    let mut totals = RunTotals::default();
    let polls = |node: &&NodeStatus| !node.runs.is_empty();
    status.nodes.iter().filter(polls).flat_map(|node| &node.runs).for_each(|run| totals.merge(&run.totals));
    let sources = || status.nodes.iter().filter(|node| node.role == "source");
    sources().find(polls)?;
    // Records of other sources are on no run's account.
    let alone = sources().all(|node| polls(&node));
    Some(balance(&totals.counts, &status.counters, alone))
}

fn balance(totals: &RunCounts, counters: &Reading, alone: bool) -> Account {
    let sum = |terms: &[(&str, u64)]| terms.iter().map(|(_, n)| n).sum::<u64>();
    let words = |terms: &[(&str, u64)]| {
        let shown = terms.iter().filter(|(name, n)| *n > 0 || *name == "delivered");
        shown.map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(" + ")
    };
    let left_out = [("deduped", totals.deduped), ("outside", totals.outside)];
    let ends = [
        ("delivered", counters.delivered),
        ("filtered", counters.filtered),
        ("duplicate", counters.duplicate),
        ("diverted", counters.diverted),
        ("dead-lettered", counters.dead_lettered),
        ("dropped", counters.dropped),
        ("returned", counters.returned),
        ("in flight", counters.in_flight),
    ];
    let came = [("read", totals.read), ("recovered", counters.recovered)];
    let given = [("given", totals.emitted)];
    let (left, right) = match alone {
        true => (sum(&came), sum(&left_out) + sum(&ends)),
        false => (totals.read, sum(&left_out) + totals.emitted),
    };
    let parts = [words(&left_out), if alone { format!("({})", words(&ends)) } else { words(&given) }];
    let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    let came = if alone { words(&came) } else { words(&came[..1]) };
    let came = if came.is_empty() { "read 0".to_owned() } else { came };
    let adds_up = left == right;
    let missing = match adds_up {
        true => String::new(),
        false => format!(": THIS DOES NOT ADD UP, {left} are not {right}; please report it"),
    };
    Account { text: format!("{came} = {}{missing}", parts.join(" + ")), adds_up }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use karez_runtime::Counters;
    use serde_json::json;

    /// 2026-11-29T14:00:00Z
    const NOW: u64 = 1_795_960_800_000;

    #[test]
    fn a_run_is_told_in_a_line() {
        let running = json!({
            "stream": "issues", "run": 3, "state": "running", "resumed": true, "windows_done": 1, "windows": 5, "pages": 12,
            "read": 340, "window": ["2024-01-08", "2024-01-15"], "deduped": 2, "throttled_ms": 2_340,
            "anomalies": {"cursor_missing": 1}, "next_at": NOW, "note": "waits for the quota \u{1b}[2J",
        });
        expect!["issues: run 3 running, resumed, 1 of 5 windows done, at 2024-01-08 to 2024-01-15, 12 pages, 340 records, 2 deduped, waited 2.3 s, cursor_missing 1; waits for the quota �[2J"].assert_eq(&line(&running, NOW));
        let done = json!({"stream": "a", "run": 1, "state": "done", "pages": 1, "read": 0, "next_at": NOW + 300_000});
        expect!["a: run 1 done, 1 page, 0 records, next 14:05:00Z"].assert_eq(&line(&done, NOW));
        assert_eq!(clock(NOW + 86_400_000, NOW), "2026-11-30T14:00:00Z");
    }

    fn reading(delivered: u64, filtered: u64, recovered: u64) -> Reading {
        Reading { delivered, filtered, recovered, ..Counters::default().read() }
    }

    #[test]
    fn records_that_were_read_are_all_accounted_for() {
        let totals = RunCounts { read: 340, deduped: 2, outside: 5, emitted: 333, ..RunCounts::default() };
        let told = |totals: &RunCounts, counters, alone| {
            let account = balance(totals, &counters, alone);
            (account.text, account.adds_up)
        };
        let expected = "read 340 = deduped 2 + outside 5 + (delivered 300 + filtered 33)";
        assert_eq!(told(&totals, reading(300, 33, 0), true), (expected.to_owned(), true));
        let expected = "read 340 + recovered 4 = deduped 2 + outside 5 + (delivered 337)";
        assert_eq!(told(&totals, reading(337, 0, 4), true), (expected.to_owned(), true));
        let expected = "read 340 = deduped 2 + outside 5 + given 333";
        assert_eq!(told(&totals, reading(900, 0, 0), false), (expected.to_owned(), true));
        let nothing = ("read 0 = (delivered 0)".to_owned(), true);
        assert_eq!(told(&RunCounts::default(), reading(0, 0, 0), true), nothing);
        let (text, adds_up) = told(&totals, reading(332, 0, 0), true);
        assert!(!adds_up && text.contains("DOES NOT ADD UP, 340 are not 339"), "{text}");
    }
}
