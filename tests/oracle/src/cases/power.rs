//! K3: the power goes under load, the state on a disk that forgets what was not synced, the far ends on one
//! that does not. What is not acknowledged may be kept all the same.

use crate::faults::{Disk, FileSystem, pause_between};
use crate::lane::{From, To};
use crate::observe::Manner;
use crate::rig::Rig;
use crate::run::{Build, Run};

const DISKS: [(&str, FileSystem, u64); 3] = [
    ("ext4", FileSystem::Ext4, 320),
    ("xfs", FileSystem::Xfs, 400),
    ("ext4-nojournal", FileSystem::Unjournaled, 320),
];

pub(super) fn cuts(run: &mut Run) {
    let cuts = run.tier.of(3, 20, 50);
    for (name, kind, size) in DISKS {
        // Each needs so many of its own.
        let fired: &'static str = match kind {
            FileSystem::Ext4 => "cut on ext4",
            FileSystem::Xfs => "cut on XFS",
            FileSystem::Unjournaled => "cut on ext4 without journal",
        };
        run.needs(fired, cuts);
        let mut rig = run.rig_of(name, Build::Plain);
        let mut disk = Disk::make(&rig.folder, kind, size).unwrap();
        rig.daemon.launch().data = Some(disk.path().join("data"));
        lanes(&mut rig);
        let mut random = rig.seed.random();
        rig.begin();
        for _ in 0..cuts {
            pause_between(&mut random, 100..1_200);
            rig.power_cut(&mut disk);
            run.fired(fired, 1);
            rig.restart();
        }
        rig.acks(5);
        rig.conclude();
        rig.daemon.end();
        run.take(rig, 50);
    }
    let sum = run.sum();
    run.check(sum.unknown > 0, || "proves nothing: no request was cut".into());
}

/// One sink that has time, one that leaves most of it in the journal, and positions of a file.
fn lanes(rig: &mut Rig) {
    rig.lane("hook-files", From::Webhook, To::Files);
    rig.lane("hook-http", From::Webhook, To::Http(Manner { refuses: 60, ..Manner::GOOD }));
    rig.lane("lines-files", From::Lines, To::Files);
    rig.lane(
        "lines-http",
        From::SharedLines,
        To::Http(Manner { rejects: true, refuses: 20, ..Manner::GOOD }),
    );
}
