//! Which request headers a record keeps: neither credentials nor what only concerned the connection.

use ::http::{HeaderMap, HeaderName, header};

const CREDENTIALS: [HeaderName; 4] =
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE, header::SET_COOKIE];

/// The media type of a body without its parameters, in lower case; nothing where it is not said once and as text.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let mut given = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (given.next(), given.next()) else { return None };
    Some(only.to_str().ok()?.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Whether a body says that it is `a=1&b=2`.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    media_type(headers).as_deref() == Some(FORM)
}

pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// RFC 9110 §7.6.1, and what older senders add.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const OLD_HOP_BY_HOP: [&str; 2] = ["keep-alive", "proxy-connection"];

/// The headers to keep; `secret` is the one that held this webhook's token.
pub(super) fn kept(mut headers: HeaderMap, secret: Option<&HeaderName>) -> HeaderMap {
    let named = named_by_connection(&headers);
    let goes = |name: &HeaderName| {
        CREDENTIALS.contains(name)
            || HOP_BY_HOP.contains(name)
            || OLD_HOP_BY_HOP.contains(&name.as_str())
            || Some(name) == secret
            || named.contains(name)
    };
    // Mostly none: looking at each name once is cheaper than looking for each that may not be there.
    let gone: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
    headers
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_hop_by_hop_headers_are_dropped() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer s3cret"),
            ("cookie", "a=b"),
            ("proxy-authorization", "Basic x"),
            ("x-token", "s3cret"),
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("x-event", "created"),
            ("content-type", "application/json"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let token = HeaderName::from_static("x-token");
        let kept = kept(headers, Some(&token));
        let mut names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-event"]);
    }
}
