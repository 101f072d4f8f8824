//! Durable intake beside a bare hyper server that reads the body and answers, and beside a bare
//! fdatasync loop, all in one run, interleaved.

use std::convert::Infallible;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::daemon::Daemon;
use crate::{events, load, peer, stats};

const REQUESTS: usize = 60_000;

/// The baseline server, in a process of its own: prints its port and serves until killed.
pub(crate) fn serve_bare() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let answer = |request: Request<hyper::body::Incoming>| async {
                    request.into_body().collect().await.ok();
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{\"status\":\"ok\"}"))))
                };
                let io = TokioIo::new(stream);
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, service_fn(answer))
                    .await
                    .ok();
            });
        }
    });
}

struct Round {
    karez: f64,
    bare: f64,
    /// The baseline once more: what differs between these two is noise.
    again: f64,
    peer: Option<f64>,
    p99: Duration,
    sync_p99: Duration,
    cpu_per_event: f64,
    events_per_sync: f64,
}

pub(crate) fn run(rounds: usize, peer: Option<&str>) {
    for connections in [64, 256] {
        let results: Vec<Round> = (0..rounds).map(|_| round(connections, peer)).collect();
        let figures = |figure: fn(&Round) -> f64| results.iter().map(figure).collect::<Vec<f64>>();
        let of_bare =
            |figure: fn(&Round) -> f64| stats::ratio(&figures(figure), &figures(|round| round.bare));
        println!(
            "intake, {connections} connections, A/A control: {} of itself",
            of_bare(|round| round.again)
        );
        println!(
            "intake, {connections} connections: {} of a bare hyper server; {:.0}/s against {:.0}/s; p99 {:.1} ms (fdatasync p99 {:.1} ms); {:.0} µs CPU an event; {:.1} events an fsync",
            of_bare(|round| round.karez),
            stats::median(figures(|round| round.karez)),
            stats::median(figures(|round| round.bare)),
            stats::median(figures(|round| stats::millis(round.p99))),
            stats::median(figures(|round| stats::millis(round.sync_p99))),
            stats::median(figures(|round| round.cpu_per_event)),
            stats::median(figures(|round| round.events_per_sync)),
        );
        if peer.is_some() {
            let peers = figures(|round| round.peer.unwrap_or(f64::NAN));
            println!(
                "intake, {connections} connections, peer: {} of a bare hyper server; {:.0}/s; karez does {} of it",
                stats::ratio(&peers, &figures(|round| round.bare)),
                stats::median(peers.clone()),
                stats::ratio(&figures(|round| round.karez), &peers),
            );
        }
    }
}

fn round(connections: usize, peer: Option<&str>) -> Round {
    let requests = events::requests(REQUESTS, 0);
    let (before, again) = (bare(connections, &requests), bare(connections, &requests));
    let peer = peer.map(|command| {
        let server = peer::Server::start(command);
        load::drive(server.port, connections, requests.clone()).per_second
    });
    let sync_p99 = fdatasync_p99();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("pipelines")).unwrap();
    std::fs::write(folder.path().join("pipelines/bench.yaml"), events::PIPELINE).unwrap();
    let daemon = Daemon::start(folder.path());
    let cpu = stats::cpu(daemon.pid());
    let mut measured = load::drive(daemon.ingress, connections, requests);
    assert_eq!(measured.refused, 0, "the journal must not fill in this run");
    // The run is over when the backlog is.
    daemon.until(Duration::from_secs(60), |daemon| {
        daemon.metric("karez_records_total", "outcome=\"delivered\"") as usize == REQUESTS
    });
    let cpu = stats::cpu(daemon.pid()) - cpu;
    Round {
        karez: measured.per_second,
        bare: before,
        again,
        peer,
        p99: stats::percentile(&mut measured.times, 0.99),
        sync_p99,
        cpu_per_event: cpu.as_secs_f64() * 1e6 / REQUESTS as f64,
        events_per_sync: REQUESTS as f64 / daemon.metric("karez_store_syncs_total", "").max(1.0),
    }
}

fn bare(connections: usize, requests: &[Bytes]) -> f64 {
    let server = Bare::start();
    load::drive(server.port, connections, requests.to_vec()).per_second
}

/// The baseline server as a child process; it ends when dropped.
pub(crate) struct Bare {
    child: Child,
    pub(crate) port: u16,
}

impl Bare {
    pub(crate) fn start() -> Self {
        use std::io::BufRead;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, port: port.trim().parse().unwrap() }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What the disk allows: 1 KiB appended and synced, again and again.
fn fdatasync_p99() -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(folder.path().join("sync")).unwrap();
    let mut times: Vec<Duration> = (0..400)
        .map(|_| {
            let before = Instant::now();
            file.write_all(&[7; 1024]).unwrap();
            file.sync_data().unwrap();
            before.elapsed()
        })
        .collect();
    stats::percentile(&mut times, 0.99)
}
