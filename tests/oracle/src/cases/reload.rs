//! R1 to R3: files change while everything runs, rightly, wrongly, and while a sink fails.

use std::time::{Duration, Instant};

use crate::lane::{From, To};
use crate::observe::{Http, Manner};
use crate::rig::{PATIENCE, Rig};
use crate::run::Run;

const FAILED: &str = "karez_reload_total{result=\"failed\"}";

/// A step is edited, a pipeline comes and goes, one moves to another file; one is never touched.
pub(super) fn under_load(run: &mut Run) {
    let reloads = run.tier.of(10, 100, 300);
    run.needs("reload", reloads);
    let mut rig = run.rig();
    rig.lane("edited", From::Webhook, To::Files);
    rig.lane("edited-http", From::Webhook, To::Http(Manner { refuses: 10, ..Manner::GOOD }));
    rig.lane("edited-lines", From::SharedLines, To::Files);
    rig.lane("edited-queue", From::Queue, To::Files);
    rig.lane("untouched", From::Webhook, To::Http(Manner::GOOD)).expect.quiet = true;
    rig.lane("untouched-lines", From::Lines, To::Files).expect.quiet = true;
    rig.begin();
    let kept: Vec<String> = rig.lanes.iter().map(|lane| lane.middle.clone()).collect();
    for version in 1..=reloads {
        for (lane, middle) in rig.lanes[..4].iter_mut().zip(&kept) {
            lane.middle = format!("{middle}steps:\n  - set: {{version: {version}}}\n");
        }
        guest(&rig, version);
        let reloaded = rig.reload();
        run.check(reloaded.is_ok(), || format!("a good reload fails: {reloaded:?}"));
        run.fired("reload", 1);
        rig.acks(3);
    }
    for index in [0, 1, 4] {
        let ledger = &rig.lanes[index].ledger;
        let (name, refused, unknown) = (rig.lanes[index].name.clone(), ledger.refused(), ledger.unknown());
        run.check(refused + unknown == 0, || format!("{name}: {refused} refused, {unknown} unanswered"));
    }
    let slowest = rig.slowest(4);
    run.note(format!("p99 of acknowledgements of the untouched one {} ms", slowest.as_millis()));
    let metrics = rig.daemon.metrics();
    run.check(metrics.value("karez_pipeline_reloads_total{pipeline=\"untouched\"}") == 0, || {
        "a pipeline whose file did not change was changed".into()
    });
    rig.conclude();
    run.take(rig, 30);
}

/// A pipeline that is there every other time, under a name and then in another file.
fn guest(rig: &Rig, version: u64) {
    let text = "name: guest\nsource: {webhook: {path: /guest, verify: {none: {reason: test}}}}\nsink: {blackhole: {}}\n";
    let file = |name: &str| rig.daemon.at(format!("pipelines/{name}.yaml"));
    match version % 3 {
        0 => drop(std::fs::write(file("guest"), text)),
        1 => drop(std::fs::rename(file("guest"), file("moved"))),
        _ => drop(std::fs::remove_file(file("moved"))),
    }
}

/// Wrong files, each of another kind: what ran goes on as it was.
pub(super) fn wrong(run: &mut Run) {
    let reloads = run.tier.of(10, 30, 100);
    run.needs("wrong file", reloads);
    let mut rig = run.rig();
    rig.lane("good", From::Webhook, To::Files).expect.quiet = true;
    rig.lane("other", From::Lines, To::Files).expect.quiet = true;
    rig.begin();
    rig.acks(10);
    let good = rig.lanes[0].pipeline();
    let wrongs: [&dyn Fn() -> String; 6] = [
        &|| good.replace("sink:", "sink: {"),
        &|| good.replace("files:", "filez:"),
        &|| good.replace("$.key", "${NO_SUCH_VARIABLE}"),
        &|| good[..good.len() / 2].to_owned(),
        &|| good.replace("/good", "/other-path\u{0}"),
        &|| format!("{good}sink: {{blackhole: {{}}}}\n"),
    ];
    for time in 0..reloads {
        let failed = rig.daemon.metrics().value(FAILED);
        rig.daemon.pipeline("good", &wrongs[usize::try_from(time).unwrap_or_default() % wrongs.len()]());
        let noticed = rig.wait(PATIENCE, |rig| rig.daemon.metrics().value(FAILED) > failed);
        run.check(noticed, || format!("wrong file {time} is not counted as a failed reload"));
        rig.acks(5);
        run.fired("wrong file", 1);
        let alive = rig.daemon.is_running();
        run.check(alive, || "a wrong file ended it".into());
    }
    rig.write_pipelines();
    rig.acks(5);
    let refused = rig.lanes[0].ledger.refused();
    run.check(refused == 0, || format!("{refused} requests refused"));
    rig.conclude();
    run.take(rig, 30);
}

/// The sink's address changes while everything waits for the old one.
pub(super) fn failing_sink(run: &mut Run) {
    let times = run.tier.of(2, 10, 30);
    run.needs("reload", times);
    for _ in 0..times {
        let mut rig = run.rig();
        rig.lane("moves", From::Webhook, To::Http(Manner::CLOSED));
        rig.begin();
        rig.acks(50);
        let log = rig.folder.join("second.log");
        let new = Http::start(&log, rig.seed, Manner::GOOD);
        let mut old = std::mem::replace(&mut rig.lanes[0].observer, Box::new(new));
        let begun = Instant::now();
        let reloaded = rig.reload();
        let took = begun.elapsed();
        run.fired("reload", 1);
        run.check(reloaded.is_ok(), || format!("the reload fails: {reloaded:?}"));
        run.check(took < Duration::from_secs(10), || format!("the reload took {took:?}"));
        rig.acks(10);
        rig.conclude();
        let strays = old.sightings().len();
        run.check(strays == 0, || format!("{strays} events went to the old address"));
        run.take(rig, 50);
    }
}
