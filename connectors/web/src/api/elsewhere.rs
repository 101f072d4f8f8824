//! Reports that do not lie at the API itself, but at an address elsewhere that is its own proof. Only where the file
//! allows the host, and without anything of ours: neither credentials nor headers nor parameters.

use std::sync::Arc;

use http::Method;
use karez_api::{Checker, Fault, Path, Problem, Shared};
use karez_net::{Connection, Request};
use reqwest::Url;

use super::ask::Api;
use crate::http::FarEnd;

pub(super) struct Elsewhere {
    /// In lower case: whole, or `*.` and what it ends in.
    hosts: Vec<String>,
    far_end: FarEnd,
    /// The API itself is called without TLS.
    plain: bool,
}

impl Elsewhere {
    /// `given` is whether an answer gives the whole address, and that of all there is.
    pub(super) fn check(
        cx: &Checker<'_>,
        at: &Path,
        hosts: &[String],
        given: bool,
        api: &Api,
    ) -> Option<Option<Self>> {
        if hosts.is_empty() {
            return Some(None);
        }
        if !given {
            let message = "this stream is read from the API itself";
            let problem = Problem::error("bad-host", at.clone(), message).on_key();
            cx.report(problem.help(
                "an address that an answer gave is all of `path`, like \"{{job.url}}\", and has no pages",
            ));
            return None;
        }
        let read: Vec<Option<String>> = hosts
            .iter()
            .enumerate()
            .map(|(number, written)| {
                let host = readable(written);
                if host.is_none() {
                    let message = format!("{written:?} is not the name of a host");
                    let help = "like storage.example.com or *.s3.amazonaws.com: no scheme, port or path";
                    cx.report(Problem::error("bad-host", at.index(number), message).help(help));
                }
                host
            })
            .collect();
        let hosts = read.into_iter().collect::<Option<_>>()?;
        let url = api.far_end.checked().spec().url.as_deref().unwrap_or_default();
        let plain = url.starts_with("http://");
        Some(Some(Self { hosts, far_end: api.far_end.for_others(), plain }))
    }

    /// # Errors
    /// As any connection's opening.
    pub(super) fn open(&self, shared: &Shared) -> Result<Arc<Connection>, Fault> {
        self.far_end.open(shared)
    }

    /// The request for what lies there; none where it is not one of these places.
    pub(super) fn request(&self, address: &str) -> Option<Request> {
        let url = Url::parse(address).ok()?;
        let secure = url.scheme() == "https" || (url.scheme() == "http" && self.plain);
        let proof = url.username().is_empty() && url.password().is_none();
        let allowed = self.hosts.iter().any(|allowed| fits(allowed, url.host_str().unwrap_or_default()));
        (secure && proof && allowed).then(|| Request { retries: true, ..Request::new(Method::GET, url) })
    }
}

/// A host as it is compared. Names alone, and of those under a name not all of the internet.
fn readable(host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let (name, least) = host.strip_prefix("*.").map_or((&*host, 1), |rest| (rest, 2));
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    (name.split('.').all(label) && name.split('.').count() >= least).then_some(host)
}

fn fits(allowed: &str, host: &str) -> bool {
    match allowed.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => host == allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_and_no_more() {
        for (host, expected) in [
            ("Storage.example.com", Some("storage.example.com")),
            ("*.s3.amazonaws.com", Some("*.s3.amazonaws.com")),
            ("localhost", Some("localhost")),
            ("*", None),
            ("*.com", None),
            ("*.*.com", None),
            ("https://a.b", None),
            ("a.b:443", None),
            ("a.b/c", None),
            ("a..b", None),
            ("", None),
        ] {
            assert_eq!(readable(host).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn what_is_under_a_name_is_what_ends_in_it() {
        assert!(fits("*.b.com", "a.b.com") && fits("*.b.com", "x.a.b.com") && fits("b.com", "b.com"));
        assert!(
            !fits("*.b.com", "b.com") && !fits("*.b.com", "evilb.com") && !fits("*.b.com", "a.b.com.evil")
        );
        assert!(!fits("b.com", "a.b.com"));
    }
}
