//! From a request to its endpoint: path, admission, body, call. Every refusal that is decided here
//! has its answer here.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use karez_api::{Claim, Endpoint, Fault, Mount, Network, RequestHead};
use karez_connectors::net::Connections;

use super::routes::Routes;
use super::{forwarded, log_in};
use crate::server::{self, BodyFault, Budget, Detached, Handler, HandlerFuture, Payload, Peer, error};

/// Bytes of memory for bodies of requests that are not answered yet, of all senders together.
const BODY_BYTES: usize = 128 << 20;

/// How long a request waits for a pipeline that is being changed to take its path over from another one.
const HANDOVER: Duration = Duration::from_secs(3);

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
    no_room: AtomicU64,
    unavailable: AtomicU64,
}

impl RejectionCounts {
    /// Reason and count.
    pub(crate) fn all(&self) -> [(&'static str, u64); 6] {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("unknown_path", count(&self.unknown_path)),
            ("too_large", count(&self.too_large)),
            ("too_slow", count(&self.too_slow)),
            ("broken", count(&self.broken)),
            ("no_room", count(&self.no_room)),
            ("unavailable", count(&self.unavailable)),
        ]
    }
}

/// The ingress: routes, gate, counters.
pub(crate) struct Ingress {
    routes: Routes,
    gate: AtomicU8,
    /// Paths that pipelines have, whether they serve them at this moment or not.
    expected: ArcSwap<HashSet<String>>,
    /// Passes over the pipelines that are under way.
    changes: Arc<AtomicUsize>,
    rejected: RejectionCounts,
    bodies: Budget,
    detached: Detached,
    /// Networks of proxies that are believed when they say whom a request comes from.
    trusted: Vec<Network>,
    /// Whose log-ins come back here.
    connections: Arc<Connections>,
}

impl Ingress {
    /// Must be made inside a runtime.
    pub(crate) fn new(trusted: Vec<Network>, connections: Arc<Connections>) -> Self {
        Self {
            routes: Routes::default(),
            gate: AtomicU8::new(Gate::Starting as u8),
            expected: ArcSwap::default(),
            changes: Arc::default(),
            rejected: RejectionCounts::default(),
            bodies: Budget::new(BODY_BYTES),
            detached: Detached::new(),
            trusted,
            connections,
        }
    }

    pub(crate) fn set_gate(&self, gate: Gate) {
        self.gate.store(gate as u8, Ordering::Release);
    }

