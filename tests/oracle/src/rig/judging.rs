//! The end of every case: each lane is judged, a fresh event goes through it, the daemon stops well.

use std::collections::BTreeSet;

use karez_tests::Metrics;
use rustix::process::Signal;

use super::{PROBE, RECOVER, Rig};
use crate::lane::Lane;
use crate::produce::probe;
use crate::{Fate, Id, Verdict, judge};

impl Rig {
    /// What became of one lane's events so far.
    pub fn verdict(&mut self, index: usize) -> Verdict {
        let letters = self.lettered(index);
        let lane = &mut self.lanes[index];
        judge(&lane.maker, &lane.ledger.accounts(), &lane.observer.sightings(), &letters, lane.expect)
    }

    /// The same of its second sink, if it has one.
    pub fn branch(&mut self, index: usize) -> Option<Verdict> {
        let letters = self.lettered(index);
        let lane = &mut self.lanes[index];
        let sightings = lane.branch.as_mut()?.sightings();
        Some(judge(&lane.maker, &lane.ledger.accounts(), &sightings, &letters, lane.expect))
    }

    fn lettered(&self, index: usize) -> BTreeSet<Id> {
        let lane = &self.lanes[index];
        self.letters(&lane.name).iter().filter_map(|body| lane.maker.recognise(body).ok()).collect()
    }

    /// Ledger against observations, counters against each other and, for a daemon that never died, against both.
    pub fn judge(&mut self) {
        let metrics = self.daemon.scrape().ok();
        for index in 0..self.lanes.len() {
            let mut verdict = self.verdict(index);
            let lane = &self.lanes[index];
            match &metrics {
                Some(metrics) => {
                    verdict.violations.extend(counters(metrics, lane, &verdict, self.lives == 1))
                }
                None => verdict.violations.push("no metrics".into()),
            }
            self.judged.push((self.lanes[index].pair.clone(), verdict));
            if let Some(branch) = self.branch(index) {
                self.judged.push((self.lanes[index].branch_pair(), branch));
            }
        }
    }

    /// A fresh event goes through every pipeline in time.
    pub fn probe(&mut self) {
        for index in 0..self.lanes.len() {
            let lane = &mut self.lanes[index];
            let event = probe(&lane.maker, lane.probes);
            lane.probes += 1;
            if (lane.expect.filtered)(event.id) {
                continue;
            }
            let mut sender = lane.producer.sender(event.id.producer);
            lane.ledger.attempts(event.id);
            let fate = sender.attempt(&event);
            lane.ledger.ended(event.id, fate);
            let arrived = |rig: &mut Self| {
                let lane = &mut rig.lanes[index];
                let seen = lane.observer.sightings();
                seen.iter().rev().any(|sighting| lane.maker.recognise(&sighting.body) == Ok(event.id))
            };
            if fate != Fate::Acked || !self.wait(PROBE, arrived) {
                let pair = self.lanes[index].pair.clone();
                let stuck = self.stuck(&format!("a fresh event does not go through {pair} ({fate:?})"));
                self.violations.push(stuck);
            }
        }
    }

    /// Ends a daemon that still runs as an operator would, and has its store looked at.
    pub fn close(&mut self) {
        if !self.daemon.is_running() {
            return;
        }
        self.daemon.signal(Signal::TERM);
        let status = self.daemon.ended(RECOVER);
        if status.code() != Some(0) {
            self.violations.push(format!("the last stop ended with {status}"));
        }
        let data = self.daemon.data().display().to_string();
        let verified = self.daemon.karez(&["store", "verify", "--data-dir", &data]);
        if verified.code != 0 {
            self.violations.push(format!("the store is not whole: {}{}", verified.stdout, verified.stderr));
        }
    }

    /// Everything that is wrong so far.
    #[must_use]
    pub fn found(&self) -> Vec<String> {
        let judged = self
            .judged
            .iter()
            .flat_map(|(pair, verdict)| verdict.violations.iter().map(move |what| format!("{pair}: {what}")));
        judged.chain(self.violations.iter().cloned()).collect()
    }
}

/// The counters of a lane against themselves; and against the ledger where one process counted everything.
fn counters(metrics: &Metrics, lane: &Lane, verdict: &Verdict, whole: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(metrics.balance(&lane.name).err());
    let held = metrics.in_flight(&lane.name);
    if held != 0 {
        wrong.push(format!("{held} in flight after the end"));
    }
    if whole {
        let delivered = metrics.outcome(&lane.name, "delivered");
        let letters = metrics.outcome(&lane.name, "dead_lettered");
        if (delivered, letters) != (verdict.effective, verdict.dead_lettered) {
            wrong.push(format!(
                "counted {delivered} delivered and {letters} dead-lettered, seen {} and {}",
                verdict.effective, verdict.dead_lettered
            ));
        }
    }
    wrong
}
