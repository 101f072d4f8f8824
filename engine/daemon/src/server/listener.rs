//! The accept loop: bounded, and not ended by anything that one connection can do.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::Payload;
use super::connection;
use super::tls::Tls;

pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<Response<Payload>, Infallible>> + Send>>;

/// Who sends a request.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The certificate that it proved to have, in DER: only where the listener asks for one.
    pub(crate) certificate: Option<Bytes>,
}

/// What answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    fn handle(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> HandlerFuture;
}

/// What one client, or all of them, may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once; more wait in the kernel's queue.
    pub(crate) connections: usize,
    /// Until a request's head is complete, and between requests.
    pub(crate) header_time: Duration,
    /// A request's head, 431 beyond it.
    pub(crate) header_bytes: usize,
}

impl Limits {
    pub(crate) const INGRESS: Self =
        Self { connections: 4_096, header_time: Duration::from_secs(10), header_bytes: 64 << 10 };
    pub(crate) const LOOPBACK: Self =
        Self { connections: 16, header_time: Duration::from_secs(10), header_bytes: 32 << 10 };
    pub(crate) const ADMIN: Self =
        Self { connections: 256, header_time: Duration::from_secs(10), header_bytes: 16 << 10 };
}

/// How long to wait before accepting again when the process has no file descriptor left.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// A bound listener.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    limits: Limits,
    tls: Option<Arc<Tls>>,
}

impl Server {
    /// # Errors
    /// The address is in use or not ours.
    pub(crate) async fn bind(address: SocketAddr, limits: Limits) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let limits = Limits { connections: limits.connections.min(share_of_descriptors()), ..limits };
        Ok(Self { listener, address, limits, tls: None })
    }

    /// Speaks TLS, if `tls` is there.
    #[must_use]
    pub(crate) fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls: tls.map(Arc::new), ..self }
    }

    /// The address with the port that was really bound.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts and serves until `stop` turns true; then closes the listener, answers what was
    /// asked, with `Connection: close`, and returns once every connection has ended.
    pub(crate) async fn serve<H: Handler>(self, handler: Arc<H>, mut stop: watch::Receiver<bool>) {
        let Self { listener, limits, tls, .. } = self;
        let mut following = std::pin::pin!(async {
            match &tls {
                Some(tls) => Arc::clone(tls).follow().await,
                None => std::future::pending().await,
            }
        });
        let slots = Arc::new(Semaphore::new(limits.connections));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                () = &mut following => {}
                Some(ended) = connections.join_next(), if !connections.is_empty() => note(ended),
                accepted = accept(&listener, &slots) => match accepted {
                    Ok((stream, peer, slot)) => {
                        let (handler, stop) = (Arc::clone(&handler), stop.clone());
                        let acceptor = tls.as_deref().map(Tls::acceptor);
                        connections.spawn(async move {
                            serve(stream, peer, acceptor, handler, &limits, stop).await;
                            drop(slot);
                        });
                    }
                    Err(error) => survive(&error).await,
                },
            }
        }
        drop(listener);
        while let Some(ended) = connections.join_next().await {
            note(ended);
        }
    }
}

/// Serves one connection, in the clear or by TLS.
async fn serve<H: Handler>(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    handler: Arc<H>,
    limits: &Limits,
    stop: watch::Receiver<bool>,
) {
    let Some(acceptor) = acceptor else {
        let peer = Peer { address, certificate: None };
        return connection::serve(stream, peer, handler, limits, stop).await;
    };
    match tokio::time::timeout(limits.header_time, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let certificate = shown.map(|first| Bytes::copy_from_slice(first));
            connection::serve(stream, Peer { address, certificate }, handler, limits, stop).await;
        }
        Ok(Err(error)) => debug!(%address, %error, "a client failed to agree on TLS"),
        Err(_) => debug!(%address, "a client took too long to agree on TLS"),
    }
}

/// A third of what the process may have open: connections must not take what the store, sources and sinks need.
fn share_of_descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit / 3).ok()).unwrap_or(usize::MAX).max(8)
}

/// Returns once the process is to stop, or nobody is left who could say so.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.map(drop).ok();
}

type Slot = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> io::Result<(TcpStream, SocketAddr, Slot)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, slot))
}

/// A client that left while it was accepted is nobody's fault; without file descriptors we wait for one.
async fn survive(error: &io::Error) {
    let client_left = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::InvalidInput
    );
    if !client_left {
        warn!(%error, "cannot accept connections, will try again");
        tokio::time::sleep(OUT_OF_FILES).await;
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection ended by a bug");
    }
}
