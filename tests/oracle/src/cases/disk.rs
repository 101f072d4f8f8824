//! K5, K6: the disk refuses to sync, or has no room.

use crate::faults::{Disk, FileSystem, Trace, fiu};
use crate::lane::{From, To};
use crate::observe::Manner;
use crate::rig::{PATIENCE, Rig};
use crate::run::{Build, Run};

/// System calls, and what is done to them.
const FAILURES: [(&str, &str); 4] = [
    ("fdatasync", "error=EIO:when=1"),
    ("fdatasync", "error=EIO"),
    ("fsync,fdatasync", "error=EIO"),
    ("pwrite64", "error=EIO:when=2"),
];

pub(super) fn failed_syncs(run: &mut Run) {
    for round in 0..run.tier.of(1, 5, 20) {
        for (calls, what) in FAILURES {
            run.needs("failed call", 1);
            let mut rig = run.rig_of(&format!("{calls}-{what}-{round}"), Build::Plain);
            rig.lane("hook-files", From::Webhook, To::Files);
            rig.lane("hook-http", From::Webhook, To::Http(Manner { refuses: 60, ..Manner::GOOD }));
            rig.begin();
            let injected = failing(&mut rig, calls, what);
            run.fired("failed call", injected.min(1));
            // It may also go on and refuse: then it is started again like one that ended.
            rig.daemon.end();
            rig.restart();
            rig.acks(5);
            rig.conclude();
            run.take(rig, 20);
        }
    }
}

/// Whatever the failed call was to make durable must never be acknowledged, and nothing after it.
/// Returns how often it failed.
pub(super) fn failing(rig: &mut Rig, calls: &str, what: &str) -> u64 {
    rig.acks(20);
    let log = rig.folder.join("strace.log");
    let trace = Trace::attach(rig.daemon.pid(), calls, what, &log).unwrap();
    rig.wait(PATIENCE, |rig| trace.injected() > 0 || !rig.daemon.is_running());
    // Who was being answered at that moment may still hear of it; nobody does from here on.
    let senders: u64 = rig.lanes.iter().map(|lane| u64::from(lane.pace.senders)).sum();
    let acked = rig.acked();
    rig.wait(PATIENCE, |rig| !rig.daemon.is_running() || rig.acked() > acked + senders);
    let injected = trace.injected();
    drop(trace);
    let more = rig.acked() - acked;
    if more > senders {
        rig.violations.push(format!("{more} events acknowledged after a failed {calls}"));
    } else if rig.daemon.is_running() {
        rig.violations.push(format!("goes on though {calls} failed"));
    }
    injected
}

/// As above, by another tool and at any moment: the process ends, and what it had promised is there.
pub(super) fn by_chance(run: &mut Run) {
    let rounds = run.tier.of(2, 20, 100);
    run.needs("ended by a failed sync", rounds);
    for round in 0..rounds {
        let mut rig = run.rig_of(&format!("{round}"), Build::Plain);
        let folder = rig.folder.clone();
        fiu::listening(rig.daemon.launch(), &folder);
        rig.lane("hook-files", From::Webhook, To::Files);
        rig.lane("hook-http", From::Webhook, To::Http(Manner { refuses: 60, ..Manner::GOOD }));
        rig.begin();
        rig.acks(20);
        let told = fiu::fail(rig.daemon.pid(), &folder, "posix/io/sync/*", 10);
        run.check(told.is_ok(), || format!("{told:?}"));
        if rig.wait(PATIENCE, |rig| !rig.daemon.is_running()) {
            run.fired("ended by a failed sync", 1);
        }
        rig.daemon.end();
        rig.restart();
        rig.acks(5);
        rig.conclude();
        run.take(rig, 20);
    }
}

pub(super) fn full(run: &mut Run) {
    let times = run.tier.of(2, 10, 30);
    run.needs("full disk", times);
    run.needs("turned away", 1);
    let mut rig = run.rig();
    let mut disk = Disk::make(&rig.folder, FileSystem::Ext4, 192).unwrap();
    rig.daemon.launch().data = Some(disk.path().join("data"));
    rig.lane("hook-files", From::Webhook, To::Files);
    rig.lane("hook-http", From::Webhook, To::Http(Manner { refuses: 30, ..Manner::GOOD }));
    rig.lane("queue-files", From::Queue, To::Files);
    rig.begin();
    for time in 0..times {
        rig.acks(20);
        let refused = rig.lanes[0].ledger.refused();
        // Below the floor, then not a byte.
        disk.fill(if time % 2 == 0 { 16 << 20 } else { 0 });
        rig.wait(PATIENCE, |rig| rig.lanes[0].ledger.refused() > refused + 3);
        run.fired("turned away", rig.lanes[0].ledger.refused() - refused);
        run.fired("full disk", 1);
        let alive = rig.daemon.is_running();
        run.check(alive, || "ended because its disk was full".into());
        disk.make_room();
    }
    rig.acks(20);
    rig.conclude();
    rig.daemon.end();
    run.take(rig, 50);
    disk.mend().unwrap();
}
