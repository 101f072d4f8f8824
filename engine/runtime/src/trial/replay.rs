//! `replay:` of a case: the real source reads what was recorded, once as it was and once with each fault in each answer,
//! and must bring the same records every time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use karez_api::{Fault, Json, Lane, Millis, NoRuns, Position, Record, SourceNode};

use super::stage::{PlannedFault, Play, Stage};
use super::world::{Driven, Simulated, World};
use crate::alone::{self, Company, Taken};

/// How often a source is opened before it is taken for one that never ends.
const MOST_OPENINGS: usize = 20;
/// Faults that are tried for one source; of more, every so many.
const MOST_FAULTS: usize = 2_000;

/// A fixture, and what sources are read for.
pub(super) struct Replaying<'a> {
    pub(super) stage: &'a dyn Stage,
    pub(super) fixture: &'a str,
    pub(super) pipeline: &'a str,
    pub(super) now: Millis,
}

/// What one run of a source brought.
#[derive(Default)]
pub(super) struct Run {
    records: Vec<(Lane, Record)>,
    /// Requests that were answered.
    pub(super) asked: usize,
    faults: Vec<PlannedFault>,
    /// The most records of one page.
    largest: usize,
    failures: Vec<Fault>,
    /// Where each stream had come to, whenever a session had failed, and at the end.
    marks: Vec<BTreeMap<String, Json>>,
    last: BTreeMap<String, Json>,
}

impl Run {
    /// How many faults there are to try.
    pub(super) fn faults(&self) -> usize {
        self.faults.len()
    }

    /// The records of each lane together, lanes in the order in which they first came: between them there is no order.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Record> {
        let mut lanes: Vec<(&Lane, Vec<&Record>)> = Vec::new();
        for (lane, record) in &self.records {
            match lanes.iter_mut().find(|(known, _)| *known == lane) {
                Some((_, records)) => records.push(record),
                None => lanes.push((lane, vec![record])),
            }
        }
        lanes.into_iter().flat_map(|(_, records)| records)
    }
}

impl Replaying<'_> {
    /// The run as it was recorded.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn clean(&self, node: &SourceNode) -> Result<Run, String> {
        let run = self.read(node, None)?;
        match run.failures.iter().find(|fault| !fault.class().is_transient()) {
            Some(fault) => Err(fault.to_string()),
            None => Ok(run),
        }
    }

    /// Every fault at every exchange; how many were tried, and what came out wrong.
    pub(super) fn with_faults(&self, node: &SourceNode, clean: &Run) -> (usize, Vec<String>) {
        let every = clean.faults.len().div_ceil(MOST_FAULTS).max(1);
        let (mut tried, mut wrong) = (0, Vec::new());
        for fault in clean.faults.iter().step_by(every) {
            tried += 1;
            let what = format!("{} at exchange {} ({})", fault.what, fault.at + 1, fault.request);
            match self.read(node, Some(fault)) {
                Err(why) => wrong.push(format!("{what}: {why}")),
                Ok(run) => wrong.extend(differences(clean, &run, fault).map(|why| format!("{what}: {why}"))),
            }
        }
        (tried, wrong)
    }

    fn read(&self, node: &SourceNode, fault: Option<&PlannedFault>) -> Result<Run, String> {
        let clock = Simulated::at(self.now);
        let play = self.stage.play(self.fixture, Arc::new(clock.clone()), fault)?;
        let mut reading =
            Reading { node, clock, play, positions: BTreeMap::new(), run: Run::default(), crashed: false };
        for _ in 0..MOST_OPENINGS {
            let over = reading.session(self.pipeline);
            reading.note_marks(self.now);
            if over? {
                reading.run.last = reading.run.marks.pop().unwrap_or_default();
                reading.run.asked = reading.play.far_end.asked();
                reading.run.faults = reading.play.far_end.faults();
                return Ok(reading.run);
            }
        }
        let unknown = reading.play.far_end.unknown().join(", ");
        Err(match reading.run.failures.last() {
            Some(fault) => fault.to_string(),
            None => format!("it was opened {MOST_OPENINGS} times and never came to its end {unknown}"),
        })
    }
}

/// A source that is read, and opened again where it breaks off.
struct Reading<'a> {
    node: &'a SourceNode,
    clock: Simulated,
    play: Play,
    positions: BTreeMap<Lane, Position>,
    run: Run,
    /// The planned crash was.
    crashed: bool,
}

