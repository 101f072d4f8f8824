//! F1 to F6: more than the far end takes, records that never suit it, a neighbour that is slow, and less
//! memory, descriptors and time than usual.

use std::process::Command;
use std::time::{Duration, Instant};

use karez_tests::{Connection, Receiver, Reply};
use rustix::process::Signal;

use crate::faults::{Group, pause_between};
use crate::ids::Sizes;
use crate::lane::{From, To};
use crate::observe::{Http, Manner};
use crate::produce::Pace;
use crate::rig::{PATIENCE, Rig};
use crate::run::Run;

/// The sink hangs and takes nothing: memory is bounded, the journal has a bound, senders are told to wait.
pub(super) fn stalled_sink(run: &mut Run) {
    run.needs("turned away", 1);
    let mut rig = run.rig();
    let seed = rig.seed;
    let lane = rig.lane("hook-http", From::Webhook, To::Http(Manner { hangs: 100, ..Manner::GOOD }));
    lane.middle.push_str("journal: {max_bytes: 24MiB}\n");
    lane.sized(seed.of("large"), Sizes::Large);
    lane.pace = Pace { senders: 8, pause: Duration::ZERO, ..Pace::default() };
    rig.begin();
    rig.acks(20);
    let (before, begun) = (rig.daemon.memory(), Instant::now());
    let mut most = before;
    let least = run.tier.of(Duration::from_secs(3), Duration::from_secs(60), Duration::from_secs(600));
    rig.wait(PATIENCE * 12, |rig| {
        most = most.max(rig.daemon.memory());
        rig.lanes[0].ledger.refused() > 20 && begun.elapsed() > least
    });
    run.fired("turned away", rig.lanes[0].ledger.refused());
    let grown = (most - before) >> 20;
    run.note(format!("memory grew by {grown} MiB"));
    run.check(grown <= 96, || format!("memory grew by {grown} MiB while the sink hung"));
    rig.conclude();
    run.take(rig, 20);
}

/// One record in ten never suits the sink: it is a dead letter, the others pass, and a replay delivers it.
pub(super) fn poison(run: &mut Run) {
    run.needs("dead letter", 5);
    run.needs("replayed", 5);
    let mut rig = run.rig();
    rig.lane("hook-http", From::Webhook, To::Http(Manner { rejects: true, ..Manner::GOOD }));
    rig.lane("lines-http", From::SharedLines, To::Http(Manner { rejects: true, ..Manner::GOOD }));
    rig.begin();
    rig.acks(run.tier.of(60, 500, 5_000));
    rig.conclude();
    run.fired("dead letter", rig.judged.iter().map(|(_, verdict)| verdict.dead_lettered).sum());
    // The far end learns to take them, under another address.
    for index in 0..rig.lanes.len() {
        let log = rig.folder.join(format!("replayed{index}.log"));
        let new = Http::start(&log, rig.seed, Manner::GOOD);
        rig.lanes[index].observer = Box::new(new);
    }
    let reloaded = rig.reload();
    run.check(reloaded.is_ok(), || format!("{reloaded:?}"));
    let replayed = rig.replay_all();
    run.fired("replayed", replayed);
    let arrived = rig.wait(PATIENCE, |rig| rig.progress() >= replayed);
    run.check(arrived, || "replayed letters do not arrive".into());
    let left: usize = rig.lanes.iter().map(|lane| rig.letters(&lane.name).len()).sum();
    run.check(left == 0, || format!("{left} letters are left after they were delivered"));
    run.take(rig, 50);
}

/// One pipeline's sink hangs, another's steps are slow; the rest does not notice.
pub(super) fn noisy_neighbour(run: &mut Run) {
    let mut rig = run.rig();
    rig.lane("quiet", From::Webhook, To::Http(Manner::GOOD)).pace =
        Pace { senders: 2, pause: Duration::from_millis(10), ..Pace::default() };
    rig.begin();
    rig.acks(50);
    let alone = rig.slowest(0);
    let hanging = Receiver::start_with(|_| Reply::Hang);
    let noisy = [
        format!("source: {{generate: {{rate: 200/s}}, journal: true}}\nsink: {{http: {{url: \"{}\"}}}}\n", hanging.url("/")),
        "source: {generate: {rate: 200/s}}\nsteps:\n  - jq: '[range(20000)] | add | {sum: .}'\nsink: {blackhole: {}}\n".into(),
    ];
    for (index, text) in noisy.iter().enumerate() {
        rig.daemon.pipeline(&format!("noisy{index}"), text);
    }
    let reloaded = rig.reload();
    run.check(reloaded.is_ok(), || format!("{reloaded:?}"));
    rig.acks(run.tier.of(200, 1_000, 10_000));
    let together = rig.slowest(0);
    run.note(format!("p99 {} ms alone, {} ms beside noise", alone.as_millis(), together.as_millis()));
    run.fired("noise", u64::from(hanging.count() > 0));
    run.needs("noise", 1);
    rig.conclude();
    run.take(rig, 50);
}

