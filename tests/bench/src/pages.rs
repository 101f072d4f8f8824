//! An API with pages of 1,000 records, read to its end over one connection by a whole karez process, beside a bare
//! reqwest client that parses each page with serde_json; and the memory of one long read.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::{daemon, stats};

const PAGE: usize = 1_000;
const PAGES: usize = 400;

/// A server in a process of its own; killed when dropped.
struct Api {
    child: Child,
    port: u16,
}

impl Api {
    fn start(pages: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["serve-pages", &pages.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, port: port.trim().parse().unwrap() }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

pub(crate) fn run(rounds: usize) {
    let api = Api::start(PAGES);
    let folder = folder(api.port);
    let rate = |time: Duration| (PAGES * PAGE) as f64 / time.as_secs_f64();
    let (mut karez, mut bare, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(rate(loop_of(api.port, PAGES)));
        again.push(rate(loop_of(api.port, PAGES)));
        karez.push(rate(one(folder.path())));
    }
    println!("pages, A/A control: {} of itself", stats::ratio(&again, &bare));
    println!(
        "pages: {} of a bare reqwest and serde_json loop over one connection; {:.0} records/s against {:.0}; pages of {PAGE}",
        stats::ratio(&karez, &bare),
        stats::median(karez.clone()),
        stats::median(bare.clone()),
    );
}

/// Ten million records through one run: what it holds in memory early and late.
pub(crate) fn run_long() {
    const LONG: usize = 10_000;
    let api = Api::start(LONG);
    let folder = folder(api.port);
    let begun = Instant::now();
    let daemon = daemon::Daemon::start(folder.path());
    let delivered = |daemon: &daemon::Daemon| daemon.metric("karez_records_total", "outcome=\"delivered\"");
    let mut memory = Vec::new();
    for tenth in 1..=10 {
        let until = (LONG * PAGE / 10 * tenth) as f64;
        daemon.until(Duration::from_secs(900), |daemon| delivered(daemon) >= until);
        memory.push(stats::resident_mib(daemon.pid()));
    }
    let seconds = begun.elapsed().as_secs();
    let least = memory.iter().copied().fold(f64::INFINITY, f64::min);
    let most = memory.iter().copied().fold(0.0, f64::max);
    println!(
        "pages, long: {} records in {seconds} s; memory {:.0} MiB after a tenth, {:.0} MiB at the end, between {least:.0} and {most:.0} MiB throughout",
        LONG * PAGE,
        memory[0],
        memory[9],
    );
}

/// 100,000 parents, each with a partition of one record, twice: the memory of a stream that has as many marks.
pub(crate) fn run_partitions() {
    const PARENTS: usize = 100;
    let api = Api::start(PARENTS);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("pipelines")).unwrap();
    let pipeline = format!(
        "name: partitions\nsource:\n  http:\n    url: \"http://127.0.0.1:{}\"\n    allow_private: [127.0.0.0/8]\n    \
         parallel: 16\n    streams:\n      parents:\n        path: /parents\n        records: $.data\n        \
         page: {{cursor: $.next, into: query.page}}\n      children:\n        for_each: parents\n        \
         path: \"/children/{{{{parent.id}}}}\"\n        records: $.data\n        key: [id]\nsink: {{blackhole: {{}}}}\n",
        api.port
    );
    std::fs::write(folder.path().join("pipelines/partitions.yaml"), pipeline).unwrap();
    let begun = Instant::now();
    let daemon = daemon::Daemon::start(folder.path());
    let mut most: f64 = 0.0;
    loop {
        most = most.max(stats::resident_mib(daemon.pid()));
        if daemon.metric("karez_records_total", "outcome=\"delivered\"") >= (PARENTS * PAGE) as f64 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(900), "the partitions were not read in time");
        std::thread::sleep(Duration::from_millis(100));
    }
    let seconds = begun.elapsed().as_secs();
    drop(daemon);
    // What is left of them is read at a start.
    let daemon = daemon::Daemon::start(folder.path());
    most = most.max(stats::resident_mib(daemon.pid()));
    println!(
        "partitions: {} in {seconds} s, {most:.0} MiB at most; started again in {:.0} ms",
        PARENTS * PAGE,
        stats::millis(daemon.start),
    );
}

