//! Which addresses may be called: public ones, and those that somebody allowed by name (OWASP: server-side
//! request forgery). Literal addresses are judged here; names are judged when they are resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use karez_api::Network;
use reqwest::Url;

/// The networks that may be called although they are not public.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    allowed: Vec<Network>,
}

impl Guard {
    pub(crate) fn new(allowed: Vec<Network>) -> Self {
        Self { allowed }
    }

    /// # Errors
    /// Why it may not be called, and what to do, as a fragment.
    pub(crate) fn judge(&self, url: &Url) -> Result<(), String> {
        match (url.scheme(), url.host()) {
            ("http" | "https", Some(url::Host::Ipv4(address))) => self.admit(address.into()),
            ("http" | "https", Some(url::Host::Ipv6(address))) => self.admit(address.into()),
            ("http" | "https", Some(url::Host::Domain(_))) => Ok(()),
            (scheme, _) => Err(format!("{scheme}: addresses are not called, only http and https")),
        }
    }

    /// # Errors
    /// As [`Guard::judge`].
    pub(crate) fn admit(&self, address: IpAddr) -> Result<(), String> {
        match class(address) {
            Some(class) if !self.allowed.iter().any(|network| network.contains(address)) => Err(format!(
                "{address} is a {class} address, which is not called; if it is meant, put its network into `allow_private`"
            )),
            _ => Ok(()),
        }
    }
}

/// What kind of address it is, where it is not a public one (IANA's special-purpose registries, RFC 6890).
pub(crate) fn class(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => class_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => class_v4(inner),
            None => class_v6(address),
        },
    }
}

fn class_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("\"this network\""),
        [127, ..] => Some("loopback"),
        [10, ..] | [192, 168, ..] => Some("private"),
        [172, second, ..] if second & 0xf0 == 16 => Some("private"),
        [100, second, ..] if second & 0xc0 == 64 => Some("carrier-grade NAT"),
        // Among them 169.254.169.254, where clouds tell a machine its secrets.
        [169, 254, ..] => Some("link-local"),
        [192, 0, 0, _] => Some("special-purpose"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("documentation"),
        [198, 18 | 19, ..] => Some("benchmarking"),
        [192, 88, 99, _] => Some("6to4 relay"),
        [224..=239, ..] => Some("multicast"),
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

fn class_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [first, ..] if first & 0xfe00 == 0xfc00 => Some("unique local"),
        [first, ..] if first & 0xffc0 == 0xfe80 => Some("link-local"),
        [first, ..] if first & 0xffc0 == 0xfec0 => Some("site-local"),
        [first, ..] if first & 0xff00 == 0xff00 => Some("multicast"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("documentation"),
        // Teredo hides an address of its own; the others are for benchmarks, ORCHID and protocols.
        [0x2001, 0..=0x1ff, ..] => Some("special-purpose"),
        [0x100, 0, 0, 0, ..] => Some("discard-only"),
        // Translation within one network (RFC 8215): what it stands for is that network's secret.
        [0x64, 0xff9b, 1, ..] => Some("local NAT64"),
        // Only this block has been handed out; everything else is nobody's.
        [first, ..] if first & 0xe000 != 0x2000 => Some("reserved"),
        _ => None,
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(join(high, low)),
        // ::1 and :: are not meant by "compatible".
        [0, 0, 0, 0, 0, 0, high, low] if high > 0 => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_called() {
        for (address, expected) in [
            ("127.0.0.1", "loopback"),
            ("127.9.9.9", "loopback"),
            ("0.0.0.0", "\"this network\""),
            ("0.1.2.3", "\"this network\""),
            ("10.1.2.3", "private"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.0.1", "private"),
            ("100.64.0.1", "carrier-grade NAT"),
            ("169.254.169.254", "link-local"),
            ("192.0.0.192", "special-purpose"),
            ("192.0.2.1", "documentation"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("198.18.0.1", "benchmarking"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("fd00:ec2::254", "unique local"),
            ("fe80::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("2001:db8::1", "documentation"),
            ("2001::1", "special-purpose"),
            ("100::1", "discard-only"),
            ("5f00::1", "reserved"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:0:10.0.0.1", "private"),
            ("::127.0.0.1", "loopback"),
            ("64:ff9b::169.254.169.254", "link-local"),
            ("64:ff9b:1::1", "local NAT64"),
            ("2002:7f00:1::", "loopback"),
        ] {
            assert_eq!(class(address.parse().unwrap()), Some(expected), "{address}");
        }
        for public in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "2002:808:808::"]
        {
            assert_eq!(class(public.parse().unwrap()), None, "{public}");
        }
    }

    #[test]
    fn every_way_to_write_an_address_is_seen_through() {
        let guard = Guard::default();
        for url in [
            "http://127.1/",
            "http://0x7f.0.0.1/",
            "http://2130706433/",
            "http://017700000001/",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "ftp://example.com/",
        ] {
            assert!(guard.judge(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
        assert!(guard.judge(&Url::parse("https://example.com/").unwrap()).is_ok());
    }

    #[test]
    fn what_is_allowed_by_name_is_called_and_nothing_beside_it() {
        let guard = Guard::new(vec!["10.1.0.0/16".parse().unwrap(), "::1".parse().unwrap()]);
        assert!(guard.admit("10.1.2.3".parse().unwrap()).is_ok());
        assert!(guard.admit("::ffff:10.1.2.3".parse().unwrap()).is_ok());
        assert!(guard.admit("::1".parse().unwrap()).is_ok());
        let told = guard.admit("10.2.0.1".parse().unwrap()).unwrap_err();
        assert_eq!(
            told,
            "10.2.0.1 is a private address, which is not called; if it is meant, put its network into `allow_private`"
        );
    }
}
