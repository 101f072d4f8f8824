use super::*;
use crate::testing::NOW;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let parsed = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    parsed.collect::<Vec<(::http::HeaderName, _)>>().into_iter().collect()
}

fn judged(status: u16, pairs: &[(&'static str, &str)], body: &str) -> Outcome {
    let status = StatusCode::from_u16(status).unwrap();
    answer("PUT http://crm/x", status, &headers(pairs), body.as_bytes(), NOW)
}

fn fault(outcome: &Outcome) -> (&'static str, Class, &Fault) {
    match outcome {
        Outcome::Done | Outcome::Became(_) => panic!("done"),
        Outcome::Refused(fault) => ("refused", fault.class(), fault),
        Outcome::NotSent(fault) => ("not sent", fault.class(), fault),
        Outcome::Unknown(fault) => ("unknown", fault.class(), fault),
    }
}

#[test]
fn a_status_says_what_became_of_the_record() {
    for status in [200, 201, 202, 204, 207, 299] {
        assert!(matches!(judged(status, &[], ""), Outcome::Done), "{status}");
    }
    for (status, outcome, class) in [
        (301, "refused", Class::Validation),
        (302, "refused", Class::Validation),
        (304, "refused", Class::Validation),
        (307, "refused", Class::Validation),
        (400, "refused", Class::Validation),
        (401, "not sent", Class::Auth),
        (403, "not sent", Class::Auth),
        (404, "refused", Class::Validation),
        (405, "refused", Class::Validation),
        (408, "unknown", Class::Service),
        (409, "refused", Class::Validation),
        (410, "refused", Class::Validation),
        (413, "refused", Class::Validation),
        (415, "refused", Class::Validation),
        (422, "refused", Class::Validation),
        (425, "unknown", Class::Service),
        (429, "not sent", Class::RateLimit),
        (451, "refused", Class::Validation),
        (499, "refused", Class::Validation),
        (500, "unknown", Class::Service),
        (501, "unknown", Class::Service),
        (503, "unknown", Class::Service),
        (504, "unknown", Class::Service),
        (599, "unknown", Class::Service),
        (101, "unknown", Class::Service),
        (600, "unknown", Class::Service),
    ] {
        let judged = judged(status, &[], "");
        let (kind, judged, fault) = fault(&judged);
        assert_eq!((kind, judged), (outcome, class), "{status}");
        assert_eq!(fault.code(), format!("http_{status}"));
    }
}

#[test]
fn a_wait_is_read_as_seconds_or_date() {
    const LONG: u64 = LONGEST_WAIT.as_secs();
    // NOW is 2026-11-24T10:15:00Z, a Tuesday.
    for (written, seconds) in [
        ("0", Some(0)),
        ("120", Some(120)),
        (" 7 ", Some(7)),
        ("99999999999999999999999", Some(LONG)),
        ("Tue, 24 Nov 2026 10:16:30 GMT", Some(90)),
        // Senders must not write these two any more, but readers must know them (RFC 9110 §5.6.7).
        ("Tuesday, 24-Nov-26 10:16:30 GMT", Some(90)),
        ("Tue Nov 24 10:16:30 2026", Some(90)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(LONG)),
        ("Tue, 24 Nov 2026 10:15:00 GMT", None),
        ("Tue, 24 Nov 2026 10:14:59 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Sat, 01 Jan 0000 00:00:00 GMT", None),
        ("Mon, 24 Nov 2026 10:16:30 GMT", None),
        ("Tue, 24 Nov 2026 10:16:30 +0100", None),
        ("", None),
        ("-5", None),
        ("+5", None),
        ("1.5", None),
        ("soon", None),
        ("5 seconds", None),
        ("0x10", None),
    ] {
        for status in [429, 503] {
            let outcome = judged(status, &[("retry-after", written)], "");
            let wait = fault(&outcome).2.retry_after();
            assert_eq!(wait, seconds.map(Duration::from_secs), "{status} {written:?}");
        }
    }
}

#[test]
fn the_first_wait_that_makes_sense_counts() {
    let outcome = judged(429, &[("retry-after", "later"), ("retry-after", "3")], "");
    assert_eq!(fault(&outcome).2.retry_after(), Some(Duration::from_secs(3)));
    let outcome = judged(400, &[("retry-after", "3")], "");
    assert_eq!(fault(&outcome).2.retry_after(), None);
}

#[test]
fn a_redirect_is_named_without_its_path() {
    let location = |value| {
        let outcome = judged(307, &[("location", value)], "");
        fault(&outcome).2.message().to_owned()
    };
    assert!(location("https://other.example/a?token=s3cret").contains("points to other.example;"));
    assert!(!location("https://other.example/a?token=s3cret").contains("s3cret"));
    assert!(location("/a").contains("points to the same host;"));
    let nowhere = judged(307, &[], "");
    assert!(fault(&nowhere).2.message().contains("points to nowhere;"));
}

#[test]
fn an_answer_is_quoted_short_and_on_one_line() {
    let said = |body: &str| fault(&judged(422, &[], body)).2.message().to_owned();
    assert_eq!(
        said("{\"error\":\r\n\t\"no\u{7} such\" }"),
        "PUT http://crm/x refused the record with 422 Unprocessable Entity: {\"error\": \"no such\" }"
    );
    assert_eq!(said(" \n"), "PUT http://crm/x refused the record with 422 Unprocessable Entity");
    let long = said(&"é".repeat(10_000));
    assert_eq!(long.chars().filter(|c| *c == 'é').count(), EXCERPT);
}

#[test]
fn a_place_has_neither_credentials_nor_query() {
    let url = Url::parse("https://user:pass@crm.example:8443/a/b?key=s3cret#x").unwrap();
    assert_eq!(place(&::http::Method::PUT, &url), "PUT https://crm.example:8443/a/b");
}
