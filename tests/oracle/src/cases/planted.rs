//! Ten bugs of the kind that lose data quietly, switched on one at a time. A judge that lets one through
//! would let the same mistake through in earnest.

use std::time::Duration;

use super::disk;
use crate::faults::{Disk, FileSystem, names};
use crate::lane::{From, To};
use crate::observe::Manner;
use crate::produce::Silence;
use crate::rig::Rig;
use crate::run::{Build, Run};

/// A bug by the name of its fail point, what the scenario has beside it, and the scenario.
struct Bug {
    name: &'static str,
    beside: &'static str,
    scenario: fn(&mut Rig),
}

const BUGS: [Bug; 10] = [
    Bug { name: "ack_before_sync", beside: "", scenario: power_cut },
    Bug { name: "rename_without_folder_sync", beside: "", scenario: names_are_synced },
    Bug {
        name: "mark_before_entry",
        beside: "crash::between_mark_and_entry=15*off->panic",
        scenario: crash_by_itself,
    },
    Bug { name: "highest_position", beside: "", scenario: killed_with_one_key_waiting },
    Bug { name: "drop_on_reload", beside: "", scenario: reloaded },
    Bug { name: "sync_again", beside: "", scenario: sync_fails },
    Bug { name: "letter_not_counted", beside: "", scenario: dead_letters },
    Bug { name: "drop_when_full", beside: "", scenario: full_window },
    Bug { name: "retry_breaks_order", beside: "", scenario: retries },
    Bug { name: "checkpoint_ahead", beside: "", scenario: killed_with_a_closed_sink },
];

/// Less than usual: something is wrong in every one of these.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn all(run: &mut Run) {
    let mut caught = 0;
    let chosen = |bug: &&Bug| run.only.as_deref().is_none_or(|only| only == bug.name);
    for bug in BUGS.iter().filter(chosen).collect::<Vec<_>>() {
        if run.tier >= crate::Tier::Full {
            let found = without(run, bug);
            run.check(found.is_empty(), || {
                format!("{} is blamed without a bug: {}", bug.name, found.join("; "))
            });
        }
        let found = with(run, bug);
        eprintln!("oracle: planted {}: {}", bug.name, found.first().map_or("NOT CAUGHT", String::as_str));
        match found.is_empty() {
            false => caught += 1,
            true => run.violation(format!("planted {} is not caught", bug.name)),
        }
    }
    run.note(format!("planted {caught}/{} caught", BUGS.len()));
}

fn with(run: &Run, bug: &Bug) -> Vec<String> {
    let mut rig = run.rig_of(bug.name, Build::Failpoints);
    let points = format!("planted::{}=return", bug.name);
    rig.points(&[&points, bug.beside].join(";"));
    rig.patience = PATIENCE;
    (bug.scenario)(&mut rig);
    rig.found()
}

/// The same without the bug: nothing may be found, or the scenario proves nothing.
fn without(run: &Run, bug: &Bug) -> Vec<String> {
    let mut rig = run.rig_of(&format!("without-{}", bug.name), Build::Failpoints);
    rig.points(&bug.beside.replace("crash::between_mark_and_entry", "store::after_sync"));
    (bug.scenario)(&mut rig);
    rig.found()
}

/// Everything is in the journal only when the power goes.
fn power_cut(rig: &mut Rig) {
    let mut disk = Disk::make(&rig.folder, FileSystem::Ext4, 128).unwrap();
    rig.daemon.launch().data = Some(disk.path().join("data"));
    rig.lane("cut", From::Webhook, To::Http(Manner::CLOSED));
    rig.begin();
    rig.acks(40);
    rig.power_cut(&mut disk);
    rig.restart();
    settle(rig);
    rig.daemon.end();
}

/// File systems of today hide a missing sync of a folder behind the next sync of a file in it; the standard does
/// not promise that. So it is looked for among the system calls.
fn names_are_synced(rig: &mut Rig) {
    let log = rig.folder.join("names.log");
    rig.daemon.launch().prefix = names::watching(&log);
    rig.lane("names", From::Webhook, To::Files);
    rig.begin();
    rig.acks(20);
    settle(rig);
    rig.daemon.end();
    rig.violations.extend(names::unsynced(&log, &rig.daemon.data()));
}

fn settle(rig: &mut Rig) {
    rig.points("");
    rig.settle();
    rig.judge();
}

fn crash_by_itself(rig: &mut Rig) {
    // Who is never told sends again, and must not be told that it is known.
    rig.lane("crash", From::Webhook, To::Files).pace.silence = Silence::TryAgain;
    rig.begin();
    rig.wait(PATIENCE, |rig| !rig.daemon.is_running());
    rig.daemon.end();
    rig.points("");
    rig.restart();
    rig.acks(20);
    settle(rig);
}

fn killed_with_one_key_waiting(rig: &mut Rig) {
    rig.lane("key", From::SharedLines, To::Http(Manner { stubborn: true, ..Manner::GOOD }));
    rig.begin();
    rig.wait(PATIENCE, |rig| rig.progress() > 100);
    // Positions are saved now and then: the wrong one has to be.
    std::thread::sleep(Duration::from_millis(500));
    rig.daemon.kill();
    rig.restart();
    settle(rig);
}

fn killed_with_a_closed_sink(rig: &mut Rig) {
    rig.lane("closed", From::Lines, To::Http(Manner::CLOSED));
    rig.begin();
    rig.acks(50);
    // Positions are saved now and then; this one has time to save what it must not.
    std::thread::sleep(Duration::from_millis(500));
    rig.daemon.kill();
    rig.restart();
    settle(rig);
}

fn reloaded(rig: &mut Rig) {
    rig.lane("reload", From::Webhook, To::Http(Manner { refuses: 60, ..Manner::GOOD }));
    rig.begin();
    rig.acks(50);
    rig.lanes[0].middle.push_str("steps:\n  - set: {version: 2}\n");
    let failed = rig.reload().err();
    rig.violations.extend(failed);
    rig.acks(5);
    settle(rig);
}

fn dead_letters(rig: &mut Rig) {
    rig.lane("letters", From::Webhook, To::Http(Manner { rejects: true, ..Manner::GOOD }));
    rig.begin();
    rig.acks(40);
    settle(rig);
}

fn full_window(rig: &mut Rig) {
    let lane = rig.lane("full", From::Webhook, To::Http(Manner::CLOSED));
    lane.source_keys = ", max_in_flight: {records: 20}".into();
    rig.begin();
    rig.acks(200);
    settle(rig);
}

fn retries(rig: &mut Rig) {
    rig.lane("order", From::Webhook, To::Http(Manner { refuses: 30, ..Manner::GOOD }));
    rig.begin();
    rig.acks(50);
    settle(rig);
}

fn sync_fails(rig: &mut Rig) {
    rig.lane("sync", From::Webhook, To::Files);
    rig.begin();
    disk::failing(rig, "fdatasync", "error=EIO:when=1");
    rig.daemon.end();
    rig.restart();
    rig.acks(5);
    settle(rig);
}
