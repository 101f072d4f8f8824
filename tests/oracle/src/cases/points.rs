//! K2: the process dies at every point at which something has been done and the next thing has not.

use rand::RngExt as _;

use crate::ids::Sizes;
use crate::lane::{From, To};
use crate::observe::Manner;
use crate::rig::Rig;
use crate::run::{Build, Run};

/// A crash point and how often it is passed at least in a short run.
const POINTS: [(&str, u32); 25] = [
    ("crash::received", 100),
    ("store::before_write", 60),
    ("store::after_write_before_sync", 60),
    ("store::sync", 60),
    ("store::after_sync", 60),
    ("crash::before_answer", 100),
    ("crash::read_back", 30),
    ("crash::before_deliver", 100),
    ("crash::after_deliver", 100),
    ("crash::after_mark", 100),
    ("crash::settled", 60),
    ("crash::remembered", 60),
    ("crash::before_ack", 60),
    ("crash::after_ack", 60),
    ("crash::before_save", 4),
    ("crash::after_save", 4),
    ("progress::before_flush", 4),
    ("crash::progress_synced", 4),
    ("crash::before_letter", 10),
    ("crash::after_letter", 10),
    ("crash::before_swap", 2),
    ("crash::after_swap", 2),
    ("crash::keys_sealed", 1),
    ("crash::rolled", 1),
    ("crash::unlinked", 1),
];

/// Of all of these: they need more than a few seconds of load.
const HEAVY: [&str; 3] = ["crash::keys_sealed", "crash::rolled", "crash::unlinked"];

pub(super) fn sweep(run: &mut Run) {
    let rounds = run.tier.of(1, 2, 10);
    let only = run.only.clone();
    for round in 0..rounds {
        for (point, most) in POINTS {
            if only.as_deref().is_some_and(|only| only != point) {
                continue;
            }
            run.needs("crash", 1);
            crash(run, point, most, round);
        }
    }
}

fn crash(run: &mut Run, point: &str, most: u32, round: u32) {
    let mut rig = run.rig_of(&format!("{point}-{round}"), Build::Failpoints);
    lanes(&mut rig, HEAVY.contains(&point));
    let skip = rig.seed.random().random_range(0..most);
    rig.points(&format!("{point}={skip}*off->panic"));
    rig.write_pipelines();
    // Points that are passed while it starts may end it before it is ready, and before there is any load.
    let started = rig.try_start();
    let dead = match &started {
        Ok(()) => dies(&mut rig, point),
        Err(why) => why.contains(point),
    };
    if dead {
        run.fired("crash", 1);
    } else {
        rig.violations.push(format!("proves nothing: {point} was not reached in round {round}"));
    }
    rig.daemon.end();
    rig.points("");
    if started.is_err() {
        rig.load();
    }
    rig.restart();
    rig.acks(5);
    rig.conclude();
    for what in &mut rig.violations {
        *what = format!("{point}: {what}");
    }
    run.take(rig, 5);
}

/// Whether it dies under load.
fn dies(rig: &mut Rig, point: &str) -> bool {
    rig.load();
    let mut version = 0;
    rig.wait(crate::rig::PATIENCE, |rig| {
        if point.ends_with("_swap") && rig.acked() > 20 {
            version += 1;
            rig.lanes[0].middle = format!(
                "dedup: {{key: $.id, ttl: 1h}}\norder_by: $.key\nsteps:\n  - set: {{version: {version}}}\n"
            );
            // It dies in the middle of its answer.
            rig.reload().ok();
        }
        !rig.daemon.is_running()
    })
}

/// Journaled, replayed and polled sources, a sink with a ledger, one that rejects some, one that must try again.
fn lanes(rig: &mut Rig, heavy: bool) {
    let manner = Manner { rejects: true, refuses: 5, ..Manner::GOOD };
    rig.lane("hook-files", From::Webhook, To::Files);
    rig.lane("hook-http", From::Webhook, To::Http(manner));
    rig.lane("lines-http", From::SharedLines, To::Http(manner));
    rig.lane("queue-files", From::Queue, To::Files);
    rig.lane("api-http", From::Api, To::Http(manner));
    if heavy {
        let seed = rig.seed;
        for lane in &mut rig.lanes[..2] {
            let name = lane.name.clone();
            lane.sized(seed.of(&name), Sizes::Large);
            lane.pace.senders = 8;
        }
    }
}
