//! Reports that are made there and fetched when they are done.

use serde_json::json;

use super::data::Data;
use super::pages::{self, Page};
use crate::Json;
use crate::server::Seen;

struct Report {
    state: &'static str,
    /// How often it was asked for.
    polls: u32,
    /// What was asked for.
    asked: Json,
}

pub(super) struct Reports {
    made: Vec<Report>,
    pub(super) polls: u32,
    pub(super) fail: bool,
}

impl Default for Reports {
    fn default() -> Self {
        Self { made: Vec::new(), polls: 2, fail: false }
    }
}

impl Reports {
    pub(super) fn states(&self) -> Vec<&'static str> {
        self.made.iter().map(|report| report.state).collect()
    }
}

/// `/reports/…`. What a report holds is said in the body that makes it, as `since`, `until` and `from`.
pub(super) fn answer(data: &mut Data, seen: &Seen, rest: &[&str]) -> Page {
    let id = rest.first().map(|id| id.strip_prefix('r').and_then(|id| id.parse::<usize>().ok()));
    let index = match id {
        None if seen.method == "POST" => {
            let asked = serde_json::from_slice(&seen.body).unwrap_or_default();
            data.reports.made.push(Report { state: "pending", polls: 0, asked });
            let id = format!("r{}", data.reports.made.len() - 1);
            return Page::json(202, &json!({"id": id, "status": "pending"}));
        }
        Some(Some(index)) if index < data.reports.made.len() => index,
        _ => return Page::status(404),
    };
    let (after, fail) = (data.reports.polls, data.reports.fail);
    let report = &mut data.reports.made[index];
    match (seen.method.as_str(), &rest[1..]) {
        ("DELETE", []) => {
            report.state = "aborted";
            Page::status(204)
        }
        ("GET", []) => {
            report.polls += 1;
            if report.state == "pending" && report.polls >= after {
                report.state = if fail { "failed" } else { "done" };
            }
            let host = seen.header("host").unwrap_or_default();
            let url = format!("http://{host}/reports/r{index}/file");
            let url = (report.state == "done").then_some(url);
            Page::json(200, &json!({"id": format!("r{index}"), "status": report.state, "url": url}))
        }
        ("GET", ["file"]) if report.state == "done" => {
            let asked = report.asked.clone();
            match pages::narrowed(data, "records", None, |name| pages::text(&asked, name)) {
                Ok(items) => Page::new(200, "text/csv", pages::csv(&items)),
                Err(page) => page,
            }
        }
        _ => Page::status(404),
    }
}