fn folder(port: u16) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("pipelines")).unwrap();
    let pipeline = format!(
        "name: pages\nsource:\n  http:\n    url: \"http://127.0.0.1:{port}\"\n    allow_private: [127.0.0.0/8]\n    \
         path: /items\n    records: $.data\n    key: [id]\n    page: {{cursor: $.next, into: query.page}}\n    \
         incremental: {{cursor: $.updated_at}}\nsink: {{blackhole: {{}}}}\n"
    );
    std::fs::write(folder.path().join("pipelines/pages.yaml"), pipeline).unwrap();
    folder
}

fn one(folder: &std::path::Path) -> Duration {
    std::fs::remove_dir_all(folder.join(".karez")).ok();
    let before = Instant::now();
    let output = Command::new(daemon::binary())
        .args(["run", "--once", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .output()
        .unwrap();
    let time = before.elapsed();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "karez ended with {}: {said}", output.status);
    assert!(said.contains(&format!("delivered {}", PAGES * PAGE)), "{said}");
    time
}

/// What somebody would write: ask, parse, go on.
fn loop_of(port: u16, pages: usize) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    rustls::crypto::ring::default_provider().install_default().ok();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let (mut read, mut page) = (0, Some(String::from("0")));
        let before = Instant::now();
        while let Some(number) = page {
            let url = format!("http://127.0.0.1:{port}/items?page={number}");
            let body = client.get(url).send().await.unwrap().bytes().await.unwrap();
            let mut tree: serde_json::Value = serde_json::from_slice(&body).unwrap();
            for record in tree["data"].as_array_mut().unwrap().drain(..) {
                std::hint::black_box(record);
                read += 1;
            }
            page = tree["next"].as_str().map(str::to_owned);
        }
        assert_eq!(read, pages * PAGE);
        before.elapsed()
    })
}

/// Serves pages until it is killed; the first line of its output is its port.
pub(crate) fn serve(pages: usize) {
    let records: Vec<String> = (0..PAGE).map(record).collect();
    let data = records.join(",");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        std::io::stdout().flush().unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let data = data.clone();
            tokio::spawn(async move {
                let service = service_fn(|request: Request<hyper::body::Incoming>| {
                    let query = request.uri().query().unwrap_or_default();
                    let page: usize =
                        query.rsplit('=').next().and_then(|page| page.parse().ok()).unwrap_or(0);
                    let next = if page + 1 < pages { format!("\"{}\"", page + 1) } else { "null".into() };
                    let body = match request.uri().path().strip_prefix("/children/") {
                        Some(parent) => format!("{{\"data\":[{{\"id\":\"{parent}/1\"}}]}}"),
                        None => {
                            let data = data.replace("PAGE", &format!("{page:06}"));
                            format!("{{\"data\":[{data}],\"next\":{next}}}")
                        }
                    };
                    let answer = Response::builder().header("content-type", "application/json");
                    std::future::ready(Ok::<_, Infallible>(
                        answer.body(Full::new(Bytes::from(body))).unwrap(),
                    ))
                });
                let served = hyper::server::conn::http1::Builder::new();
                served.serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    });
}

fn record(n: usize) -> String {
    format!(
        "{{\"id\":\"cus_PAGE_{n:04}\",\"updated_at\":\"2024-05-{:02}T{:02}:{:02}:00.PAGEZ\",\"name\":\"Ada Lovelace {n}\",\"email\":\"ada{n}@example.com\",\"total\":{}.25,\"address\":{{\"city\":\"London\",\"zip\":\"N1 9GU\",\"country\":\"GB\"}},\"tags\":[\"a\",\"b\"],\"note\":\"a customer since 2019\"}}",
        1 + n % 28,
        n % 24,
        n % 60,
        n % 977,
    )
}
