//! Which page comes next, case by case: what an answer says, and what is asked for then.

use serde_json::json;

use super::*;
use crate::testing::{File, NOW};

/// An answer to `token`: its headers, its body without records, and its records.
struct Answer {
    headers: Vec<(&'static str, &'static str)>,
    envelope: Json,
    records: Vec<Json>,
}

fn paging(spec: Json) -> Paging {
    let spec: PageSpec = serde_json::from_value(spec).unwrap();
    File::default().check(|cx| Paging::check(cx, &Path::root().field("page"), &spec)).unwrap()
}

/// The token behind `token`, as JSON; null where there is none; the message where it is a fault.
fn next(paging: &Paging, token: &Token, answer: Answer) -> Json {
    let envelope = envelope(answer.envelope, NOW);
    let last = answer.records.last().map(|last| as_record(Body::from_tree(last.clone()), NOW));
    let headers = answer.headers.into_iter().map(|(name, value)| {
        (name.parse::<HeaderName>().unwrap(), value.parse::<http::HeaderValue>().unwrap())
    });
    let seen = Seen {
        envelope: &envelope,
        headers: &headers.collect(),
        url: &"https://api.example.com/v1/items?page=1".parse().unwrap(),
        records: answer.records.len() as u64,
        last: last.as_ref(),
    };
    match paging.next(token, &seen) {
        Ok(None) => Json::Null,
        Ok(Some(Token::Cursor(cursor))) => cursor,
        Ok(Some(Token::Number(number) | Token::Offset(number))) => number.into(),
        Ok(Some(Token::Url(url))) => url.into(),
        Ok(Some(Token::First)) => "first".into(),
        Err(fault) => fault.message().into(),
    }
}

/// An answer that is nothing but a body.
fn body(envelope: Json) -> Answer {
    Answer { headers: Vec::new(), envelope, records: vec![json!({"id": 7, "at": {"n": null}})] }
}

/// An answer of so many records.
fn many(records: usize, envelope: Json) -> Answer {
    Answer { headers: Vec::new(), envelope, records: vec![json!({}); records] }
}

#[test]
fn a_cursor_is_found_in_body_header_link_and_last_record() {
    let header = |name, value| Answer { headers: vec![(name, value)], ..body(json!({})) };
    for (name, spec, answer, expected) in [
        (
            "token from body",
            json!({"cursor": "$.paging.next"}),
            body(json!({"paging": {"next": "t"}})),
            json!("t"),
        ),
        ("a number", json!({"cursor": "$.next"}), body(json!({"next": 12})), json!(12)),
        ("zero is a place", json!({"cursor": "$.next"}), body(json!({"next": 0})), json!(0)),
        ("token not found", json!({"cursor": "$.next"}), body(json!({})), json!(null)),
        ("null token", json!({"cursor": "$.next"}), body(json!({"next": null})), json!(null)),
        ("empty token", json!({"cursor": "$.next"}), body(json!({"next": ""})), json!(null)),
        ("false token", json!({"cursor": "$.next"}), body(json!({"next": false})), json!(null)),
        ("token from header", json!({"cursor": {"header": "X-Next"}}), header("x-next", "t"), json!("t")),
        ("no such header", json!({"cursor": {"header": "X-Next"}}), header("x-other", "t"), json!(null)),
        ("null in a header", json!({"cursor": {"header": "X-Next"}}), header("x-next", "null"), json!(null)),
        ("token from last record", json!({"cursor": {"last": "$.id"}}), body(json!({})), json!(7)),
        ("no last record", json!({"cursor": {"last": "$.id"}}), many(0, json!({})), json!(null)),
        (
            "last record without it",
            json!({"cursor": {"last": "$.at.n"}}),
            body(json!({})),
            json!("the last record of the page has no such field as `page.cursor.last` names"),
        ),
        (
            "parsed Link header",
            json!({"link": "next"}),
            header("link", "<https://api.example.com/v1/items?page=2>; rel=\"next\", </>; rel=\"first\""),
            json!("https://api.example.com/v1/items?page=2"),
        ),
        (
            "a Link of another relation",
            json!({"link": "next"}),
            header("link", "</x>; rel=\"prev\""),
            json!(null),
        ),
        (
            "a relative Link",
            json!({"link": "next"}),
            header("link", "<?page=2>; rel=next"),
            json!("https://api.example.com/v1/items?page=2"),
        ),
        (
            "a next address",
            json!({"next_url": "$.next"}),
            body(json!({"next": "/v1/items?page=2#x"})),
            json!("https://api.example.com/v1/items?page=2"),
        ),
        ("a null page", json!({"next_url": "$.next"}), body(json!({"next": null})), json!(null)),
        (
            "an address elsewhere",
            json!({"next_url": "$.next"}),
            body(json!({"next": "https://evil.example/v1"})),
            json!("the next address is on evil.example, which is another place: nothing is sent there"),
        ),
        (
            "a number for an address",
            json!({"next_url": "$.next"}),
            body(json!({"next": 2})),
            json!("the next address is no text but a number"),
        ),
    ] {
        assert_eq!(next(&paging(spec), &Token::First, answer), expected, "{name}");
    }
}

