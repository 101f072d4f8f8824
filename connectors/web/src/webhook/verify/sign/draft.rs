//! A request that can still be written to.

use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;
use karez_api::{Body, Form, Json, Millis};

use super::super::super::headers::is_form;
use super::super::path::BodyPath;
use super::super::place::Place;
use super::super::request::Request;

/// A request on its way to be signed. What stands in it stays, but for times and codes, which are written anew.
#[derive(Debug, Clone)]
pub(in super::super::super) struct Draft {
    pub(in super::super::super) method: Method,
    pub(in super::super::super) query: Option<String>,
    pub(in super::super::super) headers: HeaderMap,
    pub(in super::super::super) body: Bytes,
}

impl Draft {
    pub(super) fn header(&mut self, name: &HeaderName, value: &str) -> Result<(), String> {
        let value = HeaderValue::from_str(value).map_err(|_| format!("{name} would be no header"))?;
        self.headers.insert(name, value);
        Ok(())
    }

    pub(super) fn parameter(&mut self, name: &str, value: &str) {
        let given = self.query.take().unwrap_or_default();
        let kept = given.split('&').filter(|pair| pair.split('=').next() != Some(name) && !pair.is_empty());
        let written = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
        self.query = Some(kept.chain([&*written]).collect::<Vec<_>>().join("&"));
    }

    fn tree(&self) -> Result<Json, String> {
        let body = Body::from_bytes(Form::Json, self.body.clone());
        body.into_tree().map_err(|error| format!("the body has to be JSON here: {error}"))
    }

    fn write(&mut self, tree: &Json) {
        self.body = tree.to_string().into();
    }

    pub(super) fn put(&mut self, place: &Place, text: &str) -> Result<(), String> {
        match place {
            Place::Headers(names) => match names.first() {
                Some(name) => self.header(name, text),
                None => Err("no header is named".into()),
            },
            Place::Query(name) => {
                self.parameter(name, text);
                Ok(())
            }
            Place::Body(path) => {
                let mut tree = self.tree()?;
                path.put(&mut tree, text)?;
                self.write(&tree);
                Ok(())
            }
        }
    }

    /// One text into each item of a list of the body.
    pub(super) fn put_each(
        &mut self,
        list: &BodyPath,
        place: &Place,
        texts: &[String],
    ) -> Result<(), String> {
        let Place::Body(path) = place else {
            return Err("an item has no headers".into());
        };
        let mut tree = self.tree()?;
        for (index, text) in texts.iter().enumerate() {
            list.below(index, path).put(&mut tree, text)?;
        }
        self.write(&tree);
        Ok(())
    }

    /// Lends it as the schemes see a request.
    pub(super) fn seen<T>(
        &self,
        now: Millis,
        look: impl FnOnce(&Request<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let (mut parts, ()) = ::http::Request::new(()).into_parts();
        let query = self.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
        parts.uri = format!("/{query}").parse().map_err(|_| "the query is not one")?;
        parts.method.clone_from(&self.method);
        parts.headers.clone_from(&self.headers);
        let body = Body::from_bytes(Form::Opaque, self.body.clone());
        look(&Request::whole(&parts, &body, now))
    }

    pub(super) fn is_form(&self) -> bool {
        self.body.is_empty() || is_form(&self.headers)
    }
}
