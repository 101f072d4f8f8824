//! `Link` headers: what is found stands in them, and what is written well is found.

use http::{HeaderMap, HeaderValue, header};
use karez_web::answers::linked;

/// A value in each line.
pub fn link(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(4) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::LINK, value);
        }
    }
    if let Some(target) = linked(&headers, "next") {
        let values = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
        assert!(values.into_iter().any(|value| value.contains(&target)), "{target} was made up");
    }
    let target: String = String::from_utf8_lossy(data)
        .chars()
        .filter(|c| c.is_ascii_graphic() && !"<>".contains(*c))
        .collect();
    let written =
        format!("<https://a.example/first>; rel=\"first\", <{target}>; title=\"a, <b>\"; rel=\"next\"");
    let written = HeaderMap::from_iter([(header::LINK, HeaderValue::from_str(&written).unwrap())]);
    assert_eq!(linked(&written, "next"), Some(target));
}
