//! One request as the schemes see it: its head, its raw bytes and, only where a scheme asks for a
//! field, its body as a tree.

use std::cell::OnceCell;

use ::http::{HeaderMap, HeaderName, Method};
use bytes::Bytes;
use karez_api::{Body, Form, Json, Millis};

use super::path::BodyPath;

/// What is looked at. The path is not among it: schemes that sign an address sign the public one.
pub(in super::super) struct Request<'a> {
    pub(in super::super) method: &'a Method,
    pub(in super::super) query: Option<&'a str>,
    pub(in super::super) headers: &'a HeaderMap,
    pub(in super::super) body: &'a [u8],
    pub(in super::super) now: Millis,
    /// What the client proved to be by TLS, in DER.
    pub(in super::super) certificate: Option<&'a [u8]>,
    /// The body as the engine will have it, which is parsed once.
    shared: Option<&'a Body>,
    tree: OnceCell<Option<Json>>,
}

fn parsed(body: &[u8]) -> Option<Json> {
    Body::from_bytes(Form::Json, Bytes::copy_from_slice(body)).into_tree().ok()
}

impl<'a> Request<'a> {
    /// While the body is not known.
    pub(in super::super) fn head(parts: &'a ::http::request::Parts, now: Millis) -> Self {
        let (method, query, headers) = (&parts.method, parts.uri.query(), &parts.headers);
        let (body, certificate) = (&b""[..], None);
        Self { method, query, headers, body, now, certificate, shared: None, tree: OnceCell::new() }
    }

    /// With what the client proved to be by TLS.
    pub(in super::super) fn of_client(self, certificate: Option<&'a Bytes>) -> Self {
        Self { certificate: certificate.map(|der| &**der), ..self }
    }

    pub(in super::super) fn whole(parts: &'a ::http::request::Parts, body: &'a Body, now: Millis) -> Self {
        let shared = Some(body).filter(|body| body.form() == Form::Json);
        Self { body: body.bytes(), shared, ..Self::head(parts, now) }
    }

    /// The body as JSON; nothing where it is none.
    fn tree(&self) -> Option<&Json> {
        match self.shared {
            Some(body) => body.tree().ok(),
            None => self.tree.get_or_init(|| parsed(self.body)).as_ref(),
        }
    }

    pub(in super::super) fn field(&self, path: &BodyPath) -> Option<&Json> {
        path.find(self.tree()?)
    }

    /// The only value of a header.
    pub(in super::super) fn header(&self, name: &HeaderName) -> Result<&'a [u8], &'static str> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value.as_bytes()),
            (None, _) => Err("is missing"),
            (Some(_), Some(_)) => Err("stands twice"),
        }
    }

    /// The only value of a query parameter, decoded.
    pub(in super::super) fn parameter(&self, name: &str) -> Result<String, &'static str> {
        let pairs = form_urlencoded::parse(self.query.unwrap_or_default().as_bytes());
        let mut values = pairs.filter(|(key, _)| key == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Ok(value.into_owned()),
            (None, _) => Err("is missing"),
            (Some(_), Some(_)) => Err("stands twice"),
        }
    }
}
