//! Runs cases one after another and keeps what they leave. A case that panics is a violation; one whose
//! injector is missing is a skip.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cases::{CASES, Case};
use crate::run::Run;
use crate::{Outcome, Row, Seed, Table, Tier};

/// Everything that can be asked for.
#[derive(Debug)]
pub struct Order {
    pub tier: Tier,
    /// Ids of cases; all of the tier where there is none.
    pub cases: Vec<String>,
    pub seed: Seed,
    /// One part of a case that goes through many.
    pub only: Option<String>,
    /// Where the folders of cases with violations stay.
    pub keep: PathBuf,
    /// Where the table is written, after each case: a long run that is cut off has something to show.
    pub report: Option<PathBuf>,
}

/// Ids and titles of all cases.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    CASES.iter().map(|case| (case.id, case.title))
}

/// Runs what was ordered.
#[must_use]
pub fn perform(order: &Order) -> Table {
    let mut table = Table::default();
    for case in CASES.iter().filter(|case| wanted(case, order)) {
        eprintln!("oracle: {} {}", case.id, case.title);
        let rows = one(case, order);
        if let Some(row) = rows.first() {
            let how = match &row.outcome {
                Outcome::Fine => "fine".to_owned(),
                Outcome::Skipped(why) => format!("skipped: {why}"),
                Outcome::Violated(what) => format!("VIOLATED\n    {}", what.join("\n    ")),
            };
            eprintln!("oracle: {} {} s {} {how}", case.id, row.seconds, row.notes.join(", "));
        }
        table.rows.extend(rows);
        if let Some(folder) = &order.report {
            table.write(folder);
        }
    }
    table
}

fn wanted(case: &Case, order: &Order) -> bool {
    if order.cases.is_empty() { order.tier >= case.from } else { order.cases.iter().any(|id| id == case.id) }
}

fn one(case: &'static Case, order: &Order) -> Vec<Row> {
    let folder = order.keep.join(case.id);
    fresh(&folder);
    let seed = order.seed.of(case.id);
    let begun = Instant::now();
    let mut run = Run::new(seed, order.tier, folder.clone());
    run.only.clone_from(&order.only);
    let missing = case.needs.iter().find_map(|injector| {
        (injector.probe)().err().map(|why| format!("{} is missing: {why}", injector.name))
    });
    match missing {
        Some(why) => run.skip(why),
        None => {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (case.run)(&mut run))) {
                run.violation(format!("the case broke off: {}", message(&*panic)));
            }
        }
    }
    let findings = if run.findings.skips.is_empty() { run.finish() } else { run.findings };
    if findings.violations.is_empty() {
        std::fs::remove_dir_all(&folder).ok();
    }
    Row::of((case.id, case.title), order.seed, findings, begun.elapsed().as_secs())
}

fn fresh(folder: &Path) {
    std::fs::remove_dir_all(folder).ok();
    std::fs::create_dir_all(folder).unwrap();
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
