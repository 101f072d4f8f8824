//! A run that ends with its sources: how far it is, and what it came to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use karez_api::{Claim, Clock};
use karez_runtime::{Finish, Pipeline, Reading, Status, SystemClock};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::cli::Exit;
use crate::console::{self, say};
use crate::fleet::Fleet;
use crate::runs;

/// How often bars move.
const FRAME: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(5);
/// Pipelines that have a bar of their own.
const BARS: usize = 12;

type Ended = (Arc<str>, Duration, Finish);

/// The pipelines of one run.
pub(crate) struct Course {
    fleet: Arc<Fleet>,
    start: Instant,
    running: JoinSet<Ended>,
    ended: BTreeMap<Arc<str>, (Duration, Finish)>,
    display: Display,
}

enum Display {
    Bars { tick: Interval, bars: Vec<(Arc<Pipeline>, ProgressBar)> },
    Lines { tick: Interval },
}

impl Course {
    /// Before any pipeline is started.
    pub(crate) fn new(fleet: Arc<Fleet>) -> Self {
        Self {
            fleet,
            start: Instant::now(),
            running: JoinSet::new(),
            ended: BTreeMap::new(),
            display: Display::Lines { tick: every(LINE) },
        }
    }

    /// Follows the pipelines that run now.
    pub(crate) fn begin(&mut self) {
        let start = self.start;
        for (name, running) in self.fleet.pipelines().iter() {
            let (name, pipeline) = (Arc::clone(name), Arc::clone(&running.pipeline));
            self.running.spawn(async move {
                let finish = pipeline.finished().await;
                (name, start.elapsed(), finish)
            });
        }
        if let Some(draw) = console::bars().filter(|_| !self.writes_to_the_terminal()) {
            let pipelines = self.fleet.pipelines();
            let bar = |name: &Arc<str>| {
                let bar = draw.add(ProgressBar::new(0).with_style(style()));
                bar.set_prefix(name.to_string());
                bar
            };
            let bars = pipelines.iter().take(BARS);
            let bars = bars.map(|(name, running)| (Arc::clone(&running.pipeline), bar(name))).collect();
            self.display = Display::Bars { tick: every(FRAME), bars };
        }
    }

    /// Records on the same terminal and bars would overwrite each other.
    fn writes_to_the_terminal(&self) -> bool {
        let pipelines = self.fleet.pipelines();
        let mut claims = pipelines.values().flat_map(|running| running.claims.iter());
        console::stdout_is_terminal() && claims.any(|claim| *claim == Claim::Stdio("stdout"))
    }

    /// Shows how far they are; returns when all have come to their end. May be dropped and called again.
    pub(crate) async fn end(&mut self) {
        loop {
            let tick = match &mut self.display {
                Display::Bars { tick, .. } | Display::Lines { tick } => tick,
            };
            tokio::select! {
                ended = self.running.join_next() => match ended {
                    None => return,
                    Some(ended) => {
                        let ended = ended.ok();
                        self.ended.extend(ended.map(|(name, time, finish)| (name, (time, finish))));
                    }
                },
                _ = tick.tick() => self.show(),
            }
        }
    }

    fn show(&self) {
        let now = SystemClock.now().0;
        match &self.display {
            Display::Bars { bars, .. } => {
                for (pipeline, bar) in bars {
                    let status = pipeline.status();
                    let reading = &status.counters;
                    bar.set_length(reading.received + reading.recovered);
                    bar.set_position(
                        (reading.received + reading.recovered).saturating_sub(reading.in_flight),
                    );
                    let progress = runs::progress(&status, now);
                    bar.set_message(format!("{progress}{}", notable(reading, self.start.elapsed())));
                }
            }
            Display::Lines { .. } => {
                let seconds = self.start.elapsed().as_secs();
                for (name, running) in self.fleet.pipelines().iter() {
                    if running.pipeline.is_running() {
                        let status = running.pipeline.status();
                        let progress = runs::progress(&status, now);
                        say(&format!("{seconds} s  {name}: {progress}{}", counts(&status.counters)));
                    }
                }
            }
        }
    }

