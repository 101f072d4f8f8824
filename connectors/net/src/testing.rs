//! For tests: a clock that passes when told, and a server on loopback that answers as told.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use karez_api::{Clock, Millis};
use reqwest::Url;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// 2026-11-24T10:15:00Z.
pub(crate) const NOW: Millis = Millis(1_795_515_300_000);

/// Time stands still until a test says that some of it has passed.
#[derive(Clone)]
pub(crate) struct TestClock {
    begun: Instant,
    passed: Arc<AtomicU64>,
    changed: Arc<Notify>,
    /// Waits up to this long are over as soon as they begin, and time has passed with them.
    hasty: Duration,
}

impl TestClock {
    pub(crate) fn still() -> Self {
        Self { begun: Instant::now(), passed: Arc::default(), changed: Arc::default(), hasty: Duration::ZERO }
    }
    /// Nobody waits for so little: such a wait lets its time pass at once.
    pub(crate) fn hasty(most: Duration) -> Self {
        Self { hasty: most, ..Self::still() }
    }
    pub(crate) fn pass(&self, time: Duration) {
        self.passed.fetch_add(u64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
        self.changed.notify_waiters();
    }
    pub(crate) fn passed(&self) -> Duration {
        Duration::from_micros(self.passed.load(Ordering::SeqCst))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Millis {
        Millis(NOW.0 + u64::try_from(self.passed().as_millis()).unwrap())
    }
    fn instant(&self) -> Instant {
        self.begun + self.passed()
    }
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = self.clone();
        let until = self.passed() + time;
        Box::pin(async move {
            if time <= clock.hasty {
                tokio::task::yield_now().await;
                clock.passed.fetch_max(u64::try_from(until.as_micros()).unwrap(), Ordering::SeqCst);
                return;
            }
            loop {
                let changed = clock.changed.notified();
                if clock.passed() >= until {
                    return;
                }
                changed.await;
            }
        })
    }
}

pub(crate) type Asked = http::Request<Bytes>;
pub(crate) type Answer = http::Response<Full<Bytes>>;

/// Answers each request, one after the other on each connection, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::start_async(move |asked| {
            let answer = Arc::clone(&answer);
            Box::pin(async move { answer(&asked) })
        })
        .await
    }

    pub(crate) async fn start_async(
        answer: impl Fn(Asked) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let request = http::Request::from_parts(head, body);
                        seen.lock().unwrap().push(request.clone());
                        Ok::<_, hyper::Error>(answer(request).await)
                    }
                });
                connections.spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    drop(server.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { address, asked, _tasks: tasks }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut answer = http::Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(Full::new(body.into())).unwrap()
}

pub(crate) fn get(url: Url) -> crate::Request {
    crate::Request::new(http::Method::GET, url)
}
