use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use karez_api::{
    Body, Build, Checker, Emit, Encode, Json, JsonMap, Meta, Millis, Path, Record, RecordId, Reuse, Scope,
    Step,
};
use serde_json::json;

use super::components;
use crate::Languages;

struct Schemas;

impl Reuse for Schemas {
    fn connection(&self, _: &str) -> Option<Json> {
        None
    }
    fn schema(&self, name: &str) -> Result<Json, String> {
        match name {
            "user" => Ok(
                json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}, "mail": {"format": "email"}}}),
            ),
            _ => Err(format!("there is no schema {name}")),
        }
    }
    fn mapping(&self, _: &str) -> Option<Json> {
        None
    }
    fn names(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}

/// Checks a step; the problems as `code at` lines.
fn build(name: &str, settings: Json) -> Result<Box<dyn Step>, String> {
    let (vars, literal) = (Arc::new(JsonMap::new()), BTreeMap::new());
    let (warnings, problems) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let cx = Checker {
        node: "node".into(),
        pipeline: "p".into(),
        at: Path::root().field("s"),
        encode: Encode::Json,
        expressions: &Languages,
        scope: Scope { vars: &vars, literal: &literal, warnings: &warnings },
        reuse: &Schemas,
        problems: &problems,
    };
    let component = components().into_iter().find(|component| component.name == name).unwrap();
    let Build::Step(check) = component.build else { panic!("{name} is a step") };
    check(settings, &cx).ok_or_else(|| {
        problems
            .borrow()
            .iter()
            .map(|problem| format!("{} {}", problem.code, problem.at))
            .collect::<Vec<_>>()
            .join("\n")
    })
}

/// What becomes of a record: `port: id body` each, or the refusal.
fn run(step: &dyn Step, body: Json) -> Result<Vec<(u16, String, Json)>, String> {
    let meta = Meta::new(RecordId::text("r"), "s".into(), Millis(0));
    let mut out = Emit::default();
    step.apply(Record::new(Body::from_tree(body), meta), &mut out).map_err(|fault| format!("{fault:?}"))?;
    Ok(out
        .drain()
        .map(|(port, record)| (port, record.id().to_string(), record.body().tree().unwrap().clone()))
        .collect())
}

#[test]
fn steps_do_what_they_say() {
    for (name, settings, body, expected) in [
        ("filter", json!("@.a == 1"), json!({"a": 1}), vec![(0, "r", json!({"a": 1}))]),
        ("filter", json!("@.a == 1"), json!({"a": 2}), vec![]),
        (
            "map",
            json!({"x": "$.a", "y": {"z": "$.none"}, "k": 5}),
            json!({"a": 1}),
            vec![(0, "r", json!({"x": 1, "y": {}, "k": 5}))],
        ),
        (
            "set",
            json!({"a": "$.b", "b": "$.a", "$.c.d": 1, "e": "$.none"}),
            json!({"a": 1, "b": 2}),
            vec![(0, "r", json!({"a": 2, "b": 1, "c": {"d": 1}}))],
        ),
        (
            "remove",
            json!(["a", "$.b[0]", "none"]),
            json!({"a": 1, "b": [1, 2]}),
            vec![(0, "r", json!({"b": [2]}))],
        ),
        (
            "rename",
            json!({"a": "b", "b": "a"}),
            json!({"a": 1, "b": 2}),
            vec![(0, "r", json!({"a": 2, "b": 1}))],
        ),
        (
            "cast",
            json!({"a": "integer", "b": "string", "c": "timestamp", "d": "number", "e": "boolean"}),
            json!({"a": "42", "b": 1.5, "c": 0, "d": "1e3", "e": "true"}),
            vec![(0, "r", json!({"a": 42, "b": "1.5", "c": "1970-01-01T00:00:00Z", "d": 1e3, "e": true}))],
        ),
        ("validate", json!("user"), json!({"id": 1}), vec![(0, "r", json!({"id": 1}))]),
        (
            "split",
            json!("$.l[*]"),
            json!({"l": [1, 2]}),
            vec![(0, "r/node/0", json!(1)), (0, "r/node/1", json!(2))],
        ),
        (
            "split",
            json!({"each": "$.l[*]", "keep": {"o": "$.id"}}),
            json!({"id": 7, "l": [{"x": 1}]}),
            vec![(0, "r/node/0", json!({"x": 1, "o": 7}))],
        ),
        ("split", json!("$.none[*]"), json!({}), vec![]),
        (
            "template",
            json!({"to": "t", "text": "{{a}}!"}),
            json!({"a": 1}),
            vec![(0, "r", json!({"a": 1, "t": "1!"}))],
        ),
        ("template", json!({"text": "{{a}}!"}), json!({"a": 1}), vec![(0, "r", json!("1!"))]),
        ("jq", json!(".a"), json!({"a": 1}), vec![(0, "r", json!(1))]),
        ("jq", json!(".[]"), json!([1, 2]), vec![(0, "r/node/0", json!(1)), (0, "r/node/1", json!(2))]),
        ("jq", json!("empty"), json!(1), vec![]),
        ("set_meta", json!({"tenant": "$.a"}), json!({"a": 1}), vec![(0, "r", json!({"a": 1}))]),
        (
            "route",
            json!({"eu": "@.r == 'eu'", "us": "@.r == 'us'", "else": "rest"}),
            json!({"r": "us"}),
            vec![(2, "r", json!({"r": "us"}))],
        ),
        (
            "route",
            json!({"eu": "@.r == 'eu'", "else": "rest"}),
            json!({"r": "x"}),
            vec![(2, "r", json!({"r": "x"}))],
        ),
        (
            "route",
            json!({"a": "@.r", "b": "@.r", "match": "all", "else": "drop"}),
            json!({"r": 1}),
            vec![(1, "r", json!({"r": 1})), (2, "r", json!({"r": 1}))],
        ),
        ("route", json!({"a": "@.r", "else": "drop"}), json!({}), vec![]),
    ] {
        let expected: Vec<_> =
            expected.into_iter().map(|(port, id, body)| (port, id.to_owned(), body)).collect();
        assert_eq!(
            build(name, settings.clone()).and_then(|step| run(&*step, body)),
            Ok(expected),
            "{name} {settings}"
        );
    }
}