    /// What the run came to, on the terminal and as an exit code.
    pub(crate) fn report(self) -> Exit {
        if let Display::Bars { bars, .. } = &self.display {
            bars.iter().for_each(|(_, bar)| bar.finish_and_clear());
        }
        let (mut dead, mut failed, mut wrong) = (0, !self.fleet.failures().is_empty(), false);
        for (name, running) in self.fleet.pipelines().iter() {
            let status = running.pipeline.status();
            let reading = &status.counters;
            dead += reading.dead_lettered;
            let known = self.ended.get(name);
            let time = known.map_or_else(|| self.start.elapsed(), |(time, _)| *time);
            say(&format!("{name}: {} in {}", counts(reading), pace(reading, time)));
            wrong |= !told_runs(name, &status);
            if let Some((_, Finish::Failed(fault))) = known {
                failed = true;
                say(&format!("{name}: failed: {fault}"));
            }
        }
        for (name, reason) in self.fleet.failures().iter() {
            say(&format!("{name}: not started: {reason}"));
        }
        if dead > 0 {
            say("`karez dead-letters list` shows what could not be delivered, and why");
        }
        if failed {
            Exit::Failed
        } else if wrong || dead > 0 || self.fleet.has_file_errors() {
            Exit::Problems
        } else {
            Exit::Fine
        }
    }
}

/// A line for each stream, and one that says where all their records went; false where some are not accounted for.
fn told_runs(name: &str, status: &Status) -> bool {
    let Some(account) = runs::account(status) else { return true };
    let now = SystemClock.now().0;
    for node in &status.nodes {
        for run in &node.runs {
            say(&format!("{name}: {}.{}", node.name, runs::line(&json!(run), now)));
        }
    }
    say(&format!("{name}: {}", account.text));
    account.adds_up
}

fn every(time: Duration) -> Interval {
    let mut tick = interval(time);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.reset();
    tick
}

fn style() -> ProgressStyle {
    let template = "{prefix:<20!} {bar:24} {human_pos} of {human_len} records read  {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What a bar says beside its numbers.
fn notable(reading: &Reading, time: Duration) -> String {
    match reading.dead_lettered {
        0 => pace(reading, time),
        dead => format!("{}, {dead} dead-lettered", pace(reading, time)),
    }
}

/// The usual counters always, the others where they are not zero.
fn counts(reading: &Reading) -> String {
    let all = [
        ("in", reading.received, true),
        ("recovered", reading.recovered, false),
        ("delivered", reading.delivered, true),
        ("filtered", reading.filtered, true),
        ("duplicate", reading.duplicate, true),
        ("diverted", reading.diverted, false),
        ("dead-lettered", reading.dead_lettered, true),
        ("dropped", reading.dropped, false),
        ("returned", reading.returned, false),
        ("in flight", reading.in_flight, false),
    ];
    let shown = all.iter().filter(|(_, n, always)| *always || *n > 0);
    shown.map(|(name, n, _)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
}

fn pace(reading: &Reading, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let settled = (reading.received + reading.recovered).saturating_sub(reading.in_flight);
    format!("{seconds:.1} s, {:.0} records/s", settled as f64 / seconds.max(0.001))
}

#[cfg(test)]
mod tests {
    use super::*;
    use karez_runtime::Histogram;

    fn reading() -> Reading {
        Reading {
            received: 100,
            recovered: 0,
            delivered: 90,
            filtered: 4,
            duplicate: 0,
            diverted: 0,
            dead_lettered: 1,
            dropped: 5,
            returned: 0,
            in_flight: 0,
            missing_order_key: 0,
            reloads: 0,
            requests: BTreeMap::new(),
            processing: Histogram::default().read(),
        }
    }

    #[test]
    fn a_report_names_the_usual_counters_and_those_that_moved() {
        let expected = "in 100, delivered 90, filtered 4, duplicate 0, dead-lettered 1, dropped 5";
        assert_eq!(counts(&reading()), expected);
        assert_eq!(pace(&reading(), Duration::from_secs(4)), "4.0 s, 25 records/s");
        assert_eq!(pace(&reading(), Duration::ZERO), "0.0 s, 100000 records/s");
    }
}
