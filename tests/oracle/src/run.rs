//! One case as it runs: its seed, its size, what it counts, what it found.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use karez_tests::binary;

use crate::rig::Rig;
use crate::{Seed, Verdict};

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Tier {
    Run,
    Full,
    Long,
}

impl Tier {
    /// A count that depends on the tier.
    #[must_use]
    pub fn of<T>(self, run: T, full: T, long: T) -> T {
        match self {
            Self::Run => run,
            Self::Full => full,
            Self::Long => long,
        }
    }
}

/// Which binary is under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// As it is shipped.
    Plain,
    /// With crash points and planted bugs, which `FAILPOINTS` switches on.
    Failpoints,
}

impl Build {
    #[must_use]
    pub fn binary(self) -> PathBuf {
        match self {
            Self::Plain => binary(),
            Self::Failpoints => binary().with_file_name("karez-failpoints"),
        }
    }
}

/// What a case does and finds.
pub struct Run {
    pub seed: Seed,
    pub tier: Tier,
    /// One bug or point out of those that a case goes through.
    pub only: Option<String>,
    folder: PathBuf,
    folders: Cell<u32>,
    /// Faults by name, and how often each must have happened for the run to count.
    fired: BTreeMap<&'static str, (u64, u64)>,
    pub findings: Findings,
}

/// What came out of a case.
#[derive(Default)]
pub struct Findings {
    /// Verdicts of one kind of pair, summed.
    pub pairs: BTreeMap<String, (u64, Verdict)>,
    /// Everything that makes the case fail.
    pub violations: Vec<String>,
    pub recoveries: Vec<Duration>,
    pub drains: Vec<Duration>,
    /// Figures to be shown beside the row.
    pub notes: Vec<String>,
    /// What could not be done, and why.
    pub skips: Vec<String>,
}

impl Run {
    #[must_use]
    pub fn new(seed: Seed, tier: Tier, folder: PathBuf) -> Self {
        Self {
            seed,
            tier,
            only: None,
            folder,
            folders: Cell::new(0),
            fired: BTreeMap::new(),
            findings: Findings::default(),
        }
    }

    /// Where everything of this case is.
    #[must_use]
    pub fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// The next rig's name, from which its seed follows.
    fn next_name(&self) -> String {
        let number = self.folders.get();
        self.folders.set(number + 1);
        number.to_string()
    }

    #[must_use]
    pub fn rig(&self) -> Rig {
        self.rig_of(&self.next_name(), Build::Plain)
    }

    /// A rig with a name of its own: it is the same whatever ran before it.
    #[must_use]
    pub fn rig_of(&self, name: &str, build: Build) -> Rig {
        Rig::new(self.folder.join(name.replace("::", "-")), self.seed.of(name), build)
    }

    /// A fault must happen so often, or the run proves nothing.
    pub fn needs(&mut self, fault: &'static str, at_least: u64) {
        self.fired.entry(fault).or_default().1 += at_least;
    }

    /// A fault happened.
    pub fn fired(&mut self, fault: &'static str, times: u64) {
        self.fired.entry(fault).or_default().0 += times;
    }

    pub fn violation(&mut self, what: impl Into<String>) {
        self.findings.violations.push(what.into());
    }

    /// Checks one thing.
    pub fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violation(what());
        }
    }

    pub fn note(&mut self, what: impl Into<String>) {
        self.findings.notes.push(what.into());
    }

    pub fn skip(&mut self, why: impl Into<String>) {
        self.findings.skips.push(why.into());
    }

    /// Ends a rig and takes over what it found. A folder in which nothing is wrong goes.
    pub fn take(&mut self, mut rig: Rig, at_least: u64) {
        rig.close();
        let Rig { daemon, lanes, folder, violations, recoveries, drains, judged, .. } = rig;
        drop(daemon);
        drop(lanes);
        let good = violations.is_empty() && judged.iter().all(|(_, verdict)| verdict.violations.is_empty());
        let at = if good { String::new() } else { format!(" [{}]", folder.display()) };
        for what in violations {
            self.violation(format!("{what}{at}"));
        }
        for (pair, verdict) in judged {
            for what in &verdict.violations {
                self.violation(format!("{pair}: {what}{at}"));
            }
            if verdict.acked < at_least {
                self.violation(format!(
                    "{pair}: proves nothing, only {} of {at_least} acknowledged",
                    verdict.acked
                ));
            }
            let (runs, sum) = self.findings.pairs.entry(pair).or_default();
            *runs += 1;
            sum.add(&verdict);
        }
        self.findings.recoveries.extend(recoveries);
        self.findings.drains.extend(drains);
        if good {
            std::fs::remove_dir_all(folder).ok();
        }
    }

    /// The sum of all pairs so far.
    #[must_use]
    pub fn sum(&self) -> Verdict {
        let mut sum = Verdict::default();
        self.findings.pairs.values().for_each(|(_, verdict)| sum.add(verdict));
        sum
    }

    /// After the last rig: faults that did not happen prove nothing.
    #[must_use]
    pub fn finish(mut self) -> Findings {
        for (fault, (times, at_least)) in std::mem::take(&mut self.fired) {
            self.note(format!("{fault} {times}"));
            if times < at_least {
                self.violation(format!(
                    "proves nothing: {fault} happened {times} times of at least {at_least}"
                ));
            }
        }
        self.findings
    }
}

impl Verdict {
    fn add(&mut self, other: &Self) {
        self.attempted += other.attempted;
        self.acked += other.acked;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.effective += other.effective;
        self.dead_lettered += other.dead_lettered;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.repeated_on_the_wire += other.repeated_on_the_wire;
    }
}