/// Few descriptors with many connections, and little memory with large events.
pub(super) fn limits(run: &mut Run) {
    run.needs("connection beyond the limit", 1);
    let mut rig = run.rig();
    rig.daemon.launch().prefix = ["prlimit", "--nofile=256:256"].map(str::to_owned).to_vec();
    rig.lane("hook-files", From::Webhook, To::Files).pace.senders = 2;
    rig.lane("lines-http", From::Lines, To::Http(Manner::GOOD));
    rig.begin();
    rig.acks(10);
    // More wait at the door than there are descriptors, while a segment of the log is full and the next begins.
    for round in 0..run.tier.of(1, 3, 10) {
        let open: Vec<_> = (0..400).map(|_| Connection::open(rig.daemon.ingress())).collect();
        run.fired(
            "connection beyond the limit",
            open.iter().filter(|open| open.is_ok()).count().saturating_sub(256) as u64,
        );
        std::thread::sleep(Duration::from_millis(1_500));
        drop(open);
        rig.acks(10);
        let alive = rig.daemon.is_running();
        run.check(alive, || format!("ended because descriptors ran out, round {round}"));
    }
    rig.conclude();
    run.take(rig, 20);

    let group = match Group::memory(192 << 20) {
        Ok(group) => group,
        Err(why) => return run.note(format!("no memory limit here: {why}")),
    };
    let mut rig = run.rig();
    let seed = rig.seed;
    let lane = rig.lane("hook-http", From::Webhook, To::Http(Manner { refuses: 10, ..Manner::GOOD }));
    lane.sized(seed.of("large"), Sizes::Large);
    lane.pace.senders = 8;
    rig.write_pipelines();
    rig.start();
    group.take(rig.daemon.pid());
    rig.load();
    rig.acks(run.tier.of(100, 500, 2_000));
    let alive = rig.daemon.is_running();
    run.check(alive, || "was killed for its memory".into());
    rig.conclude();
    run.take(rig, 20);
}

/// It stands still, and then has a fifth of a processor.
pub(super) fn starved(run: &mut Run) {
    let still = run.tier.of(3, 30, 30);
    run.needs("freeze", 1);
    let mut rig = run.rig();
    rig.lane("hook-http", From::Webhook, To::Http(Manner { refuses: 10, ..Manner::GOOD }));
    rig.lane("queue-files", From::Queue, To::Files);
    rig.begin();
    rig.acks(20);
    rig.daemon.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(still));
    rig.daemon.signal(Signal::CONT);
    run.fired("freeze", 1);
    rig.acks(10);
    match Group::processor(20_000) {
        Ok(group) => {
            group.take(rig.daemon.pid());
            rig.acks(20);
            group.release(rig.daemon.pid());
        }
        Err(why) => run.note(format!("no processor limit here: {why}")),
    }
    rig.conclude();
    run.take(rig, 30);
}

/// Very many keys go through the window of dedup; each second record is one that was there before.
pub(super) fn many_keys(run: &mut Run) {
    let keys: u64 = run.tier.of(20_000, 300_000, 10_000_000);
    let mut rig = run.rig();
    let file = rig.folder.join("keys.ndjson");
    let written = Command::new("sh")
        .args(["-c", &format!("seq 1 {keys} | sed 's/.*/{{\"id\":&}}\\n{{\"id\":&}}/' > {}", file.display())])
        .status();
    assert!(written.unwrap().success());
    rig.daemon.pipeline(
        "keys",
        &format!(
            "source: {{files: {{paths: [\"{}\"], follow: true}}}}\ndedup: {{key: $.id, ttl: 24h}}\nsink: {{blackhole: {{}}}}\n",
            file.display()
        ),
    );
    rig.start();
    let (mut early, mut most) = (0, 0);
    let done = |rig: &Rig| rig.daemon.metrics().outcome("keys", "delivered");
    rig.wait(PATIENCE * 60, |rig| {
        let memory = rig.daemon.memory();
        most = most.max(memory);
        if early == 0 && done(rig) > keys / 10 {
            early = memory;
        }
        done(rig) >= keys && rig.is_at_rest()
    });
    let metrics = rig.daemon.metrics();
    let (delivered, duplicate) = (metrics.outcome("keys", "delivered"), metrics.outcome("keys", "duplicate"));
    run.check((delivered, duplicate) == (keys, keys), || {
        format!("{delivered} delivered and {duplicate} duplicate of {keys} each")
    });
    let grown = most.saturating_sub(early) >> 20;
    run.note(format!("{keys} keys, memory grew by {grown} MiB after the first tenth"));
    run.check(grown < 96, || format!("memory grew by {grown} MiB"));
    let mut random = rig.seed.random();
    pause_between(&mut random, 1..2);
    run.take(rig, 0);
}
