//! K4, K7: starting again is interrupted, or finds a state that somebody has damaged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::faults::{Disk, FileSystem, pause_between};
use crate::lane::{From, To};
use crate::observe::{Http, Manner};
use crate::rig::Rig;
use crate::run::{Build, Run};

/// Killed or cut while it recovers, several times in a row.
pub(super) fn crash_in_recovery(run: &mut Run) {
    let times = run.tier.of(3, 20, 50);
    run.needs("crash in recovery", times);
    let mut rig = run.rig();
    let mut disk = Disk::make(&rig.folder, FileSystem::Ext4, 320).unwrap();
    rig.daemon.launch().data = Some(disk.path().join("data"));
    rig.lane("hook-http", From::Webhook, To::Http(Manner { refuses: 50, ..Manner::GOOD }));
    rig.lane("lines-files", From::Lines, To::Files);
    let mut random = rig.seed.random();
    rig.begin();
    for _ in 0..times {
        rig.acks(20);
        rig.daemon.kill();
        for _ in 0..random.random_range(1..=5) {
            rig.daemon.spawn();
            pause_between(&mut random, 10..500);
            match random.random() {
                true => rig.daemon.end(),
                false => rig.power_cut(&mut disk),
            }
            run.fired("crash in recovery", 1);
        }
        rig.restart();
    }
    rig.acks(5);
    rig.conclude();
    rig.daemon.end();
    run.take(rig, 50);
}

/// How a damaged state came out.
#[derive(Default)]
struct Ends {
    refused: u64,
    identical: u64,
    announced: u64,
}

/// A state with a backlog, positions and dead letters, damaged at random and started, again and again.
pub(super) fn damaged(run: &mut Run) {
    let times = run.tier.of(25, 1_000, 4_000);
    run.needs("damaged state", times);
    let mut base = run.rig_of("base", Build::Plain);
    base.lane("hook-http", From::Webhook, To::Http(Manner::CLOSED));
    base.lane("lines-http", From::SharedLines, To::Http(Manner { rejects: true, ..Manner::GOOD }));
    base.lanes.iter_mut().for_each(|lane| lane.sized(lane.maker.seed(), crate::ids::Sizes::Small));
    base.begin();
    base.acks(60);
    base.daemon.kill();
    base.lanes.iter_mut().for_each(crate::lane::Lane::end);
    let mut ends = Ends::default();
    for time in 0..times {
        one(run, &base, time, &mut ends);
        run.fired("damaged state", 1);
    }
    run.note(format!(
        "{} identical, {} refused by name, {} announced",
        ends.identical, ends.refused, ends.announced
    ));
    drop(base.daemon);
}

fn one(run: &mut Run, base: &Rig, time: u64, ends: &mut Ends) {
    let mut rig = run.rig_of(&format!("damaged-{time}"), Build::Plain);
    copy(&base.daemon.data(), &rig.daemon.data());
    let damage = damage(&rig.daemon.data(), &mut rig.seed.random());
    for lane in &base.lanes {
        let mut copied = crate::lane::Lane::new(&rig.folder, &lane.name, rig.seed, From::Webhook, To::Files);
        let log = rig.folder.join(format!("{}.log", lane.name));
        copied.observer = Box::new(Http::start(&log, rig.seed, Manner::GOOD));
        copied.producer = Arc::clone(&lane.producer);
        copied.ledger = Arc::clone(&lane.ledger);
        copied.maker = lane.maker.clone();
        copied.middle.clone_from(&lane.middle);
        copied.pair.clone_from(&lane.pair);
        rig.lanes.push(copied);
    }
    rig.write_pipelines();
    let started = rig.daemon.try_restart(Duration::from_secs(60));
    let mut wrong = Vec::new();
    match started {
        Err(why) if why.contains("the daemon ended, exit status: 3") => ends.refused += 1,
        Err(why) => wrong.push(format!("neither started nor refused: {}", crate::rig::tail(&why, 400))),
        Ok(()) => {
            rig.wait(Duration::from_secs(20), Rig::is_at_rest);
            judge(&mut rig, ends, &mut wrong);
        }
    }
    let said = rig.daemon.stderr();
    if said.contains("panicked") {
        wrong.push(format!("panicked: {}", crate::rig::tail(&said, 400)));
    }
    rig.daemon.end();
    if wrong.is_empty() {
        std::fs::remove_dir_all(&rig.folder).ok();
    }
    for what in wrong {
        run.violation(format!("{damage}: {what} [{}]", rig.folder.display()));
    }
}

/// Whatever came out is as it was sent; whatever did not come out was said to be lost.
fn judge(rig: &mut Rig, ends: &mut Ends, wrong: &mut Vec<String>) {
    let announced =
        rig.daemon.stderr().lines().any(|line| {
            (line.contains("WARN") || line.contains("ERROR")) && !line.contains("delivery failed")
        }) || rig.daemon.scrape().is_ok_and(|metrics| metrics.value("karez_store_damage_total") > 0);
    let mut lost = 0;
    for index in 0..rig.lanes.len() {
        let mut verdict = rig.verdict(index);
        // What the lines lane delivered before it was copied is not to come again.
        if index == 1 {
            verdict.lost = 0;
        }
        lost += verdict.lost;
        wrong.extend(verdict.violations.into_iter().filter(|what| {
            what.starts_with("forged")
                || what.starts_with("corrupt")
                || what.starts_with("repeated in effect")
        }));
    }
    match (lost, announced) {
        (0, false) => ends.identical += 1,
        (_, true) => ends.announced += 1,
        (lost, false) => wrong.push(format!("{lost} events are gone and nothing was said")),
    }
}

/// Changes one file of a state somewhere; says how.
fn damage(data: &Path, random: &mut SmallRng) -> String {
    let mut files = Vec::new();
    list(data, &mut files);
    // The token is no part of the store: another one would only turn this judge away.
    files.retain(|path| {
        !path.ends_with("admin.token") && std::fs::metadata(path).is_ok_and(|file| file.len() > 0)
    });
    files.sort();
    let path = files[random.random_range(0..files.len())].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    // Half of the time where there is something, else anywhere.
    let end = match random.random() {
        true => bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |last| last + 1),
        false => bytes.len(),
    };
    let at = random.random_range(0..end);
    let how = match random.random_range(0..4) {
        0 => {
            bytes.truncate(at);
            "cut off"
        }
        1 => {
            let until = (at + random.random_range(1..5_000)).min(bytes.len());
            bytes[at..until].fill(0);
            "zeroed"
        }
        _ => {
            bytes[at] ^= 1 << random.random_range(0..8);
            "a bit flipped"
        }
    };
    std::fs::write(&path, bytes).unwrap();
    format!("{} {how} at {at}", path.strip_prefix(data).unwrap_or(&path).display())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(copied.success());
}
