//! B1, B2: a broker that dies, stands still, loses a queue, has nowhere to put a message, or no memory.

use std::time::Duration;

use crate::broker;
use crate::lane::{From, To};
use crate::observe::Manner;
use crate::produce::Pace;
use crate::rig::{PATIENCE, Rig};
use crate::run::Run;

pub(super) fn bounces(run: &mut Run) {
    let times = run.tier.of(1, 4, 10);
    let frozen = run.tier.of(Duration::from_secs(3), Duration::from_secs(30), Duration::from_secs(30));
    run.needs("broker killed", times);
    run.needs("broker frozen", times);
    let mut rig = run.rig();
    rig.lane("queue-files", From::Queue, To::Files);
    rig.lane("queue-http", From::Queue, To::Http(Manner { refuses: 10, ..Manner::GOOD }));
    rig.lane("hook-queue", From::Webhook, To::Queue);
    // Minutes of standing still: what comes together meanwhile has to be read again, too.
    rig.pace(Pace { pause: Duration::from_millis(10), ..Pace::default() });
    rig.begin();
    rig.acks(20);
    for _ in 0..times {
        broker().lock().unwrap().kill();
        std::thread::sleep(Duration::from_millis(500));
        broker().lock().unwrap().restart();
        run.fired("broker killed", 1);
        rig.resumes("the broker was killed");
        broker().lock().unwrap().freeze();
        std::thread::sleep(frozen);
        broker().lock().unwrap().thaw();
        run.fired("broker frozen", 1);
        rig.resumes("the broker stood still");
    }
    rig.conclude();
    run.take(rig, 30);
}

/// A message that no queue takes has failed; a broker that is out of memory stops its publishers, and only them.
pub(super) fn refuses(run: &mut Run) {
    run.needs("unroutable", 1);
    run.needs("memory alarm", 1);
    let mut rig = run.rig();
    rig.lane("hook-queue", From::Webhook, To::Queue);
    rig.lane("queue-files", From::Queue, To::Files);
    rig.begin();
    rig.acks(20);
    let retries = |rig: &mut Rig| {
        rig.daemon.metrics().value("karez_sink_retries_total{pipeline=\"hook-queue\",node=\"sink\"}")
    };
    let before = retries(&mut rig);
    let queue = rig.lanes[0].observer.place();
    // What is in it goes with it: it has to be empty, and nothing on its way.
    rig.lanes[0].pause();
    rig.wait(PATIENCE, Rig::is_at_rest);
    rig.progress();
    broker().lock().unwrap().look().delete(&queue);
    rig.lanes[0].go_on();
    if rig.wait(PATIENCE, |rig| retries(rig) > before) {
        run.fired("unroutable", 1);
    }
    broker().lock().unwrap().look().queue(&queue);
    rig.acks(10);
    broker().lock().unwrap().control(&["set_vm_memory_high_watermark", "0.00001"]);
    run.fired("memory alarm", 1);
    let stands = run.tier.of(Duration::from_secs(4), Duration::from_secs(20), Duration::from_secs(60));
    // Until then what may be on its way fills up, as it does with any sink that takes nothing.
    std::thread::sleep(stands / 2);
    let memory = rig.daemon.memory();
    std::thread::sleep(stands / 2);
    let grown = rig.daemon.memory().saturating_sub(memory) >> 20;
    run.check(grown < 64, || format!("memory grew by {grown} MiB while the broker took nothing"));
    broker().lock().unwrap().control(&["set_vm_memory_high_watermark", "0.4"]);
    rig.acks(10);
    rig.conclude();
    run.take(rig, 20);
}
