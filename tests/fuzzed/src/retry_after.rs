//! `Retry-After`: what is understood is waited, what is not says nothing.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, header};

use crate::lent::NOW;

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A value in each line.
pub fn retry_after(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(4) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::RETRY_AFTER, value);
        }
    }
    let texts = headers.get_all(header::RETRY_AFTER).iter().filter_map(|value| value.to_str().ok());
    let expected = texts.map(str::trim).find_map(wait).map(|wait| wait.min(TEN_YEARS));
    assert_eq!(karez_net::retry_after(&headers, NOW), expected);
}

/// What one value says.
fn wait(text: &str) -> Option<Duration> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
        let seconds = text.trim_start_matches('0');
        return Some(if seconds.len() > 12 {
            TEN_YEARS
        } else {
            Duration::from_secs(seconds.parse().unwrap_or(0))
        });
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let now = UNIX_EPOCH + Duration::from_millis(NOW.0);
    at.duration_since(now).ok().filter(|wait| !wait.is_zero())
}
