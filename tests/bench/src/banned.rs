//! A far end that counts each request beyond its limit as a violation: how close to the limit a connection comes
//! without one. Once by what the file says (a window, a bucket), once by what the far end tells alone.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use karez_net::{Connections, Request, check};
use karez_runtime::SystemClock;
use serde_json::{Value as Json, json};

use crate::client::options;

const REQUESTS: usize = 10_000;
/// Requests that are allowed in each second.
const LIMIT: usize = 1_000;
const CALLERS: usize = 32;

pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let window = json!({"quotas": [{"window": "1s", "requests": LIMIT}]});
    let bucket = json!({"quotas": [{"rate": format!("{LIMIT}/s"), "burst": 100}]});
    let told = json!({"max_wait": "60s"});
    for (name, limits, rule) in [
        ("window", window, Rule::Window(VecDeque::new())),
        ("bucket", bucket, Rule::Bucket { level: 100.0, filled: Instant::now() }),
        ("told", told, Rule::Told { window: 0, used: 0 }),
    ] {
        let (violations, took) = runtime.block_on(against(rule, limits));
        let part = REQUESTS as f64 / took.as_secs_f64() / LIMIT as f64;
        println!(
            "banned, {name}: {violations} violations in {REQUESTS} requests at {:.1} % of the allowed rate",
            part * 100.0
        );
    }
}

/// How the far end counts.
enum Rule {
    /// So many in any second.
    Window(VecDeque<Instant>),
    /// A bucket of 100 that is filled evenly.
    Bucket { level: f64, filled: Instant },
    /// So many in each second of its clock, which it tells.
    Told { window: u128, used: usize },
}

struct Far {
    rule: Rule,
    violations: usize,
}

async fn against(rule: Rule, limits: Json) -> (usize, Duration) {
    let far = Arc::new(Mutex::new(Far { rule, violations: 0 }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(serve(listener, Arc::clone(&far)));
    let connections = Connections::new(Arc::new(SystemClock), None, options());
    let settings = json!({"url": url, "timeout": "120s", "limits": limits});
    let connection = connections.open(&check("bench", &settings).unwrap()).unwrap();
    let begun = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let connection = Arc::clone(&connection);
            tokio::spawn(async move {
                for _ in (caller..REQUESTS).step_by(CALLERS) {
                    let request = Request::new(http::Method::GET, connection.url("x").unwrap());
                    drop(connection.call(request).await);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let took = begun.elapsed();
    connections.close().await;
    server.abort();
    let violations = far.lock().unwrap().violations;
    (violations, took)
}

async fn serve(listener: tokio::net::TcpListener, far: Arc<Mutex<Far>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let far = Arc::clone(&far);
        tokio::spawn(async move {
            let answer = |_| {
                let answer = far.lock().unwrap().answer();
                async { Ok::<_, Infallible>(answer) }
            };
            let connection = hyper::server::conn::http1::Builder::new();
            connection.serve_connection(TokioIo::new(stream), service_fn(answer)).await.ok();
        });
    }
}

impl Far {
    fn answer(&mut self) -> Response<Full<Bytes>> {
        let now = Instant::now();
        let mut answer = Response::new(Full::new(Bytes::from_static(b"{}")));
        let allowed = match &mut self.rule {
            Rule::Window(last) => {
                while last.front().is_some_and(|oldest| now - *oldest >= Duration::from_secs(1)) {
                    last.pop_front();
                }
                last.push_back(now);
                last.len() <= LIMIT
            }
            Rule::Bucket { level, filled } => {
                *level = (*level + (now - *filled).as_secs_f64() * LIMIT as f64).min(100.0) - 1.0;
                *filled = now;
                *level >= 0.0
            }
            Rule::Told { window, used } => {
                let millis = wall().as_millis();
                if millis / 1000 != *window {
                    (*window, *used) = (millis / 1000, 0);
                }
                *used += 1;
                let headers = answer.headers_mut();
                headers.insert("x-ratelimit-limit", LIMIT.into());
                headers.insert("x-ratelimit-remaining", LIMIT.saturating_sub(*used).into());
                let reset = u64::try_from((*window + 1) * 1000).unwrap();
                headers.insert("x-ratelimit-reset", reset.into());
                *used <= LIMIT
            }
        };
        if !allowed {
            self.violations += 1;
            *answer.status_mut() = hyper::StatusCode::TOO_MANY_REQUESTS;
        }
        answer
    }
}

#[expect(clippy::disallowed_methods, reason = "the far end has a clock of its own")]
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