#[test]
fn a_record_that_does_not_fit_is_refused_with_a_reason() {
    for (name, settings, body, expected) in [
        ("validate", json!("user"), json!({"id": "x", "mail": "no"}), "/id"),
        (
            "validate",
            json!({"schema": {"pattern": "^(a+)+$"}}),
            json!("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"),
            "schema",
        ),
        ("cast", json!({"a": "integer"}), json!({"a": "4.5"}), "not an integer"),
        ("cast", json!({"a": "integer"}), json!({"a": 1e300}), "not an exact integer"),
        ("split", json!("$.a"), json!({"a": 1}), "not an array"),
        ("set", json!({"$.a.b": 1}), json!({"a": 1}), "cannot be written"),
        ("route", json!({"a": "@.r", "else": "dead_letter"}), json!({}), "no condition"),
        ("split", json!("$[*]"), json!(vec![0; 10_001]), "10001"),
    ] {
        let refused = build(name, settings.clone()).and_then(|step| run(&*step, body)).unwrap_err();
        assert!(refused.contains(expected), "{name} {settings}: {refused}");
    }
}

#[test]
fn a_bad_setting_is_reported_at_its_place() {
    for (name, settings, expected) in [
        ("filter", json!("@.a in [1]"), "bad-jsonpath s"),
        ("map", json!({"$.a": 1}), "path-key s.$.a"),
        ("map", json!({"a": "$.b c", "d": "{{e"}), "bad-jsonpath s.a\nbad-template s.d"),
        ("set", json!({"$.a[*]": 1}), "bad-jsonpath s.$.a[*]"),
        ("validate", json!("none"), "unknown-schema s"),
        (
            "validate",
            json!({"schema": {"properties": {"a": {"type": "strin"}}}}),
            "bad-schema s.schema.properties.a.type",
        ),
        ("validate", json!({"schema": {"$ref": "https://example.com/x"}}), "bad-schema s.schema.$ref"),
        ("route", json!({"a": "@.x"}), "missing-field s"),
        ("set_meta", json!({"id": 1}), "reserved-name s.id"),
        ("jq", json!(".["), "bad-jq s"),
        ("jq", json!({"program": ".["}), "bad-jq s.program"),
        ("rename", json!({"a": "c", "b": "c"}), "duplicate-name s.a"),
    ] {
        let reported = build(name, settings.clone()).map(|_| ()).unwrap_err();
        assert_eq!(reported, expected, "{name} {settings}");
    }
}
