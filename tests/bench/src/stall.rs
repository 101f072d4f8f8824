//! A sink that hangs for a minute while webhooks come in as fast as they can.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::{events, load, stats};

const HANG: Duration = Duration::from_secs(60);
const BURST: usize = 5_000;

pub(crate) fn run() {
    let hanging = Arc::new(AtomicBool::new(true));
    let taken = Arc::new(AtomicUsize::new(0));
    let port = receiver(Arc::clone(&hanging), Arc::clone(&taken));
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("pipelines")).unwrap();
    let sink = format!("  http: {{url: \"http://127.0.0.1:{port}/\"}}\n  timeout: 5s\n  concurrency: 64\n");
    let file = events::PIPELINE.replace("  blackhole: {}\n", &sink) + "journal: {max_bytes: 256MiB}\n";
    std::fs::write(folder.path().join("pipelines/bench.yaml"), file).unwrap();
    let daemon = Daemon::start(folder.path());
    let (mut sent, mut most) = (BURST, 0.0_f64);
    let mut accepted = load::drive(daemon.ingress, 64, events::requests(BURST, 0)).times.len();
    let at_first = stats::resident_mib(daemon.pid());
    let before = Instant::now();
    while before.elapsed() < HANG {
        accepted += load::drive(daemon.ingress, 64, events::requests(BURST, sent)).times.len();
        sent += BURST;
        most = most.max(stats::resident_mib(daemon.pid()));
    }
    hanging.store(false, Ordering::Relaxed);
    let healed = Instant::now();
    daemon.until(Duration::from_secs(600), |daemon| {
        daemon.metric("karez_records_total", "outcome=\"delivered\"") as usize >= accepted
    });
    println!(
        "a sink that hangs for {} s: of {sent} events {accepted} were accepted until the journal was full, the rest refused with 503; resident memory grew by {:.0} MiB to {most:.0} MiB; all {} deliveries arrived {:.0} s later",
        HANG.as_secs(),
        most - at_first,
        taken.load(Ordering::Relaxed),
        healed.elapsed().as_secs_f64()
    );
}

/// An HTTP server that takes connections and, while it hangs, answers nothing.
fn receiver(hanging: Arc<AtomicBool>, taken: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (hanging, taken) = (Arc::clone(&hanging), Arc::clone(&taken));
            std::thread::spawn(move || answer(stream, &hanging, &taken));
        }
    });
    port
}

fn answer(mut stream: TcpStream, hanging: &AtomicBool, taken: &AtomicUsize) -> Option<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut filled = 0;
    loop {
        let n = stream.read(&mut buffer[filled..]).ok().filter(|n| *n > 0)?;
        filled += n;
        let text = String::from_utf8_lossy(&buffer[..filled]).to_ascii_lowercase();
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let length = text.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
        if filled < end + 4 + length {
            continue;
        }
        while hanging.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(200));
        }
        taken.fetch_add(1, Ordering::Relaxed);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
        filled = 0;
    }
}
