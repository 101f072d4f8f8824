//! How the daemon ends: with everything settled, or with what is left kept for the next start.

use std::time::Duration;

use karez_tests::{Daemon, Folder, Load, PATIENCE, Receiver, Reply, json};
use rustix::process::Signal;

use crate::webhook_to;

#[test]
fn told_to_stop_under_load_it_ends_well_and_nothing_is_lost_or_repeated() {
    let pipeline = webhook_to("load", "dedup: {key: $.id, ttl: 1h}\nsink: {files: {path: out.ndjson}}");
    let mut daemon = Daemon::start(Folder::new().with("load", &pipeline));
    let load = Load::start(daemon.ingress(), "/webhooks/load", 8);
    for _ in 0..2 {
        load.progresses(200);
        daemon.stop();
        daemon.restart();
        load.goes_to(daemon.ingress());
    }
    load.progresses(50);
    let sent = load.finish();
    // Whoever came while it stopped was asked to come again, or found nobody.
    assert!(sent.refusals.keys().all(|status| [0, 503].contains(status)), "{:?}", sent.refusals);
    daemon.drained("load");
    let mut written = daemon.numbers("out.ndjson", "id");
    written.sort_unstable();
    assert_eq!(written, (0..sent.count).collect::<Vec<_>>());
}

/// A daemon with an event at a receiver that does not answer.
fn stuck(drain: &str) -> (Receiver, Daemon) {
    let receiver = Receiver::start_with(|_| Reply::Hang);
    let sink = format!("sink: {{http: {{url: \"{}\"}}, timeout: 10m}}", receiver.url("/"));
    let folder = Folder::new().with("stuck", &webhook_to("stuck", &sink));
    let daemon = Daemon::start_with(folder, &["--drain-timeout", drain]);
    daemon.post("/webhooks/stuck", &json!({"id": 1}));
    receiver.sees(1);
    (receiver, daemon)
}

/// What was stuck is delivered after the next start.
fn arrives_later(receiver: &Receiver, daemon: &mut Daemon) {
    receiver.answer(|_| Reply::Status(200));
    daemon.restart();
    let metrics = daemon.drained("stuck");
    assert_eq!((metrics.outcome("stuck", "recovered"), metrics.outcome("stuck", "delivered")), (1, 1));
}

#[test]
fn a_sink_that_hangs_holds_the_end_no_longer_than_the_deadline() {
    let (receiver, mut daemon) = stuck("1s");
    daemon.signal(Signal::TERM);
    let status = daemon.ended(Duration::from_secs(30));
    assert_eq!(status.code(), Some(0), "{status}");
    arrives_later(&receiver, &mut daemon);
}

#[test]
fn told_twice_it_ends_at_once_and_loses_nothing() {
    let (receiver, mut daemon) = stuck("10m");
    daemon.signal(Signal::TERM);
    daemon.says("stopping");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended(PATIENCE).code(), Some(128 + 15));
    arrives_later(&receiver, &mut daemon);
}

#[test]
fn an_outage_does_not_hold_the_end() {
    let mut receiver = Receiver::start();
    receiver.refuse();
    let sink = format!("sink: {{http: {{url: \"{}\"}}}}", receiver.url("/"));
    let folder = Folder::new().with("stuck", &webhook_to("stuck", &sink));
    let mut daemon = Daemon::start_with(folder, &["--drain-timeout", "10m"]);
    daemon.post("/webhooks/stuck", &json!({"id": 1}));
    daemon.stop();
    receiver.accept();
    arrives_later(&receiver, &mut daemon);
}
