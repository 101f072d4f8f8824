use serde_json::json;

use super::*;

/// `at: message (help)` of each problem.
fn problems(settings: Json) -> Vec<String> {
    let line = |problem: Problem| {
        let help = problem.help.map_or(String::new(), |help| format!(" ({help})"));
        format!("{}: {}{help}", problem.at, problem.message)
    };
    check("crm", &settings).map_or_else(|problems| problems.into_iter().map(line).collect(), |_| Vec::new())
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (settings, expected) in [
        (json!({"url": "https://crm.example.com/v2"}), vec![]),
        (json!({"url": "https://{subdomain}.example.com", "params": {"subdomain": "acme"}}), vec![]),
        (json!({"url": "crm.example.com"}), vec!["url: cannot be read as a URL"]),
        (json!({"url": "ftp://crm.example.com"}), vec!["url: must begin with http:// or https://"]),
        (
            json!({"url": "https://crm.example.com/?a=b"}),
            vec!["url: must end before any ? or #, since a path goes behind it; use `query` for parameters"],
        ),
        (
            json!({"url": "https://{subdomian}.example.com", "params": {"subdomain": "acme"}}),
            vec!["url: nothing provides {subdomian} (did you mean \"subdomain\"?)"],
        ),
        (
            json!({"url": "https://{v}.example.com", "params": {"v": "evil.net/"}}),
            vec!["url: the value of {v} does not belong into an address"],
        ),
        (
            json!({"headers": {"X-Id": "{id}"}, "query": {"q": "{id}"}}),
            vec![
                "headers.X-Id: nothing provides {id} (put \"id\" into `params`, or keep it from the log-in (`auth.….keep`))",
                "query.q: nothing provides {id} (put \"id\" into `params`, or keep it from the log-in (`auth.….keep`))",
            ],
        ),
        (json!({"headers": {"X Id": "a"}}), vec!["headers.X Id: \"X Id\" is not the name of a header"]),
        (json!({"headers": {"X-Id": "a\nb"}}), vec!["headers.X-Id: has characters that no header can hold"]),
        (json!({"timeout": "0"}), vec!["timeout: must be longer than 0"]),
        (json!({"allow_private": ["10.0.0.0/8", "x"]}), vec!["allow_private[1]: \"x\" is not a network"]),
        (
            json!({"cache": {"redis": "rediss://cache:6379"}}),
            vec!["cache.redis: must be an address like redis://host:6379/0"],
        ),
        (json!({"probe": {"path": "/me", "method": "G T"}}), vec!["probe.method: is no HTTP method"]),
        (
            json!({"errors": [{"means": "auth", "body": "$.["}]}),
            vec!["errors[0].body: it is not a JSONPath (RFC 9535)"],
        ),
        (
            json!({"timeout": {"secret": "s3cret"}, "urll": "x"}),
            vec!["timeout: has a value that cannot be read here"],
        ),
        (json!({"proxy": "there"}), vec!["proxy: must be a URL like http://proxy.example.com:3128"]),
        (
            json!({"limits": {"concurrency": 0}}),
            vec!["limits.concurrency: must be between 1 and 10000, or `adaptive`"],
        ),
        (json!({"limits": {"concurrency": "adaptive", "reserve": 10}}), vec![]),
        (
            json!({"auth": {"oauth2": {"issuer": "https://as.example", "client_id": "a", "client_auth": "tls"}}}),
            vec![
                "auth.oauth2.client_auth: `tls` shows the connection's certificate, and it has none \
                  (put `tls: {certificate, key}` beside `auth`)",
            ],
        ),
        (
            json!({"limits": {"circuit": {"window": 1, "failures": 0}}}),
            vec![
                "limits.circuit.window: must be between 2 and 1000 calls",
                "limits.circuit.failures: must be between 1 and 100 percent",
            ],
        ),
    ] {
        let told = problems(settings.clone());
        assert_eq!(told.len().min(expected.len()), expected.len(), "{settings}: {told:?}");
        for (told, expected) in told.iter().zip(&expected) {
            assert_eq!(told, expected, "{settings}");
        }
    }
}

#[test]
fn a_quota_says_how_often() {
    let quota = |quota: Json| problems(json!({"limits": {"quotas": [quota]}}));
    for (fine, expected) in [
        (json!({"rate": "10/s"}), None),
        (json!({"rate": "10/s", "burst": 5, "cost": 5}), None),
        (json!({"rate": "100/m", "window": "1m"}), None),
        (json!({"window": "1m", "requests": 100, "path": "/search", "methods": ["GET"]}), None),
        (json!({}), Some("limits.quotas[0]: says neither `rate` nor `window` with `requests`")),
        (json!({"window": "1m"}), Some("limits.quotas[0].window: needs `requests` beside it, or `rate`")),
        (json!({"rate": "1/s", "requests": 5}), Some("limits.quotas[0].requests: needs `window` beside it")),
        (
            json!({"rate": "10/s", "burst": 5, "cost": 6}),
            Some("limits.quotas[0].cost: must be at least 1, and no more than there is"),
        ),
        (
            json!({"rate": "1/h", "window": "1m"}),
            Some("limits.quotas[0].window: must have room for 1 to 100000 requests"),
        ),
        (json!({"rate": "1/s", "path": "search"}), Some("limits.quotas[0].path: must begin with /")),
    ] {
        assert_eq!(quota(fine.clone()).first().map(String::as_str), expected, "{fine}");
    }
}

#[test]
fn secrets_change_the_fingerprint_and_cannot_be_read_from_it() {
    let fingerprint = |key: &str| {
        let settings = json!({"url": "https://crm.example.com", "headers": {"X-Key": key}});
        check("crm", &settings).unwrap().fingerprint().to_owned()
    };
    assert_eq!(fingerprint("a"), fingerprint("a"));
    assert_ne!(fingerprint("a"), fingerprint("b"));
    assert_eq!(fingerprint("a").len(), 64);
}
