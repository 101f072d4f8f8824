//! Where a redirect points, and what may go there: only reading follows, never from https to http, and
//! nothing that says who we are to another origin.

use http::{HeaderMap, Method, StatusCode, header};
use karez_api::Fault;

use crate::transport::place;
use crate::{Failure, Request, Response};

/// Redirects of one call.
pub(super) const MOST: usize = 5;

pub(super) struct Hop {
    pub(super) request: Request,
    /// It goes to the origin that pointed there.
    pub(super) trusted: bool,
}

/// The request that a redirect asks for, if the answer is one that may be followed.
pub(super) fn hop(request: &Request, answer: &Response) -> Result<Option<Hop>, Failure> {
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let moved = matches!(
        answer.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = answer.headers.get(header::LOCATION).filter(|_| moved) else { return Ok(None) };
    let wrong = |what: &str| refused(request, answer.status, what);
    if !reads {
        return Err(wrong("points elsewhere, and only GET and HEAD follow"));
    }
    let location = location.to_str().ok().and_then(|location| request.url.join(location).ok());
    let mut url = location.ok_or_else(|| wrong("points to something that is no address"))?;
    url.set_fragment(None);
    if request.url.scheme() == "https" && url.scheme() != "https" {
        return Err(wrong("points from https to an address without it"));
    }
    let trusted = url.origin() == request.url.origin();
    Ok(Some(Hop { request: Request { url, ..request.clone() }, trusted }))
}

/// The same without anything that says who we are.
pub(super) fn bare(request: Request) -> Request {
    const PLAIN: [header::HeaderName; 4] =
        [header::ACCEPT, header::ACCEPT_LANGUAGE, header::RANGE, header::IF_NONE_MATCH];
    let headers: HeaderMap = PLAIN
        .into_iter()
        .filter_map(|name| {
            let value = request.headers.get(&name).filter(|value| !value.is_sensitive())?.clone();
            Some((name, value))
        })
        .collect();
    Request { headers, ..request }
}

pub(super) fn too_many(request: &Request) -> Failure {
    let to = place(&request.method, &request.url);
    Failure::not_sent(Fault::validation("redirects", format!("{to} is one of more than {MOST} redirects")))
}

fn refused(request: &Request, status: StatusCode, what: &str) -> Failure {
    let to = place(&request.method, &request.url);
    let code = format!("http_{}", status.as_u16());
    Failure::not_sent(Fault::validation(code, format!("{to} answered {status} and {what}")))
}
