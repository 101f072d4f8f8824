use serde_json::{Value, json};

use super::*;
use crate::auth::testing::{SetClock, read, request};

/// 2015-08-30T12:36:00Z, as the test suite of AWS has it.
const TIME: u64 = 1_440_938_160_000;

fn spec(service: &str) -> Value {
    json!({"access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        "region": "us-east-1", "service": service})
}

fn signed(spec: &Value, mut asked: Request) -> Request {
    let credentials = SigV4Credentials::new(&read(spec), SetClock::at(TIME)).unwrap();
    credentials.sign(&mut asked, Millis(TIME)).unwrap();
    asked
}

fn signature(request: &Request) -> &str {
    request.headers["authorization"].to_str().unwrap().rsplit_once('=').unwrap().1
}

/// `aws-sig-v4-test-suite`, by the names of its cases.
#[test]
fn the_test_suite_of_aws_comes_out() {
    let cases: &[(&str, &str, &str, &str)] = &[
        ("get-vanilla", "GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("post-vanilla", "POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "get-vanilla-query-order-key-case",
            "GET",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "get-vanilla-empty-query-key",
            "GET",
            "/?Param1=value1",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        ),
        (
            "get-vanilla-query-unreserved",
            "GET",
            "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        (
            "get-vanilla-utf8-query",
            "GET",
            "/?ሴ=bar",
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ),
        (
            "get-unreserved",
            "GET",
            "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
        (
            "get-relative",
            "GET",
            "/example/..",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        ("get-slashes", "GET", "//", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ];
    for (name, method, path, expected) in cases {
        let asked = request(method, &format!("https://example.amazonaws.com{path}"), "");
        assert_eq!(signature(&signed(&spec("service"), asked)), *expected, "{name}");
    }
    let mut form = request("POST", "https://example.amazonaws.com/", "Param1=value1");
    form.headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let form = signed(&spec("service"), form);
    assert_eq!(
        form.headers["authorization"],
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, \
         Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
    );
}

#[test]
fn s3_has_its_own_manners() {
    let asked = || request("PUT", "https://b.s3.amazonaws.com//a%20b/c+d//e?x=1+2", "body");
    let s3 = signed(&spec("s3"), asked());
    let content = hex::encode(Hash::Sha256.digest(b"body"));
    assert_eq!(s3.headers["x-amz-content-sha256"], *content);
    assert_eq!(s3.url.query(), Some("x=1%202"));
    let path = |service: &str| {
        SigV4Credentials::new(&read(&spec(service)), SetClock::at(TIME)).unwrap().canonical_path(&asked())
    };
    assert_eq!(path("s3"), "//a%20b/c%2Bd//e");
    assert_eq!(path("execute-api"), "/a%2520b/c%2Bd/e");
    assert!(!signed(&spec("es"), asked()).headers.contains_key("x-amz-content-sha256"));
}

#[test]
fn a_session_goes_along_and_is_signed() {
    let mut spec = spec("service");
    spec["session_token"] = json!("tok");
    let mut asked = request("GET", "https://example.amazonaws.com:8443/", "");
    asked.headers.insert("x-amz-target", " A   b ".parse().unwrap());
    asked.headers.insert("authorization", "mine".parse().unwrap());
    let sent = signed(&spec, asked);
    assert_eq!(sent.headers["x-amz-security-token"], "tok");
    let value = sent.headers["authorization"].to_str().unwrap();
    assert!(value.contains("SignedHeaders=host;x-amz-date;x-amz-security-token;x-amz-target,"), "{value}");
    assert!(canonical_headers(&sent).0.starts_with("host:example.amazonaws.com:8443\n"));
    assert!(canonical_headers(&sent).0.ends_with("x-amz-target:A b\n"));
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    let spec = json!({"access_key_id": "", "secret_access_key": "s", "session_token": "a\nb", "region": "eu west",
        "service": "s3/x"});
    let mut problems = Vec::new();
    check(&read(&spec), &Path::root(), &mut problems);
    let places: Vec<String> = problems.iter().map(|problem| problem.at.to_string()).collect();
    assert_eq!(places, ["access_key_id", "region", "service", "session_token"]);
}
