//! B10: the same delivery comes many times at once, and again after a restart.

use std::sync::Arc;

use crate::lane::{From, To};
use crate::observe::Manner;
use crate::rig::PATIENCE;
use crate::run::Run;
use crate::{Fate, Ledger};

const AT_ONCE: u16 = 50;

pub(super) fn concurrent(run: &mut Run) {
    let rounds = run.tier.of(5, 50, 200);
    run.needs("repeated delivery", rounds * 90);
    let mut rig = run.rig();
    rig.lane("hook-files", From::Webhook, To::Files).expect.quiet = true;
    rig.lane("hook-http", From::Webhook, To::Http(Manner::GOOD));
    rig.write_pipelines();
    rig.start();
    for round in 0..rounds {
        for restarted in [false, true] {
            if restarted {
                rig.daemon.kill();
                rig.start();
            }
            for lane in &rig.lanes {
                let event = lane.maker.event(0, u32::try_from(round).unwrap_or_default());
                let senders: Vec<_> = (0..AT_ONCE)
                    .map(|number| {
                        let (mut sender, event) = (lane.producer.sender(number), event.clone());
                        let ledger: Arc<Ledger> = Arc::clone(&lane.ledger);
                        std::thread::spawn(move || {
                            ledger.attempts(event.id);
                            let fate = sender.attempt(&event);
                            ledger.ended(event.id, fate);
                            fate
                        })
                    })
                    .collect();
                let fates: Vec<Fate> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
                run.fired("repeated delivery", fates.len() as u64 - 1);
                let refused = fates.iter().filter(|fate| **fate != Fate::Acked).count();
                run.check(refused == 0, || {
                    format!("{refused} of {AT_ONCE} equal deliveries were not accepted")
                });
            }
        }
        rig.wait(PATIENCE, crate::rig::Rig::is_at_rest);
    }
    rig.conclude();
    run.take(rig, rounds);
}