impl Reading<'_> {
    /// Reads until the source ends (true) or fails (false).
    ///
    /// # Errors
    /// It can neither go on nor end.
    fn session(&mut self, pipeline: &str) -> Result<bool, String> {
        self.clock.restart();
        let mut world = World::default();
        let company = Company {
            clock: Arc::new(self.clock.clone()),
            shared: self.play.shared.clone(),
            runs: Arc::new(NoRuns),
            once: false,
        };
        let opening = alone::open(pipeline, self.node, self.positions.clone(), company, world.tasks());
        let far_end = Arc::clone(&self.play.far_end);
        let crashed_before = self.crashed;
        let halts = || (far_end.crashed() && !crashed_before) || far_end.is_over();
        let mut source = match world.drive(&self.clock, opening, halts) {
            Driven::Done(Ok(source)) => source,
            Driven::Done(Err(fault)) => return self.failed(fault),
            Driven::Halted => return self.halted(),
            Driven::Stuck => return Err(self.stuck()),
        };
        let mut page = 0;
        loop {
            let batch = match world.drive(&self.clock, source.pull(), halts) {
                Driven::Done(Ok(Some(batch))) => batch,
                Driven::Done(Ok(None)) => return Ok(true),
                Driven::Done(Err(fault)) => return self.failed(fault),
                Driven::Halted => return self.halted(),
                Driven::Stuck => return Err(self.stuck()),
            };
            let taken = Taken::of(batch);
            if !taken.records.is_empty() {
                page += taken.records.len();
                self.run.largest = self.run.largest.max(page);
                let lane = &taken.lane;
                self.run.records.extend(taken.records.iter().map(|record| (lane.clone(), record.clone())));
                if taken.position().is_some() {
                    page = 0;
                }
                // The next page is asked for while this one is delivered, so a crash may find it unsaved.
                world.idle();
                if far_end.crashed() && !crashed_before {
                    return self.halted();
                }
            }
            match world.drive(&self.clock, taken.settle(&mut self.positions), || false) {
                Driven::Done(Ok(())) => {}
                Driven::Done(Err(fault)) => return self.failed(fault),
                Driven::Halted | Driven::Stuck => return Err(self.stuck()),
            }
        }
    }

    fn failed(&mut self, fault: Fault) -> Result<bool, String> {
        let hopeless = fault.code() == "not_recorded";
        let message = fault.to_string();
        self.run.failures.push(fault);
        if hopeless { Err(message) } else { Ok(false) }
    }

    /// It crashed, or there is no more of the recording.
    fn halted(&mut self) -> Result<bool, String> {
        let over = !self.play.far_end.crashed() || self.crashed;
        self.crashed |= self.play.far_end.crashed();
        Ok(over)
    }

    fn stuck(&self) -> String {
        match self.play.far_end.unknown().as_slice() {
            [] => "it waits for what never comes".to_owned(),
            unknown => format!("{} is not in the fixture", unknown.join(", ")),
        }
    }

    fn note_marks(&mut self, now: Millis) {
        let told = self.node.plan.explain(&self.positions, now).unwrap_or_default();
        let streams = told["streams"].as_array().into_iter().flatten();
        let mark = |stream: &Json| Some((stream["stream"].as_str()?.to_owned(), stream["mark"].clone()));
        self.run.marks.push(streams.filter_map(mark).collect());
    }
}

/// What of a run with a fault is not as without it.
fn differences(clean: &Run, run: &Run, fault: &PlannedFault) -> impl Iterator<Item = String> {
    let (expected, found) = (by_id(&clean.records), by_id(&run.records));
    let lost = expected.keys().filter(|id| !found.contains_key(*id)).count();
    let foreign = found.keys().filter(|id| !expected.contains_key(*id)).count();
    let changed =
        expected.iter().filter(|(id, body)| found.get(*id).is_some_and(|other| other != *body)).count();
    let again = |run: &Run, ids: usize| run.records.len() - ids;
    let repeated = again(run, found.len()).saturating_sub(again(clean, expected.len()));
    let moved = run
        .marks
        .iter()
        .flatten()
        .find(|(stream, mark)| !mark.is_null() && clean.last.get(*stream).is_none_or(|end| end != *mark));
    let other = run.failures.iter().find(|failure| fault.code.is_some_and(|code| failure.code() != code));
    let largest = clean.largest;
    let counts = [
        (lost > 0).then(|| format!("{lost} records were lost")),
        (foreign > 0).then(|| format!("{foreign} records came that are not there without it")),
        (changed > 0).then(|| format!("{changed} records are others than without it")),
        (repeated > largest)
            .then(|| format!("{repeated} records came again, more than the {largest} of a page")),
        moved.map(|(stream, mark)| format!("the failed run moved the mark of {stream} to {mark}")),
        other.map(|failure| format!("it ended in {failure}")),
    ];
    counts.into_iter().flatten()
}

fn by_id(records: &[(Lane, Record)]) -> HashMap<String, Bytes> {
    let of = |(_, record): &(Lane, Record)| (record.id().to_string(), record.body().bytes().clone());
    records.iter().map(of).collect()
}