#[test]
fn a_stop_condition_holds_whatever_the_token_says() {
    for (name, more, envelope, goes_on) in [
        ("stop false", json!("$.more"), json!({"more": true, "next": "t"}), true),
        ("stop true", json!("$.more"), json!({"more": false, "next": "t"}), false),
        ("a text", json!("$.more"), json!({"more": "true", "next": "t"}), true),
        ("the text false", json!("$.more"), json!({"more": "false", "next": "t"}), false),
        ("the text 0", json!("$.more"), json!({"more": "0", "next": "t"}), false),
        ("a number", json!("$.more"), json!({"more": 3, "next": "t"}), true),
        ("zero", json!("$.more"), json!({"more": 0, "next": "t"}), false),
        ("null", json!("$.more"), json!({"more": null, "next": "t"}), false),
        ("nothing there", json!("$.more"), json!({"next": "t"}), false),
        ("more without a token", json!("$.more"), json!({"more": true}), false),
    ] {
        let paging = paging(json!({"cursor": "$.next", "more": more}));
        let expected = if goes_on { json!("t") } else { Json::Null };
        assert_eq!(next(&paging, &Token::First, body(envelope)), expected, "{name}");
    }
}

#[test]
fn pages_are_counted_from_where_the_file_says_until_one_is_short() {
    let sized = |from: u64| paging(json!({"number": {"from": from, "size": 10}}));
    for (name, paging, token, answer, expected) in [
        ("from 0", sized(0), 0, many(10, json!({})), json!(1)),
        ("from 1", sized(1), 1, many(10, json!({})), json!(2)),
        ("from 12", sized(12), 12, many(10, json!({})), json!(13)),
        ("partial stops", sized(1), 3, many(9, json!({})), json!(null)),
        ("empty stops", sized(1), 3, many(0, json!({})), json!(null)),
        ("more than asked for", sized(1), 3, many(11, json!({})), json!(4)),
        ("no size, not empty", paging(json!({"number": {}})), 3, many(1, json!({})), json!(4)),
        ("no size, empty", paging(json!({"number": {}})), 3, many(0, json!({})), json!(null)),
        (
            "a short page before the last",
            paging(json!({"number": {"size": 10, "total": "$.pages"}})),
            1,
            many(9, json!({"pages": 2})),
            json!(2),
        ),
        (
            "the last of a total from 0",
            paging(json!({"number": {"from": 0, "size": 10, "total": "$.pages"}})),
            1,
            many(10, json!({"pages": "2"})),
            json!(null),
        ),
        (
            "a total that is not there",
            paging(json!({"number": {"size": 10, "total": "$.pages"}})),
            1,
            many(10, json!({})),
            json!(2),
        ),
    ] {
        assert_eq!(next(&paging, &Token::Number(token), answer), expected, "{name}");
    }
    assert_eq!(sized(12).first(), Token::Number(12));
}

#[test]
fn an_offset_moves_by_what_came() {
    let sized = || paging(json!({"offset": {"size": 10}}));
    let total = || paging(json!({"offset": {"size": 10, "total": "$.total"}}));
    for (name, paging, answer, expected) in [
        ("same size", sized(), many(10, json!({})), json!(30)),
        ("larger size", sized(), many(12, json!({})), json!(32)),
        ("less", sized(), many(9, json!({})), json!(null)),
        ("no records", sized(), many(0, json!({})), json!(null)),
        ("a size that the far end caps", total(), many(5, json!({"total": 40})), json!(25)),
        ("the end of a total", total(), many(10, json!({"total": 30})), json!(null)),
        ("no records before the end of a total", total(), many(0, json!({"total": 99})), json!(null)),
        ("a total that is a text", total(), many(10, json!({"total": " 31 "})), json!(30)),
        ("a total that is no number", total(), many(10, json!({"total": "many"})), json!(30)),
    ] {
        assert_eq!(next(&paging, &Token::Offset(20), answer), expected, "{name}");
    }
    let from = paging(json!({"offset": {"size": 10, "from": 5}}));
    assert_eq!(from.first(), Token::Offset(5));
}

#[test]
fn the_first_page_is_asked_for_without_a_cursor_unless_the_file_gives_one() {
    assert_eq!(paging(json!({"cursor": "$.next"})).first(), Token::First);
    assert_eq!(paging(json!({"cursor": "$.next", "start": "*"})).first(), Token::Cursor(json!("*")));
    assert_eq!(Paging::single().first(), Token::First);
    assert_eq!(next(&Paging::single(), &Token::First, body(json!({"next": "t"}))), Json::Null);
}

#[test]
fn what_is_no_way_to_page_is_told_with_its_place() {
    for (spec, expected) in [
        (json!({}), "bad-page page"),
        (json!({"cursor": "$.next", "link": "next"}), "bad-page page"),
        (json!({"link": "next", "into": "query.page"}), "bad-page page.into"),
        (json!({"link": "next", "start": "x"}), "bad-page page.start"),
        (json!({"cursor": "$.next", "into": "cookie.page"}), "bad-page page.into"),
        (json!({"cursor": "$.next", "into": "query."}), "bad-page page.into"),
        (json!({"cursor": "$.next", "into": "header.a b"}), "bad-page page.into"),
        (json!({"cursor": "$.next", "size_into": "query.limit"}), "bad-page page.size_into"),
        (json!({"cursor": {"header": "a b"}}), "bad-header-name page.cursor.header"),
    ] {
        let read: PageSpec = serde_json::from_value(spec.clone()).unwrap();
        let checked = File::default().check(|cx| Paging::check(cx, &Path::root().field("page"), &read));
        let problems = checked.err().unwrap_or_else(|| panic!("{spec} is accepted"));
        assert_eq!(crate::testing::places(&problems), [expected], "{spec}");
    }
}
