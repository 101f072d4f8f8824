//! K9, K10: it is told to stop, under load and with a sink that answers nothing.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::kill::all_pairs;
use crate::faults::pause_between;
use crate::lane::{From, To};
use crate::observe::Manner;
use crate::run::Run;

pub(super) fn clean(run: &mut Run) {
    let stops = run.tier.of(3, 20, 50);
    run.needs("stop", stops);
    let mut rig = run.rig();
    all_pairs(&mut rig, Manner::GOOD);
    for lane in &mut rig.lanes {
        lane.expect.quiet = true;
    }
    let mut random = rig.seed.random();
    let mut longest = Duration::ZERO;
    rig.begin();
    for _ in 0..stops {
        pause_between(&mut random, 300..1_500);
        rig.daemon.signal(Signal::TERM);
        let begun = Instant::now();
        let status = rig.daemon.ended(Duration::from_secs(30));
        longest = longest.max(begun.elapsed());
        run.check(status.code() == Some(0), || format!("a clean stop ended with {status}"));
        run.fired("stop", 1);
        rig.restart();
    }
    run.check(longest < Duration::from_secs(10), || format!("a clean stop took {longest:?}"));
    run.note(format!("longest stop {:.1} s", longest.as_secs_f64()));
    rig.acks(5);
    rig.conclude();
    run.take(rig, 50);
}

/// The far end takes requests and never answers. The first signal drains as long as it may, a second ends at once.
pub(super) fn dead_sink(run: &mut Run) {
    const DRAIN: Duration = Duration::from_secs(3);
    run.needs("stop", 2);
    for signals in [1, 2] {
        let mut rig = run.rig();
        let launch = rig.daemon.launch();
        launch.arguments = ["--drain-timeout", "3s"].map(str::to_owned).to_vec();
        rig.lane("hook-http", From::Webhook, To::Http(Manner { hangs: 100, ..Manner::GOOD }));
        rig.lane("lines-http", From::Lines, To::Http(Manner { refuses: 100, ..Manner::GOOD }));
        rig.begin();
        rig.acks(30);
        let begun = Instant::now();
        for _ in 0..signals {
            rig.daemon.signal(Signal::TERM);
            std::thread::sleep(Duration::from_millis(200));
        }
        let status = rig.daemon.ended(Duration::from_secs(30));
        let took = begun.elapsed();
        // A second of grace: others work on this machine, too.
        let most = if signals == 1 { DRAIN + Duration::from_secs(6) } else { Duration::from_secs(2) };
        run.check(took < most, || format!("{signals} signals: ended after {took:?}, with {status}"));
        run.fired("stop", 1);
        rig.restart();
        rig.conclude();
        run.take(rig, 30);
    }
}