    /// Says which paths are to be served: until they are, a sender is asked to come again.
    pub(crate) fn expect<'a>(&self, claims: impl IntoIterator<Item = &'a Claim>) {
        let paths = claims.into_iter().filter_map(path).map(str::to_owned);
        self.expected.store(Arc::new(paths.collect()));
    }

    /// While the result lives, pipelines are being changed: who asks for a path that is not served waits a little.
    pub(crate) fn changing(&self) -> Changing {
        self.changes.fetch_add(1, Ordering::AcqRel);
        Changing { changes: Arc::clone(&self.changes), routes: self.routes.clone() }
    }

    #[cfg(test)]
    pub(crate) fn serves(&self, path: &str) -> bool {
        self.routes.find(path).is_some()
    }

    /// Returns once nobody but `pipeline` serves the paths among `claims`.
    pub(crate) async fn free(&self, pipeline: &str, claims: &[Claim]) {
        let paths: Vec<&str> = claims.iter().filter_map(path).collect();
        self.routes.free(pipeline, &paths).await;
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

    /// Goes on where the browser leaves: a code counts once, and what comes for it must not be lost. `path` is one that
    /// is about log-ins.
    pub(crate) async fn log_in(&self, head: Parts, path: String) -> Response<Bytes> {
        let connections = Arc::clone(&self.connections);
        let answered = async move { log_in::answer(connections.logins(), &head, &path).await };
        self.detached.keep(answered).await
    }

    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<Bytes> {
        if log_in::is_about(request.uri().path()) {
            let (head, _) = request.into_parts();
            let path = head.uri.path().to_owned();
            return self.log_in(head, path).await;
        }
        let endpoint = match self.endpoint_soon(request.uri().path()).await {
            Ok(endpoint) => endpoint,
            Err(refusal) => return unread(*refusal, request.body()),
        };
        let (parts, body) = request.into_parts();
        let peer_address = forwarded::origin(peer.address, &parts.headers, &self.trusted);
        let head = RequestHead { parts, peer: peer_address, certificate: peer.certificate };
        if let Err(refusal) = endpoint.admit(&head) {
            return unread(refusal, &body);
        }
        let max = endpoint.max_body();
        let mut charge = self.bodies.open();
        match server::read(body, max, &mut charge).await {
            Ok(body) => {
                let call = async move {
                    let answer = endpoint.call(head, body).await;
                    drop(charge);
                    answer
                };
                self.detached.keep(call).await
            }
            Err(fault) => self.refuse_body(fault, max),
        }
    }

    /// As [`Ingress::endpoint`]; waits for a path that one pipeline is handing over to another.
    pub(super) async fn endpoint_soon(&self, path: &str) -> Result<Arc<dyn Endpoint>, Box<Response<Bytes>>> {
        let handed_over = async {
            loop {
                let mut changed = std::pin::pin!(self.routes.changed());
                // From here on nothing is missed.
                changed.as_mut().enable();
                if self.routes.find(path).is_some() || !self.is_handed_over(path) {
                    return;
                }
                changed.await;
            }
        };
        // Mostly nothing is being changed, and the path is looked up once.
        if self.is_handed_over(path) {
            tokio::time::timeout(HANDOVER, handed_over).await.ok();
        }
        self.endpoint(path)
    }

    fn is_handed_over(&self, path: &str) -> bool {
        let changing = self.changes.load(Ordering::Acquire) > 0;
        changing && self.gate() == Gate::Open && self.expected.load().contains(path)
    }

    pub(super) fn endpoint(&self, path: &str) -> Result<Arc<dyn Endpoint>, Box<Response<Bytes>>> {
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
        if self.expected.load().contains(path) {
            count(&self.rejected.unavailable);
            return Err(Box::new(unavailable("the pipeline of this path does not run at the moment")));
        }
        count(&self.rejected.unknown_path);
        Err(Box::new(error(StatusCode::NOT_FOUND, "unknown_path", "no pipeline listens on this path")))
    }

    fn refuse_body(&self, fault: BodyFault, max: usize) -> Response<Bytes> {
        let (counter, refusal) = match fault {
            BodyFault::NoRoom => {
                (&self.rejected.no_room, unavailable("too many bodies are on their way at the moment"))
            }
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

/// See [`Ingress::changing`].
pub(crate) struct Changing {
    changes: Arc<AtomicUsize>,
    routes: Routes,
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.changes.fetch_sub(1, Ordering::AcqRel);
        // Who still waits, waits in vain.
        self.routes.tell();
    }
}

impl karez_api::Ingress for Ingress {
    fn mount(&self, owner: &str, path: &str, endpoint: Arc<dyn Endpoint>) -> Result<Mount, Fault> {
        self.routes.mount(owner, path, endpoint)
    }
}

impl Handler for Ingress {
    fn handle(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> HandlerFuture {
        Box::pin(async move { Ok(self.answer(request, peer).await.map(Payload::from)) })
    }
}

fn path(claim: &Claim) -> Option<&str> {
    match claim {
        Claim::IngressPath(path) => Some(path),
        Claim::File(_) | Claim::Stdio(_) => None,
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

/// A refusal before the body was read: where there is one, the connection cannot be used again.
fn unread(refusal: Response<Bytes>, body: &Incoming) -> Response<Bytes> {
    if body.is_end_stream() { refusal } else { closing(refusal) }
}

/// What is left of the request is not worth reading: the connection ends with this answer.
fn closing(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
