//! A port of this machine that a browser comes back to (RFC 8252 §7.3), open as long as one log-in takes. It decides
//! nothing: what a browser asks is passed on to the daemon, which has sent it on its way and knows what has to fit.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, COOKIE, HOST, HeaderName, LOCATION, REFERRER_POLICY, SET_COOKIE,
};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::admin::Client;
use crate::ingress::is_about_log_ins;
use crate::server::{Handler, HandlerFuture, Limits, Payload, Peer, Server, Serving, text};

/// For the browser to read its last page.
const LAST_PAGE: Duration = Duration::from_secs(5);
/// What goes back to the browser.
const TOLD: [HeaderName; 5] = [LOCATION, SET_COOKIE, CONTENT_TYPE, CACHE_CONTROL, REFERRER_POLICY];

pub(super) struct Loopback {
    pub(super) port: u16,
    serving: Serving,
}

impl Loopback {
    /// `port` 0 is any that is free.
    ///
    /// # Errors
    /// It is not free.
    pub(super) async fn open(port: u16, client: Arc<Client>) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let server = Server::bind(address, Limits::LOOPBACK).await;
        let server = server.with_context(|| format!("cannot listen on {address} for the browser"))?;
        let port = server.address().port();
        let passing = PassOn { client, host: format!("127.0.0.1:{port}") };
        Ok(Self { port, serving: server.begin(Arc::new(passing)) })
    }

    /// Lets what was asked be answered.
    pub(super) async fn close(mut self) {
        self.serving.stop();
        self.serving.finish(LAST_PAGE).await;
    }
}

struct PassOn {
    client: Arc<Client>,
    host: String,
}

impl PassOn {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Bytes> {
        let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        // A name that somebody else lets point here is not what the browser was told.
        let is_ours = request.headers().get(HOST).is_some_and(|host| host.as_bytes() == self.host.as_bytes());
        if !is_ours || request.method() != http::Method::GET || !is_about_log_ins(request.uri().path()) {
            return text(StatusCode::NOT_FOUND, "text/plain", "There is nothing here but a log-in.\n");
        }
        let headers = only(request.headers(), &[COOKIE]);
        match self.client.page(path.trim_start_matches('/'), headers).await {
            Ok(answer) => {
                let (mut head, body) = answer.into_parts();
                head.headers = only(&head.headers, &TOLD);
                Response::from_parts(head, body)
            }
            Err(error) => {
                let what = format!("The daemon cannot be asked: {error:#}\n");
                text(StatusCode::BAD_GATEWAY, "text/plain; charset=utf-8", what)
            }
        }
    }
}

fn only(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    names.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect()
}

impl Handler for PassOn {
    fn handle(self: Arc<Self>, request: Request<Incoming>, _: Peer) -> HandlerFuture {
        Box::pin(async move { Ok(self.answer(&request).await.map(Payload::from)) })
    }
}
