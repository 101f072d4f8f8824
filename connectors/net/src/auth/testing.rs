//! Requests, a carrier that answers from a list, and credentials built from what a file would say.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use karez_api::{Clock, Fault, Json, Millis};
use serde::de::DeserializeOwned;

use super::{Build, Credentials, build};
use crate::tasks::Owned;
use crate::transport::Carrier;
use crate::{Effect, Failure, Request, Response, Reuse};

pub(super) fn read<T: DeserializeOwned>(settings: &Json) -> T {
    serde_json::from_value(settings.clone()).unwrap()
}

pub(super) fn request(method: &str, url: &str, body: &str) -> Request {
    Request {
        body: body.to_owned().into(),
        reuse: Reuse::Never,
        ..Request::new(method.parse().unwrap(), url.parse().unwrap())
    }
}

pub(super) fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Response {
    let headers =
        headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    Response { status: status.try_into().unwrap(), headers, body: body.to_owned().into(), cached: false }
}

/// The time is what a test says.
pub(super) struct SetClock {
    start: Instant,
    millis: AtomicU64,
}

impl SetClock {
    pub(super) fn at(millis: u64) -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), millis: AtomicU64::new(millis) })
    }
    pub(super) fn pass(&self, time: Duration) {
        self.millis.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Millis {
        Millis(self.millis.load(Ordering::SeqCst))
    }
    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now().0)
    }
    fn sleep(&self, _time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

/// Answers from a list, and keeps what it was asked.
#[derive(Default)]
pub(super) struct Answers {
    answers: Mutex<VecDeque<Response>>,
    asked: Mutex<Vec<Request>>,
}

impl Answers {
    pub(super) fn with(answers: impl IntoIterator<Item = Response>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), asked: Mutex::default() })
    }
    pub(super) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Carrier for Answers {
    async fn send(&self, request: Request, _limit: usize) -> Result<Response, Failure> {
        // Whoever waits for the same log-in gets a chance to ask for one of its own.
        tokio::task::yield_now().await;
        self.asked.lock().unwrap().push(request);
        let fault = Fault::connection("nobody answers");
        self.answers.lock().unwrap().pop_front().ok_or(Failure {
            fault,
            effect: Effect::None,
            response: None,
        })
    }
}

pub(super) fn credentials(
    spec: &Json,
    clock: Arc<impl Clock + 'static>,
    carrier: Arc<impl Carrier + 'static>,
) -> Arc<dyn Credentials> {
    let cx = Build {
        name: "crm".into(),
        base: Some("https://a.example/api/".parse().unwrap()),
        carrier,
        vault: None,
        clock,
        tasks: Arc::<Owned>::default(),
        metrics: Default::default(),
        params: Default::default(),
        is_certified: false,
        lasting: Arc::<Owned>::default(),
    };
    build(&read(spec), cx).unwrap()
}

/// A request with credentials that need nothing for it.
pub(super) async fn applied(spec: &Json, mut request: Request) -> Request {
    let clock = SetClock::at(1_000_000);
    credentials(spec, clock, Arc::<Answers>::default()).apply(&mut request).await.unwrap();
    request
}
