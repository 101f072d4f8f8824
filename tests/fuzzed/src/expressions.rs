//! What the three languages have in common: a record to run on, and problems that lie inside what they are about.

use std::sync::LazyLock;

use bytes::Bytes;
use karez_api::{Body, Class, Fault, Form, Json, Key, Meta, MetaFault, Problem, Record, RecordId};

use crate::lent::NOW;

/// Runs on everything that a record can hold.
static RICH: &str = r#"{"a": {"b": [1, 2.5, -3, {"c": "x"}], "c": "line\r\nbreak", "d": null}, "s": "../etc/p?q#f", "t": true,
 "items": [{"id": 1, "name": "n\u0000", "tags": ["x", "y"]}, {"id": 2, "name": "ü", "tags": []}], "at": "2026-11-24T10:15:00Z", "n": 18446744073709551615}"#;

static META: LazyLock<Meta> = LazyLock::new(|| {
    let mut meta = Meta::new(RecordId::text("r-1"), "source".into(), NOW);
    meta.event_type = Some("created".into());
    meta.headers.insert("x-a", http::HeaderValue::from_static("1"));
    meta.error = Some(std::sync::Arc::new(MetaFault {
        class: Class::Service,
        code: "http_503".into(),
        node: "crm".into(),
        message: "no\nmore".into(),
        attempts: 8,
        at: NOW,
    }));
    meta
});

/// A record of the given JSON, or of a rich one.
pub(crate) fn record(body: Option<&[u8]>) -> Record {
    let body = body.map_or(Bytes::from_static(RICH.as_bytes()), Bytes::copy_from_slice);
    Record::new(Body::from_bytes(Form::Json, body), META.clone())
}

/// Every problem names a place that is in the setting, and says something.
pub(crate) fn assert_inside(problems: &[Problem], setting: &Json) {
    assert!(!problems.is_empty());
    for problem in problems {
        assert!(!problem.message.is_empty(), "{problem:?}");
        let named = problem.at.keys().iter().try_fold(setting, |at, key| match key {
            Key::Field(name) => at.get(name),
            Key::Index(index) => at.get(index),
        });
        let named = named.unwrap_or_else(|| panic!("{problem:?} is nowhere in {setting}"));
        if let Some(range) = &problem.within {
            let text = named.as_str().unwrap_or_else(|| panic!("{problem:?} is within no text"));
            assert!(text.get(range.clone()).is_some(), "{problem:?} is not inside {text:?}");
        }
    }
}

/// Two runs on one record give the same, and a failure is the record's.
pub(crate) fn assert_steady<T: PartialEq + std::fmt::Debug>(run: impl Fn() -> Result<T, Fault>) -> Option<T> {
    match (run(), run()) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first, second);
            Some(first)
        }
        (Err(first), Err(second)) => {
            assert_eq!((first.code(), first.class()), (second.code(), second.class()));
            assert_eq!(first.class(), Class::Validation, "{first:?}");
            assert!(!first.message().is_empty());
            None
        }
        (first, second) => panic!("one run gave {first:?}, the next {second:?}"),
    }
}
