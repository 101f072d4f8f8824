//! An address that stands in a request and is fetched: only from hosts that the file names, and
//! judged before anything is sent there.

use karez_api::{Checker, Path, Problem};
use regex::Regex;
use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;

use super::check::place::{body_path, header_names};
use super::place::Place;
use super::request::Request;
use super::texts::Texts;

/// An address in a request, and where it may lead. Only `https` is fetched, and `http` from this machine.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct AddressSpec {
    /// The header that holds the address.
    header: Option<Texts>,
    /// The field of the body that holds the address, in place of `header`.
    body: Option<String>,
    /// Regular expressions of which one has to match the whole host.
    hosts: Vec<String>,
    /// A regular expression that has to match the whole path. Default: any path.
    path: Option<String>,
}

/// A checked one.
pub(in super::super) struct Address {
    place: Place,
    hosts: Vec<Regex>,
    path: Option<Regex>,
}

impl AddressSpec {
    pub(in super::super) fn check(&self, cx: &Checker<'_>, at: &Path) -> Option<Address> {
        let place = match (&self.header, &self.body) {
            (Some(names), None) => Place::Headers(header_names(cx, &at.field("header"), names)?),
            (None, Some(path)) => Place::Body(body_path(cx, &at.field("body"), path)?),
            _ => {
                let message = "the address stands in exactly one of header and body";
                cx.report(Problem::error("ambiguous-place", at.clone(), message));
                return None;
            }
        };
        let hosts_at = at.field("hosts");
        if self.hosts.is_empty() {
            let message = "no host is named, so nothing could be fetched";
            cx.report(Problem::error("missing-hosts", hosts_at, message));
            return None;
        }
        let hosts = self.hosts.iter().enumerate();
        let hosts: Option<Vec<_>> =
            hosts.map(|(index, host)| whole(cx, &hosts_at.index(index), host)).collect();
        let path = match &self.path {
            None => None,
            Some(path) => Some(whole(cx, &at.field("path"), path)?),
        };
        Some(Address { place, hosts: hosts?, path })
    }
}

/// An expression that matches all of a text or nothing.
fn whole(cx: &Checker<'_>, at: &Path, pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|_| cx.report(Problem::error("bad-regex", at.clone(), "the expression cannot be read")))
        .ok()
}

impl Address {
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(in super::super) fn of(&self, request: &Request<'_>) -> Result<Url, String> {
        let about = |what: &str| format!("{} {what}", self.place.name());
        let texts = self.place.texts(request, None).map_err(about)?;
        let [text] = &*texts else {
            return Err(about("stands twice"));
        };
        let text = std::str::from_utf8(text).unwrap_or_default();
        let url = Url::parse(text).map_err(|_| about("is no address"))?;
        match self.allows(&url) {
            true => Ok(url),
            false => Err(about("is not an address of the sender")),
        }
    }

    fn allows(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        may_be_fetched(url)
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
            && (url.port().is_none() || is_this_machine(url))
            && self.hosts.iter().any(|pattern| pattern.is_match(host))
            && self.path.as_ref().is_none_or(|pattern| pattern.is_match(url.path()))
    }
}

/// Nothing on the way may put other keys in place of the right ones.
pub(super) fn may_be_fetched(url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && is_this_machine(url)
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
