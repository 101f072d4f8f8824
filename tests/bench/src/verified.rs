//! What verification costs: signed and deduplicated deliveries beside unsigned ones, both durable; and what
//! forged requests do to those that are right.

use std::time::Duration;

use bytes::Bytes;

use crate::daemon::Daemon;
use crate::{events, load, stats};

const REQUESTS: usize = 60_000;
const FORGED: usize = 100_000;
const CONNECTIONS: usize = 64;

/// Takes the same requests without looking at their signature.
const UNVERIFIED: &str = r#"
name: bench
source:
  webhook:
    path: /bench
    verify: {none: {reason: the baseline of a bench}}
sink:
  blackhole: {}
"#;

pub(crate) fn run(rounds: usize) {
    let (mut plain, mut again, mut verified) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        plain.push(rate(UNVERIFIED));
        again.push(rate(UNVERIFIED));
        verified.push(rate(events::PIPELINE));
    }
    println!("verified, A/A control: {} of itself", stats::ratio(&again, &plain));
    println!(
        "verified and deduplicated, {CONNECTIONS} connections: {} of the unverified path; {:.0}/s against {:.0}/s, all on disk",
        stats::ratio(&verified, &plain),
        stats::median(verified.clone()),
        stats::median(plain.clone()),
    );
    let (mut alone, mut beside, mut forged) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        alone.push(p99_alone());
        let (p99, refused) = p99_beside();
        assert_eq!(refused, FORGED, "a forged request was accepted");
        beside.push(p99);
        forged.push(refused as f64);
    }
    println!(
        "forged: {FORGED} requests over {CONNECTIONS} connections, all of them refused; p99 of the others {} of what it is without ({:.1} ms against {:.1} ms)",
        stats::ratio(&beside, &alone),
        stats::median(beside.clone()),
        stats::median(alone.clone()),
    );
}

fn daemon(pipeline: &str) -> (tempfile::TempDir, Daemon) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("pipelines")).unwrap();
    std::fs::write(folder.path().join("pipelines/bench.yaml"), pipeline).unwrap();
    let daemon = Daemon::start(folder.path());
    (folder, daemon)
}

fn rate(pipeline: &str) -> f64 {
    let (_folder, daemon) = daemon(pipeline);
    let measured = load::drive(daemon.ingress, CONNECTIONS, events::requests(REQUESTS, 0));
    assert_eq!(measured.refused, 0, "the journal must not fill in this run");
    daemon.until(Duration::from_secs(60), |daemon| {
        daemon.metric("karez_records_total", "outcome=\"delivered\"") as usize == REQUESTS
    });
    measured.per_second
}

fn p99_alone() -> f64 {
    let (_folder, daemon) = daemon(events::PIPELINE);
    let mut measured = load::drive(daemon.ingress, CONNECTIONS, events::requests(REQUESTS, 0));
    stats::millis(stats::percentile(&mut measured.times, 0.99))
}

/// With the number of forged requests that were refused.
fn p99_beside() -> (f64, usize) {
    let (_folder, daemon) = daemon(events::PIPELINE);
    let flood = load::Flood { connections: CONNECTIONS, requests: forged() };
    let (mut measured, refused) =
        load::drive_beside(daemon.ingress, CONNECTIONS, events::requests(REQUESTS, 0), flood);
    assert_eq!(daemon.metric("karez_records_total", "outcome=\"in\"") as usize, REQUESTS);
    (stats::millis(stats::percentile(&mut measured.times, 0.99)), refused)
}

/// Right in all but the code.
fn forged() -> Vec<Bytes> {
    let wrong = |request: Bytes| {
        let mut text = request.to_vec();
        let name = b"x-signature: ";
        let at = text.windows(name.len()).position(|window| window == name).unwrap() + name.len();
        text[at] = if text[at] == b'0' { b'1' } else { b'0' };
        Bytes::from(text)
    };
    events::requests(FORGED, REQUESTS).into_iter().map(wrong).collect()
}
