//! What came out, as a table for people and as JSON for programs.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use karez_tests::Json;
use serde_json::json;

use crate::run::Findings;
use crate::{Seed, Verdict};

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Fine,
    Violated(Vec<String>),
    /// Not run: an injector is missing. Never counted as fine.
    Skipped(String),
}

/// One line.
#[derive(Debug, Clone)]
pub struct Row {
    pub case: &'static str,
    pub title: &'static str,
    pub pair: String,
    pub runs: u64,
    verdict: Verdict,
    recoveries: Vec<Duration>,
    drains: Vec<Duration>,
    pub notes: Vec<String>,
    pub seed: Seed,
    pub seconds: u64,
    pub outcome: Outcome,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Table {
    pub rows: Vec<Row>,
}

impl Row {
    /// The rows of one case: one for each kind of pair, or a single one.
    #[must_use]
    pub fn of(
        (case, title): (&'static str, &'static str),
        seed: Seed,
        findings: Findings,
        seconds: u64,
    ) -> Vec<Self> {
        let Findings { pairs, violations, recoveries, drains, notes, skips } = findings;
        let outcome = match (violations.is_empty(), skips.is_empty()) {
            (false, _) => Outcome::Violated(violations),
            (true, true) => Outcome::Fine,
            (true, false) => Outcome::Skipped(skips.join("; ")),
        };
        let row = |pair: String, runs, verdict| Self {
            case,
            title,
            pair,
            runs,
            verdict,
            recoveries: recoveries.clone(),
            drains: drains.clone(),
            notes: notes.clone(),
            seed,
            seconds,
            outcome: outcome.clone(),
        };
        if pairs.is_empty() {
            return vec![row("-".into(), 1, Verdict::default())];
        }
        pairs.into_iter().map(|(pair, (runs, verdict))| row(pair, runs, verdict)).collect()
    }

    fn word(&self) -> &'static str {
        match self.outcome {
            Outcome::Fine => "fine",
            Outcome::Violated(_) => "VIOLATED",
            Outcome::Skipped(_) => "skipped",
        }
    }

    fn json(&self) -> Json {
        let verdict = &self.verdict;
        let (violations, skipped) = match &self.outcome {
            Outcome::Fine => (json!([]), Json::Null),
            Outcome::Violated(what) => (json!(what), Json::Null),
            Outcome::Skipped(why) => (json!([]), json!(why)),
        };
        json!({
            "case": self.case,
            "title": self.title,
            "pair": self.pair,
            "result": self.word(),
            "runs": self.runs,
            "attempted": verdict.attempted,
            "acknowledged": verdict.acked,
            "refused": verdict.refused,
            "unknown": verdict.unknown,
            "effective": verdict.effective,
            "dead_lettered": verdict.dead_lettered,
            "lost": verdict.lost,
            "duplicates_in_effect": verdict.repeated,
            "duplicates_on_the_wire": verdict.repeated_on_the_wire,
            "recovery_p50_seconds": median(&self.recoveries).map(|time| time.as_secs_f64()),
            "recovery_max_seconds": self.recoveries.iter().max().map(Duration::as_secs_f64),
            "drained_max_seconds": self.drains.iter().max().map(Duration::as_secs_f64),
            "notes": self.notes,
            "seed": self.seed.0,
            "seconds": self.seconds,
            "violations": violations,
            "skipped": skipped,
        })
    }
}

impl Table {
    #[must_use]
    pub fn is_fine(&self) -> bool {
        !self.rows.iter().any(|row| matches!(row.outcome, Outcome::Violated(_)))
    }

    #[must_use]
    pub fn json(&self) -> Json {
        json!(self.rows.iter().map(Row::json).collect::<Vec<_>>())
    }

    /// Writes `table.md` and `table.json`.
    ///
    /// # Panics
    /// They cannot be written.
    pub fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("table.md"), self.markdown()).unwrap();
        std::fs::write(folder.join("table.json"), self.json().to_string()).unwrap();
    }

    /// A table in Markdown, and below it what was skipped and what was violated.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| case | what | pair | runs | acked | unknown | lost | dup in effect | dup on the wire | recovery p50 / max | seed | result |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        let mut last = "";
        for row in &self.rows {
            let verdict = &row.verdict;
            // What is said of a case is said once.
            let what = match (last == row.case, row.notes.is_empty()) {
                (true, _) => String::new(),
                (false, true) => row.title.to_owned(),
                (false, false) => format!("{} ({})", row.title, row.notes.join(", ")),
            };
            last = row.case;
            let times = match (median(&row.recoveries), row.recoveries.iter().max()) {
                (Some(median), Some(most)) => {
                    format!("{:.1} / {:.1} s", median.as_secs_f64(), most.as_secs_f64())
                }
                _ => "-".into(),
            };
            writeln!(
                text,
                "| {} | {what} | {} | {} | {} | {} | {} | {} | {} | {times} | {} | {} |",
                row.case,
                row.pair,
                row.runs,
                verdict.acked,
                verdict.unknown,
                verdict.lost,
                verdict.repeated,
                verdict.repeated_on_the_wire,
                row.seed,
                row.word()
            )
            .unwrap();
        }
        self.exceptions(&mut text);
        text
    }

    fn exceptions(&self, text: &mut String) {
        let mut told = Vec::new();
        for row in &self.rows {
            let lines: &[String] = match &row.outcome {
                Outcome::Fine => &[],
                Outcome::Skipped(why) => std::slice::from_ref(why),
                Outcome::Violated(what) => what,
            };
            for line in lines {
                let line = format!("- {} {}: {line}\n", row.case, row.word());
                if !told.contains(&line) {
                    told.push(line);
                }
            }
        }
        if !told.is_empty() {
            text.push('\n');
        }
        text.extend(told);
    }
}

fn median(times: &[Duration]) -> Option<Duration> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}
