//! Suspicions about the address, for schemes that sign it.

use ::http::header;
use ::http::request::Parts;

use super::{Case, Suspicion};

impl Case {
    pub(super) fn another_address(&self, parts: &Parts) -> impl Iterator<Item = Suspicion> {
        let query = parts.uri.query();
        let mut found = Vec::new();
        // What another scheme signs is not tried: without an address of its own there is nothing to be wrong.
        if let Some(own) = &self.url {
            let mut addresses = said_otherwise(own);
            addresses.extend(as_asked(parts));
            for url in std::iter::once(own).chain(&addresses) {
                found.push(signed(url, "", query.map(str::to_owned), own));
                if let Some(query) = query {
                    found.push(signed(url, " without the query", None, own));
                    found.push(signed(url, " with the query unescaped", Some(unescaped(query)), own));
                }
            }
        }
        found.into_iter()
    }
}

/// A query may hold what nobody should read in a log: only the address before it is named.
fn signed(url: &str, query: &str, written: Option<String>, own: &str) -> Suspicion {
    let hint = match url == own {
        true => format!("the sender signed the address{query}"),
        false => format!("the sender signed {url}{query}: write public_url: {url}"),
    };
    Suspicion { hint, url: Some(url.into()), query: Some(written), ..Suspicion::default() }
}

/// With the other of http and https, without its port, with and without a slash at its end, unescaped.
fn said_otherwise(own: &str) -> Vec<String> {
    let Some((scheme, rest)) = own.split_once("://") else {
        return Vec::new();
    };
    let other = if scheme == "https" { "http" } else { "https" };
    let slash = rest.strip_suffix('/').map_or_else(|| format!("{rest}/"), str::to_owned);
    let mut found = Vec::new();
    for rest in [rest, &slash, &without_port(rest), &without_port(&slash), &unescaped(rest)] {
        found.extend([format!("{scheme}://{rest}"), format!("{other}://{rest}")]);
    }
    found.retain(|url| url != own);
    found.dedup();
    found
}

fn without_port(rest: &str) -> String {
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
    format!("{bare}{path}")
}

/// As it came in, should `public_url` name another one.
fn as_asked(parts: &Parts) -> Vec<String> {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let path = parts.uri.path();
    host.into_iter()
        .flat_map(|host| ["https", "http"].map(|scheme| format!("{scheme}://{host}{path}")))
        .collect()
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        match (first, behind.get(..2).map(hex::decode)) {
            (b'%', Some(Ok(byte))) => {
                bytes.extend(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
