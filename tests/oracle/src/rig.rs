//! A daemon with its lanes, and the phases that every case goes through: load and faults, heal, recover,
//! drain, judge, probe. Nothing is asserted while faults go on, nothing is excused after.

mod judging;
mod letters;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use karez_tests::{Daemon, Folder, Launch, Request, send};
use rustix::process::Signal;

use crate::faults::{Disk, stands_still};
use crate::lane::{From, Lane, To};
use crate::produce::Pace;
use crate::run::Build;
use crate::{Seed, Verdict, stuck};

/// How long anything may go without progress before it counts as stuck.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a daemon may take until it works again.
pub const RECOVER: Duration = Duration::from_secs(180);
/// How long an event may take through an idle pipeline at the end.
pub const PROBE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A daemon under test.
pub struct Rig {
    pub daemon: Daemon,
    pub lanes: Vec<Lane>,
    pub folder: PathBuf,
    pub seed: Seed,
    /// Starts of the daemon.
    pub lives: u32,
    last_start: Option<Instant>,
    /// How long anything may go without progress before it counts as stuck.
    pub patience: Duration,
    /// What is wrong, found on the way.
    pub violations: Vec<String>,
    pub recoveries: Vec<Duration>,
    pub drains: Vec<Duration>,
    /// What became of each lane, by its pair.
    pub judged: Vec<(String, Verdict)>,
}

impl Rig {
    /// A daemon that does not run yet, in a folder of its own.
    #[must_use]
    pub fn new(folder: PathBuf, seed: Seed, build: Build) -> Self {
        let launch = Launch { binary: Some(build.binary()), ..Launch::default() };
        Self {
            daemon: Daemon::prepare(Folder::staying(&folder), launch),
            lanes: Vec::new(),
            seed,
            folder,
            lives: 0,
            last_start: None,
            patience: PATIENCE,
            violations: Vec::new(),
            recoveries: Vec::new(),
            drains: Vec::new(),
            judged: Vec::new(),
        }
    }

    /// Adds a pipeline with both its ends.
    pub fn lane(&mut self, name: &str, from: From, to: To) -> &mut Lane {
        let seed = self.seed.of(name);
        self.lanes.push(Lane::new(&self.folder, name, seed, from, to));
        self.lanes.last_mut().unwrap()
    }

    /// Writes the files, starts the daemon and the load.
    pub fn begin(&mut self) {
        self.write_pipelines();
        self.start();
        self.load();
    }

    pub fn write_pipelines(&self) {
        self.lanes.iter().for_each(|lane| self.daemon.pipeline(&lane.name, &lane.pipeline()));
    }

    pub fn load(&mut self) {
        self.lanes.iter_mut().for_each(Lane::begin);
    }

    /// Starts the daemon; it is ready when this returns, or there is a violation.
    pub fn start(&mut self) -> bool {
        match self.try_start() {
            Ok(()) => true,
            Err(why) => {
                self.violations.push(format!("does not start: {}", tail(&why, 600)));
                false
            }
        }
    }

    /// # Errors
    /// It ended, or is not ready in time, and what it said.
    pub fn try_start(&mut self) -> Result<(), String> {
        self.lives += 1;
        self.last_start = Some(Instant::now());
        self.daemon.try_restart(RECOVER)?;
        self.follow();
        Ok(())
    }

    /// Senders learn where it listens.
    pub fn follow(&self) {
        self.lanes.iter().for_each(|lane| lane.producer.follow(&self.daemon));
    }

    /// Starts it again and notes how long it took until the first event was acknowledged or delivered.
    pub fn restart(&mut self) {
        let before = (self.acked(), self.progress());
        if !self.start() {
            return;
        }
        let works = |rig: &mut Self| rig.acked() != before.0 || rig.progress() != before.1;
        let begun = self.last_start.unwrap();
        if self.wait(Duration::from_secs(10), works) {
            self.recoveries.push(begun.elapsed());
        }
    }

