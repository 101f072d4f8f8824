//! T3: the clock jumps while everything runs; time that is measured does not.

use std::collections::BTreeSet;

use karez_tests::Json;

use crate::faults::FAKETIME_LIBRARY;
use crate::lane::{From, To};
use crate::observe::{Manner, Sighting};
use crate::run::Run;

pub(super) fn jumps(run: &mut Run) {
    const JUMPS: [&str; 5] = ["+2h", "-2h", "+0", "+30d", "+0"];
    run.needs("jump", JUMPS.len() as u64);
    let mut rig = run.rig();
    let clock = rig.folder.join("clock");
    std::fs::write(&clock, "+0\n").unwrap();
    let launch = rig.daemon.launch();
    launch.set("LD_PRELOAD", FAKETIME_LIBRARY);
    launch.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    launch.set("FAKETIME_NO_CACHE", "1");
    launch.set("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string());
    // The keys have to outlive the longest jump.
    let long = "dedup: {key: $.id, ttl: 90d}\norder_by: $.key\n";
    rig.lane("hook-files", From::Webhook, To::Files).middle =
        format!("{long}steps:\n  - set: {{seen: \"{{{{now}}}}\"}}\n");
    rig.lane("hook-http", From::Webhook, To::Http(Manner { refuses: 20, limits: 5, ..Manner::GOOD }))
        .middle = long.into();
    rig.lane("lines-files", From::Lines, To::Files);
    rig.daemon.pipeline("ticks", "source: {schedule: {every: 1h}}\nsink: {files: {path: ticks.ndjson}}\n");
    rig.begin();
    for jump in JUMPS {
        rig.acks(run.tier.of(30, 200, 1_000));
        std::fs::write(&clock, format!("{jump}\n")).unwrap();
        run.fired("jump", 1);
    }
    rig.acks(30);
    let ticks = rig.daemon.records("ticks.ndjson").len();
    run.note(format!("an hourly schedule fired {ticks} times"));
    run.check(ticks <= 6, || format!("an hourly schedule fired {ticks} times in five jumps"));
    rig.conclude();
    // What karez took for the time of each record: a clock that did not jump proves nothing.
    let seen = rig.lanes[0].observer.sightings();
    let month = |sighting: &Sighting| {
        let event: Json = serde_json::from_slice(&sighting.body).unwrap_or_default();
        event["seen"].as_str().map(|time| time[..7.min(time.len())].to_owned())
    };
    let months: BTreeSet<String> = seen.iter().filter_map(month).collect();
    run.needs("month seen by karez", 2);
    run.fired("month seen by karez", months.len() as u64);
    run.take(rig, 50);
}
