//! Where a request really comes from, where proxies of ours stand in front.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use karez_api::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The last address that no trusted proxy has: everything before it anybody could have written.
pub(super) fn origin(peer: SocketAddr, headers: &HeaderMap, trusted: &[Network]) -> SocketAddr {
    let is_ours = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if trusted.is_empty() || !is_ours(peer.ip()) {
        return peer;
    }
    let lines: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or_default()).collect();
    let mut found = peer;
    for text in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        // What cannot be read ends what can be believed.
        let Some(address) = address(text.trim()) else { break };
        found = address;
        if !is_ours(address.ip()) {
            break;
        }
    }
    found
}

/// With or without a port.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let alone = bare.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 0));
    alone.or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = ["10.0.0.0/8", "::1/128"].map(|text| text.parse().unwrap());
        for (peer, lines, found) in [
            ("192.0.2.1:5", &["203.0.113.9"][..], "192.0.2.1:5"),
            ("10.0.0.1:5", &[], "10.0.0.1:5"),
            ("10.0.0.1:5", &["203.0.113.9"], "203.0.113.9:0"),
            ("10.0.0.1:5", &["1.1.1.1, 203.0.113.9"], "203.0.113.9:0"),
            ("10.0.0.1:5", &["1.1.1.1", "203.0.113.9, 10.2.2.2"], "203.0.113.9:0"),
            ("10.0.0.1:5", &["203.0.113.9:4711"], "203.0.113.9:4711"),
            ("[::1]:5", &["[2001:db8::1]"], "[2001:db8::1]:0"),
            ("[::1]:5", &["2001:db8::1"], "[2001:db8::1]:0"),
            ("[::ffff:10.0.0.1]:5", &["203.0.113.9"], "203.0.113.9:0"),
            ("10.0.0.1:5", &["203.0.113.9, nonsense"], "10.0.0.1:5"),
            ("10.0.0.1:5", &["203.0.113.9, nonsense, 10.1.1.1"], "10.1.1.1:0"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, line.parse().unwrap());
            }
            assert_eq!(
                origin(peer.parse().unwrap(), &headers, &trusted).to_string(),
                found,
                "{peer} {lines:?}"
            );
        }
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_FOR, "203.0.113.9".parse().unwrap());
        assert_eq!(origin("10.0.0.1:5".parse().unwrap(), &headers, &[]).to_string(), "10.0.0.1:5");
    }
}