    /// Events acknowledged in all lanes.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.ledger.acked()).sum()
    }

    pub fn progress(&mut self) -> u64 {
        let ends = self.lanes.iter_mut().flat_map(|lane| {
            std::iter::once(&mut lane.observer).chain(&mut lane.branch).map(|end| end.progress())
        });
        ends.sum()
    }

    /// Waits until every lane delivers again, as karez counts it, without anybody's help; notes how long it took.
    pub fn resumes(&mut self, after: &str) {
        let begun = Instant::now();
        let delivered = |rig: &Self| {
            let metrics = rig.daemon.scrape().ok();
            let of =
                |lane: &Lane| metrics.as_ref().map_or(0, |metrics| metrics.outcome(&lane.name, "delivered"));
            rig.lanes.iter().map(of).collect::<Vec<u64>>()
        };
        let before = delivered(self);
        if self.wait(PATIENCE, |rig| delivered(rig).iter().zip(&before).all(|(now, before)| now > before)) {
            self.recoveries.push(begun.elapsed());
        } else {
            let stuck = self.stuck(&format!("a lane does not move after {after}"));
            self.violations.push(stuck);
        }
    }

    /// Until so many more events are acknowledged in each lane.
    pub fn acks(&mut self, more: u64) {
        let until: Vec<u64> = self.lanes.iter().map(|lane| lane.ledger.acked() + more).collect();
        let enough =
            |rig: &mut Self| rig.lanes.iter().zip(&until).all(|(lane, until)| lane.ledger.acked() >= *until);
        if !self.wait(self.patience, enough) {
            let stuck = self.stuck("events are not acknowledged any more");
            self.violations.push(stuck);
        }
    }

    /// Whether it holds in time.
    pub fn wait(&mut self, time: Duration, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let until = Instant::now() + time;
        loop {
            if holds(self) {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(POLL);
        }
    }

    pub fn stuck(&mut self, what: &str) -> String {
        stuck::evidence(&self.daemon, &self.folder);
        format!("stuck: {what}; evidence in {}", self.folder.display())
    }

    /// The end of a case: heal, recover, drain, judge, probe.
    pub fn conclude(&mut self) {
        self.settle();
        self.judge();
        self.probe();
    }

    /// Ends the load, heals, recovers, and drains.
    pub fn settle(&mut self) {
        for lane in &mut self.lanes {
            lane.observer.heal();
            lane.branch.iter_mut().for_each(|branch| branch.heal());
        }
        if !self.daemon.is_running() {
            self.restart();
        }
        self.lanes.iter_mut().for_each(Lane::end);
        self.drain();
    }

    /// Until everything that was promised has arrived and nothing is on its way.
    pub fn drain(&mut self) {
        let begun = self.last_start.unwrap_or_else(Instant::now);
        let mut last = (self.state(), Instant::now());
        loop {
            if self.is_drained() {
                self.drains.push(begun.elapsed());
                return;
            }
            std::thread::sleep(POLL * 5);
            let state = self.state();
            if state != last.0 {
                last = (state, Instant::now());
            } else if last.1.elapsed() > self.patience {
                let stuck = self.stuck("what was promised does not arrive");
                return self.violations.push(stuck);
            }
        }
    }

    /// What changes while there is progress.
    fn state(&mut self) -> (u64, u64) {
        let moved = self.daemon.scrape().map_or(0, |metrics| {
            let outcome = |lane: &Lane| {
                metrics.outcome(&lane.name, "delivered") + metrics.outcome(&lane.name, "dead_lettered")
            };
            self.lanes.iter().map(outcome).sum()
        });
        (self.progress(), moved)
    }

    /// Whether nothing is on its way.
    pub fn is_at_rest(&mut self) -> bool {
        let Ok(metrics) = self.daemon.scrape() else { return false };
        let idle = |lane: &Lane| {
            let pipeline = &lane.name;
            let journal: u64 = metrics.sum("karez_journal_entries", &format!("pipeline=\"{pipeline}\""));
            metrics.in_flight(pipeline) == 0 && journal == 0
        };
        self.lanes.iter().all(idle)
    }

    fn is_drained(&mut self) -> bool {
        self.is_at_rest()
            && (0..self.lanes.len()).all(|index| {
                self.verdict(index).lost == 0 && self.branch(index).is_none_or(|branch| branch.lost == 0)
            })
    }

    /// Changes what stands in the middle of each pipeline and has it loaded.
    ///
    /// # Errors
    /// What the daemon says.
    pub fn reload(&mut self) -> Result<(), String> {
        self.write_pipelines();
        let answer = self.daemon.ask("POST", "reload").map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    }

    /// 99th percentile of the time to an acknowledgement in one lane.
    #[must_use]
    pub fn slowest(&self, lane: usize) -> Duration {
        let waits = self.lanes[lane].ledger.waits();
        waits.get(waits.len() * 99 / 100).copied().unwrap_or_default()
    }

    /// Goes through a power cut: `disk` is where the state is.
    pub fn power_cut(&mut self, disk: &mut Disk) {
        // Nobody works on without power: a sync that the kernel answers after the cut must not be believed.
        self.daemon.signal(Signal::STOP);
        stands_still(self.daemon.pid());
        let cut = disk.cut();
        self.daemon.end();
        let mended = cut.and_then(|()| disk.mend());
        if let Err(why) = mended {
            panic!("{why}");
        }
    }

    /// What the next start gets in `FAILPOINTS`.
    pub fn points(&mut self, points: &str) {
        match points {
            "" => self.daemon.launch().unset("FAILPOINTS"),
            points => self.daemon.launch().set("FAILPOINTS", points),
        }
    }

    /// Another pace for all lanes, before they begin.
    pub fn pace(&mut self, pace: Pace) {
        self.lanes.iter_mut().for_each(|lane| lane.pace = pace);
    }

    /// A request to the admin side that anybody may make.
    #[must_use]
    pub fn admin_status(&self, path: &str) -> Option<u16> {
        send(self.daemon.admin(), &Request::get(path)).ok().map(|answer| answer.status)
    }
}

/// The last part of a text.
#[must_use]
pub fn tail(text: &str, length: usize) -> &str {
    let mut begin = text.len().saturating_sub(length);
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    &text[begin..]
}
