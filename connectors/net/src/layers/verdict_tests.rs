use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use karez_api::Json;
use serde_json::json;

use super::*;
use crate::spec::ErrorRule;
use crate::testing::{NOW, get};

fn judge(rules: Json) -> Judge {
    let rules: Vec<ErrorRule> = serde_json::from_value(rules).unwrap();
    Judge::new(&rules, false).unwrap()
}

fn asked() -> Request {
    Request {
        accepts: Some(&["application/json"]),
        ..get("https://crm.example.com/a?key=secret".parse().unwrap())
    }
}

fn came(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Response {
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let status = StatusCode::from_u16(status).unwrap();
    Response { status, headers, body: Bytes::from_static(body.as_bytes()), cached: false }
}

/// `class code effect renewable message`.
fn told(judge: &Judge, answer: Response) -> String {
    match judge.judge(&asked(), answer, NOW) {
        Ok(answer) => format!("fine {}", answer.status.as_u16()),
        Err(Refusal { failure, renewable }) => format!(
            "{} {} {:?} {renewable} {}",
            failure.fault.class().name(),
            failure.fault.code(),
            failure.effect,
            failure.fault.message()
        ),
    }
}

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[test]
fn a_status_means_what_it_says() {
    let plain = judge(json!([]));
    for (status, headers, expected) in [
        (200, vec![JSON], "fine 200"),
        (204, vec![], "fine 204"),
        (302, vec![("location", "https://login.example.com/x")], "validation http_302 None false"),
        (304, vec![], "validation http_304"),
        (401, vec![], "auth http_401 None true"),
        (403, vec![], "auth http_403 None false"),
        (403, vec![("x-ratelimit-remaining", "0")], "rate_limit http_403 None false"),
        (403, vec![("retry-after", "60")], "rate_limit http_403 None false"),
        (404, vec![], "validation http_404 None false"),
        (408, vec![], "service http_408 Unknown false"),
        (422, vec![], "validation http_422 None false"),
        (495, vec![], "auth http_495 None false"),
        (496, vec![], "auth http_496 None false"),
        (429, vec![("retry-after", "9")], "rate_limit http_429 None false"),
        (500, vec![], "service http_500 Unknown false"),
        (503, vec![("retry-after", "9")], "service http_503 Unknown false"),
    ] {
        let told = told(&plain, came(status, &headers, ""));
        assert!(told.starts_with(expected), "{told}, not {expected}");
        assert!(!told.contains("secret"), "{told}");
    }
    let waits = plain.judge(&asked(), came(503, &[("retry-after", "9")], ""), NOW).err().unwrap();
    assert_eq!(waits.failure.fault.retry_after(), Some(std::time::Duration::from_secs(9)));
}

#[test]
fn a_page_under_a_good_status_is_an_error() {
    let plain = judge(json!([]));
    assert_eq!(
        told(&plain, came(200, &[("content-type", "text/html")], "<html>\n Please  log in")),
        "service unexpected_content Unknown false GET https://crm.example.com/a answered 200 OK with 22 bytes of \
         text/html (<html> Please log in), not application/json"
    );
    assert!(told(&plain, came(200, &[], "{}")).contains("of no media type"));
    assert_eq!(told(&plain, came(200, &[("content-type", "application/vnd.api+json")], "{}")), "fine 200");
}

#[test]
fn rules_of_the_connection_come_first() {
    let rules = judge(json!([
        {"status": [404], "means": "success"},
        {"status": [200], "body": "$.error.code", "is": ["expired", 190], "means": "auth"},
        {"header": {"X-Error": "busy"}, "means": "rate_limit"},
        {"status": [200], "body": "$.ok", "is": [false], "means": "validation"},
        {"body": "$.fault", "means": "service"},
    ]));
    for (status, headers, body, expected) in [
        (404, vec![], "", "fine 404"),
        (200, vec![JSON], r#"{"error":{"code":190}}"#, "auth http_200 None true"),
        (200, vec![JSON], r#"{"error":{"code":191}}"#, "fine 200"),
        (400, vec![("x-error", "busy")], "", "rate_limit http_400"),
        (400, vec![("x-error", "busy now")], "", "validation http_400"),
        (200, vec![JSON], r#"{"ok":false}"#, "validation http_200"),
        (200, vec![JSON], r#"{"ok":true,"fault":null}"#, "fine 200"),
        (200, vec![JSON], r#"{"fault":{"x":1}}"#, "service http_200 Unknown"),
        (200, vec![JSON], "not json", "fine 200"),
    ] {
        let told = told(&rules, came(status, &headers, body));
        assert!(told.starts_with(expected), "{told}, not {expected}");
    }
}

#[test]
fn rules_of_the_request_come_before_those_of_the_connection() {
    let plain =
        judge(json!([{"status": [404], "means": "validation"}, {"body": "$.error", "means": "service"}]));
    let own: Vec<ErrorRule> = serde_json::from_value(json!([
        {"status": [404], "means": "success"},
        {"body": "$.error", "is": ["slow"], "means": "rate_limit"},
    ]))
    .unwrap();
    let asked = Request { rules: Some(Rules::new(&own).unwrap().into()), ..asked() };
    for (status, body, expected) in [
        (404, "", Ok(404)),
        (200, r#"{"error":"slow"}"#, Err(Class::RateLimit)),
        (200, r#"{"error":"bad"}"#, Err(Class::Service)),
        (200, "{}", Ok(200)),
        (500, "{}", Err(Class::Service)),
    ] {
        let judged = plain.judge(&asked, came(status, &[JSON], body), NOW);
        let told = judged.map(|answer| answer.status.as_u16()).map_err(|r| r.failure.fault.class());
        assert_eq!(told, expected, "{status} {body}");
    }
    assert!(told(&plain, came(404, &[], "")).starts_with("validation"), "others have the connection's alone");
}

#[test]
fn a_rule_that_cannot_be_read_is_told_with_its_number() {
    let rules: Vec<ErrorRule> = serde_json::from_value(json!([
        {"means": "success"},
        {"body": "$.[", "means": "auth"},
    ]))
    .unwrap();
    let (number, field, _) = Judge::new(&rules, false).err().unwrap();
    assert_eq!((number, field), (1, "body"));
}
