//! What goes wrong with one answer when exchanges are played.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Exchange;
use super::payload::Payload;
use crate::Response;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// 429 with `Retry-After`.
    TooMany,
    /// 500.
    Failing,
    /// No answer at all.
    Silent,
    /// A page for people under status 200.
    Html,
    /// The body ends in its middle.
    Truncated,
    /// The answer names the page again that it is itself.
    Cycle,
    /// The process ends before the answer comes.
    Crash,
}

impl Trouble {
    pub const ALL: [Self; 7] =
        [Self::TooMany, Self::Failing, Self::Silent, Self::Html, Self::Truncated, Self::Cycle, Self::Crash];

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TooMany => "429 with Retry-After",
            Self::Failing => "500",
            Self::Silent => "a time-out",
            Self::Html => "HTML under 200",
            Self::Truncated => "a truncated body",
            Self::Cycle => "a repeated page token",
            Self::Crash => "a crash",
        }
    }
}

/// Trouble with one answer of a play, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    pub at: usize,
    pub trouble: Trouble,
}

/// The answer in place of the right one; none where nothing comes.
pub(super) fn in_place(trouble: Trouble, exchange: &Exchange, cycle: Option<Exchange>) -> Option<Response> {
    let page = |status, kind: &'static str, body: &'static str| Response {
        status,
        headers: HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]),
        body: Bytes::from_static(body.as_bytes()),
        cached: false,
    };
    match trouble {
        Trouble::TooMany => {
            let mut answer = page(StatusCode::TOO_MANY_REQUESTS, "application/json", "{}");
            answer.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            Some(answer)
        }
        Trouble::Failing => Some(page(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "out of order")),
        Trouble::Html => {
            Some(page(StatusCode::OK, "text/html", "<html><body>Down for maintenance</body></html>"))
        }
        Trouble::Truncated => {
            let mut answer = right(exchange);
            answer.body.truncate(answer.body.len() / 2);
            Some(answer)
        }
        Trouble::Cycle => cycle.as_ref().map(right),
        Trouble::Silent | Trouble::Crash => None,
    }
}

/// The answer as it was noted.
pub(super) fn right(exchange: &Exchange) -> Response {
    let headers = exchange.headers.iter().filter_map(|(name, value)| {
        Some((name.parse::<http::HeaderName>().ok()?, HeaderValue::from_str(value).ok()?))
    });
    Response {
        status: StatusCode::from_u16(exchange.status).unwrap_or(StatusCode::OK),
        headers: headers.collect(),
        body: exchange.answer.as_ref().map(Payload::bytes).unwrap_or_default(),
        cached: false,
    }
}

/// Whether a body that breaks off is told from a whole one by itself. Of other bodies the network tells it.
pub(super) fn shows_its_end(exchange: &Exchange) -> bool {
    matches!(exchange.answer, Some(Payload::Json(_)))
}
