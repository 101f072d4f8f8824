use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use karez_api::{Body, Escape, Expressions, Json, JsonMap, Meta, Millis, Path, Record, RecordId, Scope};
use serde_json::json;

use super::Languages;

fn record(body: Json) -> Record {
    Record::new(
        Body::from_tree(body),
        Meta::new(RecordId::text("r-1"), "source".into(), Millis(1_700_000_000_000)),
    )
}

fn with_scope<T>(use_scope: impl FnOnce(&Scope<'_>) -> T) -> T {
    let vars: Arc<JsonMap> = Arc::new(json!({"eu": "west"}).as_object().unwrap().clone());
    let (literal, warnings) = (BTreeMap::new(), RefCell::new(Vec::new()));
    use_scope(&Scope { vars: &vars, literal: &literal, warnings: &warnings })
}

fn value(setting: Json, body: Json) -> Result<Option<Json>, String> {
    with_scope(|scope| {
        let value = Languages.value(scope, &Path::root().field("map"), &setting).map_err(|problems| {
            format!("{}: {} ({:?})", problems[0].code, problems[0].message, problems[0].help)
        })?;
        value.eval(&record(body)).map_err(|fault| format!("{fault:?}"))
    })
}

#[test]
fn a_value_is_what_its_form_says() {
    let body = || json!({"a": {"b": 7}, "items": [{"p": 1}, {"p": 2}], "n": null, "price": 3, "q": 4, "big": u64::MAX, "url": "u"});
    for (setting, expected) in [
        (json!("$.a.b"), Some(json!(7))),
        (json!("$.none"), None),
        (json!("$.n"), Some(json!(null))),
        (json!("$.items[*].p"), Some(json!([1, 2]))),
        (json!("$.items[?@.p > 1].p"), Some(json!([2]))),
        (json!("$['a']['b']"), Some(json!(7))),
        (json!("plain"), Some(json!("plain"))),
        (json!({"literal": "$5"}), Some(json!("$5"))),
        (json!("<{{a.b}}>{{n}}{{url}}{{@vars.eu}}"), Some(json!("<7>uwest"))),
        (json!("{{#each items}}{{p}}@{{@meta.source}};{{/each}}"), Some(json!("1@source;2@source;"))),
        (
            json!("{{default x \"none\"}} {{upper url}} {{now}}"),
            Some(json!("none U 2023-11-14T22:13:20.000Z")),
        ),
        (json!({"jq": ".price * .q"}), Some(json!(12))),
        (json!({"jq": "[.items[] | {sku: .p}]"}), Some(json!([{"sku": 1}, {"sku": 2}]))),
        (json!({"jq": ".big"}), Some(json!(u64::MAX))),
        (json!({"jq": "$vars.eu + $meta.id"}), Some(json!("westr-1"))),
        (json!({"jq": "empty"}), None),
        (json!({"jq": "[range(3)]"}), Some(json!([0, 1, 2]))),
        (json!({"x": "$.none", "y": ["$.none", "$.a.b"]}), Some(json!({"y": [7]}))),
    ] {
        assert_eq!(value(setting.clone(), body()), Ok(expected), "{setting}");
    }
}

#[test]
fn what_would_give_wrong_data_is_refused() {
    let body = || json!({"a": {"b": 7}, "s": "x"});
    for (setting, expected) in [
        (json!("$5"), "literal"),
        (json!("$.a b"), "bad-jsonpath"),
        (json!("{{none}}"), "field none is missing"),
        (json!("{{a}}"), "is an object"),
        (json!("{{lowr s}}"), "did you mean lower"),
        (json!("{{$.a.b}}"), "write {{a.b}}"),
        (json!("{{upper $.s}}"), "write {{s}}"),
        (json!("{{s[0]}}"), "write {{s.[0]}}"),
        (json!("{{a.s[0].id}}"), "write a.s.[0]"),
        (json!("{{#each"), "bad-template"),
        (json!({"jq": ".a +"}), "bad-jq"),
        (json!({"jq": "env"}), "does not exist here"),
        (json!({"jq": "repeat(1)"}), "for ever"),
        (json!({"jq": "def f: f; f"}), "for ever"),
        (json!({"jq": "1, 2"}), "2 values"),
        (json!({"jq": ".s * 1000000000000"}), "would be longer"),
        (json!({"jq": "[range(1e12)]"}), "range would yield"),
        (json!({"jq": "nope"}), "unknown"),
    ] {
        let error = value(setting.clone(), body()).unwrap_err();
        assert!(error.contains(expected), "{setting}: {error}");
    }
}

#[test]
fn a_jq_program_over_its_budget_is_given_up_and_stops_the_pipeline_the_second_time() {
    let setting = json!({"jq": {"program": "def f: f; f", "unbounded": true}});
    with_scope(|scope| {
        let value = Languages.value(scope, &Path::root(), &setting).unwrap();
        let first = value.eval(&record(json!({}))).unwrap_err();
        assert_eq!((first.class(), first.code()), (karez_api::Class::Validation, "budget"));
        let second = value.eval(&record(json!({}))).unwrap_err();
        assert_eq!((second.class(), second.code()), (karez_api::Class::Fatal, "budget"));
    });
}

#[test]
fn an_escape_applies_to_what_goes_in_and_not_to_what_is_written() {
    let text = |setting: &str, escape: Escape, body: Json| {
        with_scope(|scope| {
            let text = Languages
                .text(scope, &Path::root(), setting, escape)
                .map_err(|problems| problems[0].message.clone())?;
            text.eval(&record(body)).map_err(|fault| fault.to_string())
        })
    };
    assert_eq!(
        text("/u/{{x}}?a=b", Escape::UrlPath, json!({"x": "a/b c"})).as_deref(),
        Ok("/u/a%2Fb%20c?a=b")
    );
    assert!(text("/u/{{x}}", Escape::UrlPath, json!({"x": ".."})).is_err());
    assert!(text("{{x}}", Escape::Header, json!({"x": "a\r\nb"})).is_err());
    assert!(text("out/{{x}}", Escape::FilePath, json!({"x": "../x"})).is_err());
    assert!(text("{{{x}}}", Escape::UrlQuery, json!({"x": 1})).is_err());
    assert_eq!(
        text("O'Brien & {{x}}", Escape::None, json!({"x": "<Sons>"})).as_deref(),
        Ok("O'Brien & <Sons>")
    );
}

#[test]
fn a_condition_is_strict_and_exact() {
    let holds = |setting: &str, body: Json| {
        with_scope(|scope| {
            let condition =
                Languages.condition(scope, &Path::root(), &json!(setting)).map_err(|problems| {
                    problems[0].help.clone().unwrap_or_else(|| problems[0].message.clone())
                })?;
            condition.eval(&record(body)).map_err(|fault| fault.to_string())
        })
    };
    let body = || json!({"t": "5", "n": 5, "id": 9_007_199_254_740_993_u64, "ok": false, "tags": ["a", "b"]});
    for (setting, expected) in [
        ("@.n == 5", true),
        ("$.n >= 5.0", true),
        ("@.t == 5", false),
        ("@.x == @.y", true),
        ("@.x == null", false),
        ("@.id == 9007199254740992", false),
        ("@.ok", true),
        ("!@.x", true),
        ("@.ok == true || @.n < 6 && @.t == '5'", true),
        ("match(@.t, '[0-9]')", true),
        ("search(@.tags[0], 'a')", true),
        ("count(@.tags[*]) == 2", true),
        ("length(@.tags) == 2", true),
        ("value(@.tags[?@ == 'b']) == 'b'", true),
        ("!(@.n == 5)", false),
    ] {
        assert_eq!(holds(setting, body()), Ok(expected), "{setting}");
    }
    for (setting, help) in [
        ("@.t in ['5']", "||"),
        ("@.t == '5' and @.n == 5", "&&"),
        ("@.t = '5'", "=="),
        ("@.t =~ '5'", "match"),
        ("@.a-b == 1", "hyphen"),
        ("length(@.t)", "compare"),
        ("@.tags[*] == 1", "value("),
        ("match(@.t, '(')", "pattern"),
    ] {
        let error = holds(setting, body()).unwrap_err();
        assert!(error.contains(help), "{setting}: {error}");
    }
}

/// Compiles a setting of which `${…}` wrote the given bytes: its problem as `code place: help`, or nothing.
fn with_literal(kind: &str, setting: &str, literal: std::ops::Range<usize>) -> Option<String> {
    let at = Path::root().field("s");
    let vars = Arc::new(JsonMap::new());
    let literal = BTreeMap::from([(at.clone(), vec![literal])]);
    let warnings = RefCell::default();
    let scope = Scope { vars: &vars, literal: &literal, warnings: &warnings };
    let setting = json!(setting);
    let problems = match kind {
        "value" => Languages.value(&scope, &at, &setting).err(),
        "text" => Languages.text(&scope, &at, setting.as_str().unwrap(), Escape::None).err(),
        "condition" => Languages.condition(&scope, &at, &setting).err(),
        "jq" => super::Program::compile(&scope, &at, &setting).err().map(|problem| vec![problem]),
        _ => unreachable!(),
    };
    let problem = problems?.remove(0);
    Some(format!("{} {:?}: {}", problem.code, problem.within.unwrap(), problem.help.unwrap()))
}

#[test]
fn what_the_environment_brings_in_is_text_and_never_code() {
    assert_eq!(with_literal("value", "$.a", 0..3), None);
    assert_eq!(with_literal("value", "{{a}}", 0..5), None);
    assert_eq!(with_literal("text", "x{{a}}", 1..6), None);
    for (kind, setting, literal, expected) in [
        ("value", "$.name", 2..6, "bad-jsonpath 2..6: what ${…} brings in is literal text"),
        ("condition", "@.a == 'eu'", 8..10, "bad-jsonpath 8..10: put it under `vars:`"),
        ("jq", ".a == \"eu\"", 7..9, "bad-jq 7..9: put it under `vars:`"),
    ] {
        let problem = with_literal(kind, setting, literal).unwrap();
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn a_condition_that_asks_for_existence_is_warned_of_at_its_place() {
    let warned = |setting: &str| {
        let (vars, literal) = (Arc::new(JsonMap::new()), BTreeMap::new());
        let warnings = RefCell::new(Vec::new());
        let scope = Scope { vars: &vars, literal: &literal, warnings: &warnings };
        assert!(Languages.condition(&scope, &Path::root(), &json!(setting)).is_ok(), "{setting}");
        let warnings = warnings.into_inner();
        warnings.into_iter().map(|warning| (warning.code, warning.within.unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(warned("@.paid"), [("existence-test", 0..6)]);
    assert_eq!(warned("@.n == 1 && @.paid"), [("existence-test", 12..18)]);
    assert_eq!(warned("@.a || @.b"), [("existence-test", 0..3), ("existence-test", 7..10)]);
    for setting in ["@.paid == true", "count(@.tags[*]) > 0", "@.tags[?@ == 'x']", "search(@.a, 'x')"] {
        assert_eq!(warned(setting), [], "{setting}");
    }
}
