//! Answers: a whole body or a stream of lines, and the one form in which errors are told.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The body of an answer.
pub(crate) enum Payload {
    Whole(Option<Bytes>),
    /// Ends when the writer does; the writer ends when the client leaves.
    Stream {
        lines: mpsc::Receiver<Bytes>,
        _writer: JoinSet<()>,
    },
}

impl Payload {
    /// What `write` sends, for as long as the client listens.
    pub(crate) fn stream<W: Future<Output = ()> + Send + 'static>(
        write: impl FnOnce(mpsc::Sender<Bytes>) -> W,
    ) -> Self {
        let (to, lines) = mpsc::channel(16);
        let mut writer = JoinSet::new();
        writer.spawn(write(to));
        Self::Stream { lines, _writer: writer }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream { lines, .. } => {
                lines.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream { .. } => SizeHint::default(),
        }
    }
}

/// An answer with a JSON body.
fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    with_type(status, "application/json", body)
}

/// An answer with `value` as JSON.
pub(crate) fn json_of(status: StatusCode, value: &impl Serialize) -> Response<Bytes> {
    match serde_json::to_vec(value) {
        Ok(body) => json(status, body),
        Err(fault) => error(StatusCode::INTERNAL_SERVER_ERROR, "internal", &fault.to_string()),
    }
}

/// An answer with a plain text body.
pub(crate) fn text(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    with_type(status, content_type, body)
}

/// A refusal: `error` is for people, `code` is stable.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response<Bytes> {
    json(status, serde_json::json!({"error": message, "code": code}).to_string())
}

fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
