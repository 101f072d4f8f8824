//! Serves one connection to its end, and ends it so that the last answer arrives.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::listener::{Handler, HandlerFuture, Limits, Peer, stopped};

/// A client that still sends gets this long to read the answer that refused it.
const LINGER: Duration = Duration::from_secs(2);
/// What such a client may still send before the line is cut, in bytes.
const LINGER_BYTES: usize = 16 << 20;

/// Answers requests until the client leaves, breaks a rule, or `stop` turns true.
pub(super) async fn serve<H: Handler, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: Peer,
    handler: Arc<H>,
    limits: &Limits,
    mut stop: watch::Receiver<bool>,
) {
    let service = Service { handler, peer };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(BUFFER))
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        biased;
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(ended),
        () = stopped(&mut stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    if ended.is_ok() {
        linger(connection.into_parts().io.into_inner()).await;
    }
}

/// Large bodies are read in pieces of at most this size.
const BUFFER: usize = 128 << 10;

/// Closing a socket with unread bytes resets it, and a reset can overtake the answer. So: say that
/// nothing more will come, and read on until the client has understood.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let drained = async {
        let mut scrap = [0; 16 << 10];
        let mut left = LINGER_BYTES;
        while let Ok(n) = stream.read(&mut scrap).await {
            if n == 0 || n > left {
                break;
            }
            left -= n;
        }
    };
    // Whether it was understood in time makes no difference any more.
    timeout(LINGER, drained).await.ok();
}

struct Service<H> {
    handler: Arc<H>,
    peer: Peer,
}

impl<H: Handler> hyper::service::Service<Request<Incoming>> for Service<H> {
    type Response = Response<super::Payload>;
    type Error = Infallible;
    type Future = HandlerFuture;

    fn call(&self, request: Request<Incoming>) -> HandlerFuture {
        Arc::clone(&self.handler).handle(request, self.peer.clone())
    }
}
