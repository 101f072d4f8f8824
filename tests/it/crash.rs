//! `kill -9` at the worst moments: what was acknowledged is there, once.

use karez_tests::{Daemon, Folder, Load};

use crate::webhook_to;

#[test]
fn what_was_acknowledged_is_written_once_however_often_the_process_is_killed() {
    let pipeline = webhook_to("load", "dedup: {key: $.id, ttl: 1h}\nsink: {files: {path: out.ndjson}}");
    let mut daemon = Daemon::start(Folder::new().with("load", &pipeline));
    let load = Load::start(daemon.ingress(), "/webhooks/load", 8);
    for _ in 0..5 {
        load.progresses(150);
        daemon.kill();
        daemon.restart();
        load.goes_to(daemon.ingress());
    }
    load.progresses(50);
    let sent = load.finish();
    daemon.drained("load");
    let mut written = daemon.numbers("out.ndjson", "id");
    written.sort_unstable();
    assert_eq!(written, (0..sent.count).collect::<Vec<_>>());
    daemon.stop();
    assert!(daemon.karez(&["store", "verify"]).exits(0).stdout.contains("the store is whole"));
}

#[test]
fn two_ways_to_one_file_stay_two_deliveries_however_often_the_process_is_killed() {
    let graph = "dedup: {key: $.id, ttl: 1h}\nsteps:\n  - {id: one, from: source, set: {way: 1}}\n\
                 \x20 - {id: two, from: source, set: {way: 2}}\nsinks:\n  out: {from: [one, two], files: {path: out.ndjson}}";
    let source =
        "sources:\n  source: {webhook: {path: /load, verify: {none: {reason: test}}, delivery_id: $.id}}\n";
    let mut daemon = Daemon::start(Folder::new().with("load", &format!("{source}{graph}\n")));
    let load = Load::start(daemon.ingress(), "/webhooks/load", 8);
    for _ in 0..4 {
        load.progresses(150);
        daemon.kill();
        daemon.restart();
        load.goes_to(daemon.ingress());
    }
    let sent = load.finish();
    daemon.drained("load");
    let (ids, ways) = (daemon.numbers("out.ndjson", "id"), daemon.numbers("out.ndjson", "way"));
    let mut written: Vec<(u64, u64)> = ids.into_iter().zip(ways).collect();
    written.sort_unstable();
    assert_eq!(written, (0..sent.count).flat_map(|id| [(id, 1), (id, 2)]).collect::<Vec<_>>());
}
