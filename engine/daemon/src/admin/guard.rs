//! Who may ask what: keeps out other people's web pages (Host, Origin, simple forms) and whoever
//! has no token. Pure: a verdict from a request's head.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use super::Token;

/// A header that a form on another page cannot set.
pub(crate) const CUSTOM_HEADER: &str = "x-karez";

pub(crate) struct Guard {
    token: Token,
    /// Names beside the loopback ones, in lower case, without port.
    hosts: Vec<String>,
    /// Listens beyond loopback: there, an address is as good a name as any.
    public: bool,
}

pub(crate) type Refusal = (StatusCode, &'static str, &'static str);

impl Guard {
    pub(crate) fn new(token: Token, hosts: &[String], listens_on: SocketAddr) -> Self {
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { token, hosts, public: !listens_on.ip().is_loopback() }
    }

    /// # Errors
    /// The status and the reason to refuse the request with.
    pub(crate) fn check(&self, head: &Parts, peer: SocketAddr) -> Result<(), Refusal> {
        let host = text(&head.headers, HOST.as_str());
        if head.headers.get_all(HOST).iter().count() != 1 || !host.is_some_and(|host| self.is_ours(host)) {
            return Err((StatusCode::FORBIDDEN, "host", "this host name is not ours; add it to admin_hosts"));
        }
        if head.headers.contains_key(ORIGIN) && !self.is_our_origin(&head.headers) {
            return Err((StatusCode::FORBIDDEN, "origin", "requests from other pages are refused"));
        }
        if text(&head.headers, "sec-fetch-site").is_some_and(|site| site == "cross-site") {
            return Err((StatusCode::FORBIDDEN, "origin", "requests from other pages are refused"));
        }
        if needs_token(head.uri.path(), peer.ip())
            && !self.token.opens(head.headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes))
        {
            let how = "send Authorization: Bearer with the token in admin.token of the data folder";
            return Err((StatusCode::UNAUTHORIZED, "token", how));
        }
        if !matches!(head.method, Method::GET | Method::HEAD | Method::POST | Method::DELETE) {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "method", "GET, POST or DELETE"));
        }
        if matches!(head.method, Method::POST | Method::DELETE) && !is_deliberate(&head.headers) {
            let how = "writes need Content-Type: application/json or the header X-Karez";
            return Err((StatusCode::FORBIDDEN, "simple_request", how));
        }
        Ok(())
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address {
            Ok(address) => address.is_loopback() || self.public || self.hosts.contains(&name),
            Err(_) => name == "localhost" || self.hosts.contains(&name),
        }
    }

    fn is_our_origin(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = text(headers, ORIGIN.as_str()) else {
            return false;
        };
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.is_some_and(|host| self.is_ours(host) && text(headers, HOST.as_str()) == Some(host))
    }
}

/// Health is everybody's, metrics are the machine's own, the rest is for the holder of the token.
fn needs_token(path: &str, peer: IpAddr) -> bool {
    match path {
        "/livez" | "/readyz" => false,
        "/healthz" | "/metrics" => !peer.is_loopback(),
        _ => true,
    }
}

fn is_deliberate(headers: &HeaderMap) -> bool {
    let json = text(headers, CONTENT_TYPE.as_str())
        .is_some_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json"));
    json || headers.contains_key(CUSTOM_HEADER)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => {
            // `::1` without brackets is no host of a URL.
            if name.contains(':') && !name.starts_with('[') { host } else { name }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::ensure(folder.path()).unwrap();
        let authorization = token.header();
        let guard = Guard::new(token, &["karez.example".into()], "127.0.0.1:7071".parse().unwrap());
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, if *value == "TOKEN" { &authorization } else { *value });
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let peer = "127.0.0.1:50000".parse().unwrap();
        guard.check(&head, peer).map_or_else(|(status, ..)| status.as_u16(), |()| 200)
    }

    #[test]
    fn other_hosts_and_pages_are_kept_out() {
        for (host, expected) in [
            ("127.0.0.1:7071", 200),
            ("localhost", 200),
            ("LOCALHOST:1", 200),
            ("[::1]:7071", 200),
            ("karez.example:7071", 200),
            ("evil.test", 403),
            ("127.0.0.1.evil.test", 403),
            ("10.0.0.1", 403),
            ("", 403),
        ] {
            assert_eq!(verdict("GET", "/livez", &[("host", host)]), expected, "{host}");
        }
        assert_eq!(verdict("GET", "/livez", &[]), 403);
        for (origin, expected) in [
            ("http://localhost:7071", 200),
            ("http://localhost:9", 403),
            ("http://evil.test", 403),
            ("null", 403),
        ] {
            let headers = [("host", "localhost:7071"), ("origin", origin)];
            assert_eq!(verdict("GET", "/livez", &headers), expected, "{origin}");
        }
    }

    #[test]
    fn the_api_needs_the_token_and_writes_need_intent() {
        let host = ("host", "localhost");
        let token = ("authorization", "TOKEN");
        assert_eq!(verdict("GET", "/metrics", &[host]), 200);
        assert_eq!(verdict("GET", "/api/v1/pipelines", &[host]), 401);
        assert_eq!(verdict("GET", "/api/v1/pipelines", &[host, ("authorization", "Bearer x")]), 401);
        assert_eq!(verdict("GET", "/api/v1/pipelines", &[host, token]), 200);
        assert_eq!(verdict("POST", "/api/v1/reload", &[host, token]), 403);
        assert_eq!(verdict("POST", "/api/v1/reload", &[host, token, ("content-type", "text/plain")]), 403);
        assert_eq!(verdict("POST", "/api/v1/reload", &[host, token, ("x-karez", "1")]), 200);
        assert_eq!(verdict("TRACE", "/livez", &[host]), 405);
    }
}
