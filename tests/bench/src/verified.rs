//! What verification costs: signed and deduplicated deliveries beside unsigned ones, both durable; and what
//! forged requests do to those that are right.

use std::time::Duration;

use bytes::Bytes;

use crate::daemon::Daemon;
use crate::{events, load, stats};

const REQUESTS: usize = 60_000;
const FORGED: usize = 100_000;
const CONNECTIONS: usize = 64;
/// Connections of those who forge.
const FORGERS: usize = 512;
/// What each connection of the others waits before its next request: a load that leaves room.
const PAUSE: Duration = Duration::from_millis(10);

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
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        alone.push(p99(Vec::new()).0);
        let (with, refused) = p99(forged());
        assert_eq!(refused, FORGED, "a forged request was accepted");
        beside.push(with);
    }
    println!(
        "forged: {FORGED} requests over {FORGERS} connections as fast as they are answered, all refused; p99 of the others meanwhile {} of what it is without ({:.1} ms against {:.1} ms)",
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

/// The 99th percentile of those that are right, in milliseconds, and how many were forged and refused meanwhile.
fn p99(forged: Vec<Bytes>) -> (f64, usize) {
    let (_folder, daemon) = daemon(events::PIPELINE);
    // More than can be sent before the flood is over.
    let (connections, requests) = if forged.is_empty() { (0, REQUESTS) } else { (FORGERS, 5 * REQUESTS) };
    let flood = load::Flood { connections, requests: forged };
    let mut beside =
        load::drive_beside(daemon.ingress, CONNECTIONS, PAUSE, events::requests(requests, 0), flood);
    assert_eq!(daemon.metric("karez_records_total", "outcome=\"in\"") as usize, beside.load.times.len());
    (stats::millis(stats::percentile(&mut beside.load.times, 0.99)), beside.flood_refused)
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
