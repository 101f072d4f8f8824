//! B8, as far as files go: they are rotated, emptied, replaced under the same name, and end in half a line.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::Arc;

use crate::faults::pause_between;
use crate::lane::{From, To};
use crate::observe::Manner;
use crate::produce::Lines;
use crate::rig::{PATIENCE, Rig};
use crate::run::Run;

pub(super) fn rotated(run: &mut Run) {
    let kills = run.tier.of(3, 20, 100);
    run.needs("rotation", 5);
    run.needs("kill", kills);
    run.needs("emptied", 1);
    let mut rig = run.rig();
    rig.lane("lines-files", From::Lines, To::Files);
    rig.lane("lines-http", From::Lines, To::Http(Manner::GOOD));
    for lane in &mut rig.lanes {
        // Order is kept within a file; what was set aside and what follows it are two.
        lane.expect.ordered = false;
        let folder = rig.folder.join(format!("lane-{}", lane.name)).join("turning");
        lane.producer = Arc::new(Lines::new(folder).rotating());
    }
    let mut random = rig.seed.random();
    rig.begin();
    for _ in 0..kills {
        pause_between(&mut random, 300..1_000);
        rig.daemon.kill();
        run.fired("kill", 1);
        rig.restart();
    }
    rig.acks(150);
    // Emptied in place, once everything of it is read: what nobody has read nobody can give back.
    rig.lanes.iter().for_each(crate::lane::Lane::pause);
    rig.wait(PATIENCE, |rig| rig.is_at_rest() && (0..2).all(|lane| rig.verdict(lane).lost == 0));
    for lane in &rig.lanes {
        let folder = rig.folder.join(format!("lane-{}", lane.name)).join("turning");
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let (mut turned, mut emptied) = (0, 0);
        for path in files {
            if path.extension().is_some_and(|end| end == "ndjson") {
                OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
                emptied += 1;
            } else {
                turned += 1;
            }
        }
        run.fired("rotation", turned);
        run.fired("emptied", emptied);
    }
    rig.lanes.iter().for_each(crate::lane::Lane::go_on);
    rig.acks(30);
    half_a_line(run, &mut rig);
    rig.conclude();
    run.take(rig, 50);
}

/// Half a line waits for its end, over a restart.
fn half_a_line(run: &mut Run, rig: &mut Rig) {
    let lane = &rig.lanes[0];
    let event = lane.maker.event(999, 0);
    let path = rig.folder.join("lane-lines-files").join("turning").join("torn.ndjson");
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    let (half, rest) = event
        .body
        .split_at(event.body.len() / 2 + usize::from(!event.body.is_char_boundary(event.body.len() / 2)));
    file.write_all(half.as_bytes()).unwrap();
    file.sync_data().unwrap();
    rig.acks(30);
    rig.daemon.kill();
    run.fired("kill", 1);
    rig.restart();
    let lane = &rig.lanes[0];
    lane.ledger.attempts(event.id);
    file.write_all(format!("{rest}\n").as_bytes()).unwrap();
    file.sync_data().unwrap();
    lane.ledger.ended(event.id, crate::Fate::Acked);
}
