//! NDJSON file -> filter, seven-field map, validate -> NDJSON file, beside parsing and printing
//! the same lines with serde_json on one core.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{daemon, peer, stats};

const RECORDS: usize = 400_000;

const PIPELINE: &str = r#"
name: mapping
source:
  files: {paths: [in.ndjson], format: ndjson}
max_in_flight: {records: 8192, bytes: 64MiB}
steps:
  - filter: "@.live == true"
  - map:
      userId: $.data.id
      name: $.data.name
      email: $.data.email
      label: "{{data.name}} <{{data.email}}>"
      city: $.data.address.city
      total: $.data.total
      at: $.created
  - validate:
      schema:
        type: object
        required: [userId, email]
        properties:
          userId: {type: string}
          email: {type: string, minLength: 3}
          total: {type: number}
          city: {type: string}
sink:
  files: {path: out/users.ndjson, format: ndjson}
"#;

pub(crate) fn run(rounds: usize, peer: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("pipelines")).unwrap();
    std::fs::write(folder.path().join("pipelines/mapping.yaml"), PIPELINE).unwrap();
    let lines: Vec<String> = (0..RECORDS).map(line).collect();
    let input = folder.path().join("in.ndjson");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&input).unwrap());
    lines.iter().for_each(|line| writeln!(file, "{line}").unwrap());
    file.flush().unwrap();
    let rate = |time: Duration| RECORDS as f64 / time.as_secs_f64();
    let (mut karez, mut bare, mut again, mut peers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(rate(round_trip(&lines)));
        again.push(rate(round_trip(&lines)));
        karez.push(rate(one(folder.path())));
        peers.extend(peer.map(|command| {
            let output = folder.path().join("peer.ndjson");
            std::fs::remove_file(&output).ok();
            let time = peer::map(command, &input, &output);
            assert_eq!(std::fs::read_to_string(output).unwrap().lines().count(), RECORDS);
            rate(time)
        }));
    }
    println!("mapping, A/A control: {} of itself", stats::ratio(&again, &bare));
    println!(
        "mapping: {} of a serde_json round trip on one core; {:.0} records/s against {:.0}; {:.1} µs a record against {:.1}; {} bytes a record",
        stats::ratio(&karez, &bare),
        stats::median(karez.clone()),
        stats::median(bare.clone()),
        1e6 / stats::median(karez.clone()),
        1e6 / stats::median(bare.clone()),
        lines[0].len(),
    );
    if peer.is_some() {
        println!(
            "mapping, peer: {} of a serde_json round trip; {:.0} records/s; karez does {} of it",
            stats::ratio(&peers, &bare),
            stats::median(peers.clone()),
            stats::ratio(&karez, &peers),
        );
    }
}

fn line(n: usize) -> String {
    format!(
        "{{\"id\":\"evt_{n:08}\",\"created\":{},\"live\":true,\"type\":\"customer.updated\",\"data\":{{\"id\":\"cus_{:06}\",\"name\":\"Ada Lovelace {n}\",\"email\":\"ada{n}@example.com\",\"total\":{}.25,\"address\":{{\"city\":\"London\",\"zip\":\"N1 9GU\",\"country\":\"GB\"}},\"tags\":[\"a\",\"b\"],\"note\":\"a customer since 2019\"}}}}",
        1_700_000_000 + n,
        n % 50_000,
        n % 977,
    )
}

/// A whole process from exec to exit: start, read, map, write, sync, close.
fn one(folder: &std::path::Path) -> Duration {
    for gone in ["out", ".karez"] {
        std::fs::remove_dir_all(folder.join(gone)).ok();
    }
    let before = Instant::now();
    let status = Command::new(daemon::binary())
        .args(["run", "--once", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let time = before.elapsed();
    assert!(status.success(), "karez ended with {status}");
    let written = std::fs::read_to_string(folder.join("out/users.ndjson")).unwrap();
    assert_eq!(written.lines().count(), RECORDS);
    time
}

fn round_trip(lines: &[String]) -> Duration {
    let before = Instant::now();
    let mut out = Vec::with_capacity(512);
    for line in lines {
        let value: Value = serde_json::from_str(line).unwrap();
        out.clear();
        serde_json::to_writer(&mut out, &value).unwrap();
        std::hint::black_box(&out);
    }
    before.elapsed()
}
