//! Routes of the admin side that every request passes through: guard, health, metrics, API.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use karez_api::Fault;
use karez_runtime::{Rewind, Rewound};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Guard, api, metrics};
use crate::fleet::Fleet;
use crate::ingress::Ingress;
use crate::reload::{Pass, Report};
use crate::server::{Handler, HandlerFuture, Payload, Peer, error, json_of, text};
use crate::settings::Settings;

/// What the admin side asks of the manager of the pipelines.
pub(crate) enum Request {
    Reload(ReloadRequest),
    Rewind(RewindRequest),
}

/// Asks for records to be read again.
pub(crate) struct RewindRequest {
    pub(crate) pipeline: String,
    pub(crate) rewind: Rewind,
    /// Is told what was done, or why it was not.
    pub(crate) tell: oneshot::Sender<Result<Rewound, Fault>>,
}

/// Asks for a pass.
pub(crate) struct ReloadRequest {
    pub(crate) pass: Pass,
    /// Is told its report, or why there is none.
    pub(crate) tell: oneshot::Sender<Result<Report, String>>,
}

pub(crate) struct Admin {
    pub(crate) guard: Guard,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) manager: mpsc::Sender<Request>,
    /// Where browsers reach the listener of webhooks.
    pub(crate) public_url: String,
    pub(crate) settings: Settings,
    /// One at a time.
    pub(crate) recordings: Semaphore,
}

impl Admin {
    async fn answer(&self, request: http::Request<Incoming>, peer: SocketAddr) -> Response<Payload> {
        let (head, body) = request.into_parts();
        if let Err((status, code, message)) = self.guard.check(&head, peer) {
            return whole(error(status, code, message));
        }
        match head.uri.path() {
            "/livez" => whole(text(StatusCode::OK, "text/plain", "ok\n")),
            "/readyz" | "/healthz" => whole(self.ready()),
            "/metrics" => {
                let body = metrics::render(&self.fleet, &self.ingress);
                whole(text(StatusCode::OK, "text/plain; version=0.0.4", body))
            }
            path => match path.strip_prefix("/api/v1/") {
                Some(path) => api::answer(self, &head, path, body).await,
                None => whole(error(StatusCode::NOT_FOUND, "not_found", "there is nothing here")),
            },
        }
    }

    fn ready(&self) -> Response<Bytes> {
        match self.fleet.not_ready() {
            None => {
                let mut told =
                    serde_json::json!({"status": "ready", "pipelines": self.fleet.pipelines().len()});
                // What is for them is accepted durably, and waits for somebody who logs in.
                let connections = self.fleet.connections.status().into_iter();
                let waiting = connections
                    .filter(|status| status.auth.as_ref().is_some_and(|auth| auth.state == "needs_login"))
                    .map(|status| status.name);
                let waiting: Vec<String> = waiting.collect();
                if !waiting.is_empty() {
                    told["needs_login"] = waiting.into();
                }
                json_of(StatusCode::OK, &told)
            }
            Some(reason) => error(StatusCode::SERVICE_UNAVAILABLE, "not_ready", &reason),
        }
    }
}

pub(super) fn whole(response: Response<Bytes>) -> Response<Payload> {
    response.map(Payload::from)
}

impl Handler for Admin {
    fn handle(self: Arc<Self>, request: http::Request<Incoming>, peer: Peer) -> HandlerFuture {
        Box::pin(async move {
            let mut response = self.answer(request, peer.address).await;
            let headers = response.headers_mut();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            // Data for programs: a browser that shows it runs nothing of it.
            let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
            headers.insert(CONTENT_SECURITY_POLICY, policy);
            Ok(response)
        })
    }
}
