//! From a request to its endpoint: path, admission, body, call. Every refusal that is decided here
//! has its answer here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use karez_api::{Endpoint, Fault, Mount, RequestHead};

use super::routes::Routes;
use crate::server::{self, BodyFault, Detached, Handler, HandlerFuture, Payload, error};

/// Whether requests are taken at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Gate {
    /// Pipelines are still being started: an unknown path may be known in a moment.
    Starting = 0,
    Open = 1,
    /// The process ends or its store failed: 503, come again.
    Shut = 2,
}

/// Requests that no endpoint saw or whose body was refused, by reason.
#[derive(Debug, Default)]
pub(crate) struct RejectionCounts {
    unknown_path: AtomicU64,
    too_large: AtomicU64,
    too_slow: AtomicU64,
    broken: AtomicU64,
    unavailable: AtomicU64,
}

impl RejectionCounts {
    /// Reason and count.
    pub(crate) fn all(&self) -> [(&'static str, u64); 5] {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("unknown_path", count(&self.unknown_path)),
            ("too_large", count(&self.too_large)),
            ("too_slow", count(&self.too_slow)),
            ("broken", count(&self.broken)),
            ("unavailable", count(&self.unavailable)),
        ]
    }
}

/// The ingress: routes, gate, counters.
pub(crate) struct Ingress {
    routes: Routes,
    gate: AtomicU8,
    rejected: RejectionCounts,
    detached: Detached,
}

impl Ingress {
    /// Must be made inside a runtime.
    pub(crate) fn new() -> Self {
        Self {
            routes: Routes::default(),
            gate: AtomicU8::new(Gate::Starting as u8),
            rejected: RejectionCounts::default(),
            detached: Detached::new(),
        }
    }

    pub(crate) fn set_gate(&self, gate: Gate) {
        self.gate.store(gate as u8, Ordering::Release);
    }

    pub(crate) fn rejected(&self) -> &RejectionCounts {
        &self.rejected
    }

    /// Waits for requests whose clients have left.
    pub(crate) async fn finish(&self) {
        self.detached.finish().await;
    }

    fn gate(&self) -> Gate {
        match self.gate.load(Ordering::Acquire) {
            0 => Gate::Starting,
            1 => Gate::Open,
            _ => Gate::Shut,
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Bytes> {
        let endpoint = match self.endpoint(request.uri().path()) {
            Ok(endpoint) => endpoint,
            Err(refusal) => return *refusal,
        };
        let (parts, body) = request.into_parts();
        let head = RequestHead { parts, peer };
        if let Err(refusal) = endpoint.admit(&head) {
            return refusal;
        }
        let max = endpoint.max_body();
        match server::read(body, max).await {
            Ok(body) => self.detached.keep(async move { endpoint.call(head, body).await }).await,
            Err(fault) => self.refuse_body(fault, max),
        }
    }

    fn endpoint(&self, path: &str) -> Result<Arc<dyn Endpoint>, Box<Response<Bytes>>> {
        let gate = self.gate();
        if gate == Gate::Shut {
            count(&self.rejected.unavailable);
            return Err(Box::new(unavailable("not taking requests at the moment")));
        }
        if let Some(endpoint) = self.routes.find(path) {
            return Ok(endpoint);
        }
        if gate == Gate::Starting {
            count(&self.rejected.unavailable);
            return Err(Box::new(unavailable("pipelines are being started")));
        }
        count(&self.rejected.unknown_path);
        Err(Box::new(error(StatusCode::NOT_FOUND, "unknown_path", "no pipeline listens on this path")))
    }

    fn refuse_body(&self, fault: BodyFault, max: usize) -> Response<Bytes> {
        let (counter, refusal) = match fault {
            BodyFault::TooLarge => {
                let message = format!("the body is larger than {max} bytes");
                (&self.rejected.too_large, error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &message))
            }
            BodyFault::TooSlow => {
                let message = "the body did not arrive in time";
                (&self.rejected.too_slow, error(StatusCode::REQUEST_TIMEOUT, "too_slow", message))
            }
            BodyFault::Broken => {
                let message = "the body broke off";
                (&self.rejected.broken, error(StatusCode::BAD_REQUEST, "broken_body", message))
            }
        };
        count(counter);
        closing(refusal)
    }
}

impl karez_api::Ingress for Ingress {
    fn mount(&self, owner: &str, path: &str, endpoint: Arc<dyn Endpoint>) -> Result<Mount, Fault> {
        self.routes.mount(owner, path, endpoint)
    }
}

impl Handler for Ingress {
    fn handle(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> HandlerFuture {
        Box::pin(async move { Ok(self.answer(request, peer).await.map(Payload::from)) })
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn unavailable(message: &str) -> Response<Bytes> {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// What is left of the request is not worth reading: the connection ends with this answer.
fn closing(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
