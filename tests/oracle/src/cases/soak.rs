//! SOAK: everything at once, for hours: a fault each minute, a reload each minute, and nothing may creep.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use rustix::process::Signal;

use super::kill::all_pairs;
use crate::broker;
use crate::observe::Manner;
use crate::produce::Pace;
use crate::rig::Rig;
use crate::run::Run;

const ROUND: Duration = Duration::from_secs(60);

pub(super) fn soak(run: &mut Run) {
    let rounds: u64 = run.tier.of(1, 10, 150);
    run.needs("fault", rounds);
    run.needs("reload", rounds);
    let mut rig = run.rig();
    all_pairs(&mut rig, Manner::BAD);
    rig.pace(Pace { senders: 4, pause: Duration::from_millis(10), ..Pace::default() });
    let mut random = rig.seed.random();
    let middles: Vec<String> = rig.lanes.iter().map(|lane| lane.middle.clone()).collect();
    let mut memory = Vec::new();
    rig.begin();
    for round in 0..rounds {
        let begun = Instant::now();
        match random.random_range(0..4) {
            0 => {
                rig.daemon.kill();
                rig.restart();
            }
            1 => {
                rig.daemon.signal(Signal::TERM);
                rig.daemon.ended(Duration::from_secs(60));
                rig.restart();
            }
            2 => {
                rig.daemon.signal(Signal::STOP);
                std::thread::sleep(Duration::from_secs(5));
                rig.daemon.signal(Signal::CONT);
            }
            _ => {
                broker().lock().unwrap().kill();
                broker().lock().unwrap().restart();
            }
        }
        run.fired("fault", 1);
        for (lane, middle) in rig.lanes.iter_mut().zip(&middles) {
            lane.middle = format!("{middle}steps:\n  - set: {{round: {round}}}\n");
        }
        match rig.reload() {
            Ok(()) => run.fired("reload", 1),
            Err(why) => rig.violations.push(format!("reload {round}: {why}")),
        }
        std::thread::sleep(ROUND.saturating_sub(begun.elapsed()));
        memory.push((rig.daemon.memory() >> 20, descriptors(&rig)));
    }
    let half = memory.len() / 2;
    let most = |part: &[(u64, usize)]| {
        part.iter().copied().reduce(|a, b| (a.0.max(b.0), a.1.max(b.1))).unwrap_or_default()
    };
    let (early, late) = (most(&memory[..half.max(1)]), most(&memory[half..]));
    run.note(format!("memory {} then {} MiB, descriptors {} then {}", early.0, late.0, early.1, late.1));
    run.check(late.0 <= early.0 + 64, || "memory creeps".into());
    run.check(late.1 <= early.1 + 64, || "descriptors creep".into());
    rig.acks(5);
    rig.conclude();
    run.take(rig, 500);
}

fn descriptors(rig: &Rig) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", rig.daemon.pid())).map_or(0, Iterator::count)
}
