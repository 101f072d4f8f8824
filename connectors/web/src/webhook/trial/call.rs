//! A request that never reached a listener.

use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use bytes::Bytes;

/// A request.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    /// As the sender has it, with its query.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

pub(super) fn split(url: &str) -> (&str, Option<&str>) {
    let url = url.split('#').next().unwrap_or_default();
    url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)))
}

impl Call {
    /// The address as the sender has it, whole but for the query; of a captured request, where it went to.
    pub(super) fn address(&self) -> (String, Option<String>) {
        let (base, query) = split(&self.url);
        let host = || self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let base = match base.starts_with('/') {
            true => format!("https://{}{base}", host().map_or("localhost", |(_, host)| host)),
            false => base.to_owned(),
        };
        (base, query.map(str::to_owned))
    }

    pub(super) fn method(&self) -> Result<Method, String> {
        self.method.parse().map_err(|_| format!("{:?} is not a method", self.method))
    }

    pub(super) fn header_map(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let wrong = || format!("{name:?} cannot be a header with this value");
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?;
            headers.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value);
        }
        Ok(headers)
    }

    pub(super) fn parts(&self, query: Option<String>) -> Result<Parts, String> {
        let (mut parts, ()) = ::http::Request::new(()).into_parts();
        let (base, _) = self.address();
        let path = base.parse::<Uri>().map_err(|_| format!("{base:?} is not an address"))?.path().to_owned();
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        parts.uri = format!("{path}{query}").parse().map_err(|_| format!("{query:?} is not a query"))?;
        parts.method = self.method()?;
        parts.headers = self.header_map()?;
        Ok(parts)
    }

    pub(super) fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(header))
    }
}
