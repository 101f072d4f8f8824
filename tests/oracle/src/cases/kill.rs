//! K1: the process dies at any moment, again and again.

use crate::faults::pause_between;
use crate::lane::{From, To};
use crate::observe::Manner;
use crate::rig::Rig;
use crate::run::Run;

/// Every kind of source and every kind of sink.
pub(super) fn all_pairs(rig: &mut Rig, http: Manner) {
    rig.lane("hook-files", From::Webhook, To::Files);
    rig.lane("hook-http", From::Webhook, To::Http(http));
    rig.lane("hook-queue", From::Webhook, To::Queue);
    rig.lane("lines-files", From::Lines, To::Files);
    rig.lane("lines-http", From::Lines, To::Http(http));
    let folder = rig.folder.clone();
    rig.lane("fan-out", From::Webhook, To::Files).fan_out(&folder, To::Http(http));
    rig.lane("lines-out", From::SharedLines, To::Queue).fan_out(&folder, To::Files);
    rig.lane("queue-files", From::Queue, To::Files);
    rig.lane("queue-http", From::Queue, To::Http(http));
    rig.lane("api-files", From::Api, To::Files);
    rig.lane("api-http", From::Api, To::Http(http));
}

pub(super) fn kill_loop(run: &mut Run) {
    let (rigs, kills) = run.tier.of((1, 5), (5, 10), (20, 25));
    run.needs("kill", rigs * kills);
    for _ in 0..rigs {
        let mut rig = run.rig();
        all_pairs(&mut rig, Manner::BAD);
        if let Some(only) = &run.only {
            rig.lanes.retain(|lane| &lane.name == only);
        }
        let mut random = rig.seed.random();
        rig.begin();
        for _ in 0..kills {
            pause_between(&mut random, 200..3_000);
            if rig.daemon.is_running() {
                rig.daemon.kill();
                run.fired("kill", 1);
            }
            rig.restart();
        }
        rig.acks(5);
        rig.conclude();
        run.take(rig, 50);
    }
    let sum = run.sum();
    run.check(sum.unknown > 0, || "proves nothing: no request was cut".into());
    run.check(sum.repeated_on_the_wire > 0, || "proves nothing: nothing was sent twice".into());
}
