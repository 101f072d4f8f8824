use http::HeaderValue;

use super::*;
use crate::testing::NOW;

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect()
}

/// `name remaining/limit refill`.
fn told(fields: &[(&'static str, &str)]) -> Vec<String> {
    let line = |hint: Hint| {
        let limit = hint.limit.map_or("?".to_owned(), |limit| limit.to_string());
        let refill = match hint.refill {
            Refill::After(time) => format!("{time:?}"),
            Refill::PerSecond(rate) => format!("{rate}/s"),
        };
        format!("{} {}/{limit} {refill}", hint.name, hint.remaining)
    };
    hints(&headers(fields), NOW).into_iter().map(line).collect()
}

#[test]
fn every_way_to_tell_a_quota_is_understood() {
    let seconds = NOW.0 / 1000;
    let epoch = (seconds + 30).to_string();
    let epoch_ms = (NOW.0 + 1500).to_string();
    for (fields, expected) in [
        (
            vec![
                ("ratelimit-policy", r#""permin";q=50;w=60, "perhr";q=1000;w=3600"#),
                ("ratelimit", r#""perhr";r=12;t=40, "permin";r=3"#),
            ],
            vec!["perhr 12/1000 40s", "permin 3/50 60s"],
        ),
        (
            vec![
                ("ratelimit-policy", r#""bytes";q=50;qu="content-bytes""#),
                ("ratelimit", r#""bytes";r=0;t=4"#),
            ],
            vec![],
        ),
        (vec![("ratelimit", "limit=100, remaining=50, reset=5")], vec!["ratelimit 50/100 5s"]),
        (
            vec![
                ("ratelimit-limit", "100, 100;w=60"),
                ("ratelimit-remaining", "7"),
                ("ratelimit-reset", "9"),
            ],
            vec!["ratelimit-remaining 7/100 9s"],
        ),
        (
            vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &epoch)],
            vec!["x-ratelimit-remaining 0/? 30s"],
        ),
        (
            vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &epoch_ms)],
            vec!["x-ratelimit-remaining 0/? 1.5s"],
        ),
        (
            vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "6m0s")],
            vec!["x-ratelimit-remaining 0/? 360s"],
        ),
        (
            vec![("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "2026-11-24T10:15:20Z")],
            vec!["x-rate-limit-remaining 0/? 20s"],
        ),
        (
            vec![("x-rate-limit-remaining", "1"), ("x-rate-limit-reset", "Tue, 24 Nov 2026 10:16:00 GMT")],
            vec!["x-rate-limit-remaining 1/? 60s"],
        ),
        (
            vec![
                ("x-ratelimit-remaining", "1"),
                ("x-ratelimit-reset-after", "0.25"),
                ("x-ratelimit-reset", &epoch),
            ],
            vec!["x-ratelimit-remaining 1/? 250ms"],
        ),
        (vec![("x-shopify-shop-api-call-limit", "32/40")], vec!["x-shopify-shop-api-call-limit 8/40 2/s"]),
        (
            vec![("sforce-limit-info", "api-usage=18/5000; per-app-api-usage=17/250(appName=x)")],
            vec!["sforce-limit-info 4982/5000 300s"],
        ),
        (
            vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "junk")],
            vec!["x-ratelimit-remaining 0/? 5s"],
        ),
        (vec![("x-ratelimit-remaining", "junk"), ("ratelimit", "\u{1}")], vec![]),
        (
            vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1e300")],
            vec!["x-ratelimit-remaining 0/? 86400s"],
        ),
        (
            vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "-5")],
            vec!["x-ratelimit-remaining 0/? 0ns"],
        ),
    ] {
        if fields.iter().all(|(_, value)| value.bytes().all(|byte| byte >= 32)) {
            assert_eq!(told(&fields), expected, "{fields:?}");
        }
    }
}

#[test]
fn a_reset_is_told_by_the_clock_of_the_far_end() {
    let fields = [
        // Its clock is one hour ahead of ours.
        ("date", "Tue, 24 Nov 2026 11:15:00 GMT"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1795518930"),
    ];
    assert_eq!(told(&fields), ["x-ratelimit-remaining 0/? 30s"]);
    let fields =
        [("date", "Tue, 24 Nov 2026 11:15:00 GMT"), ("retry-after", "Tue, 24 Nov 2026 11:15:07 GMT")];
    assert_eq!(retry_after(&headers(&fields), NOW), Some(Duration::from_secs(7)));
}

#[test]
fn retry_after_is_seconds_or_a_date_and_never_junk() {
    let wait = |value: &str| retry_after(&headers(&[("retry-after", value)]), NOW);
    assert_eq!(wait("120"), Some(Duration::from_secs(120)));
    assert_eq!(wait("0"), Some(Duration::ZERO));
    assert_eq!(wait("Tue, 24 Nov 2026 10:15:30 GMT"), Some(Duration::from_secs(30)));
    assert_eq!(wait("99999999999999999999999"), Some(LONGEST_WAIT));
    for junk in ["", "-1", "1.5", "soon", "Tue, 24 Nov 2026 10:14:59 GMT"] {
        assert_eq!(wait(junk), None, "{junk:?}");
    }
}
