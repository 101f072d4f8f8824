use karez_api::{Body, Escape, Json, JsonMap, Meta, Millis, Record, RecordId};
use proptest::prelude::*;
use serde_json::json;

use super::Template;

fn record(body: Json) -> Record {
    Record::new(Body::from_tree(body), Meta::new(RecordId::text("r"), "s".into(), Millis(0)))
}

fn leaf() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        "[ -~é]{0,6}".prop_map(Json::from),
        Just(json!([1])),
        Just(json!({"c": "x"})),
    ]
}

proptest! {
    #[test]
    fn the_short_way_and_the_engine_yield_the_same(
        pieces in prop::collection::vec(prop_oneof![
            "[ a-z<&'\"\n\\\\]{0,5}", Just("{{a}}".to_owned()), Just("{{b.c}}".to_owned()), Just("{{b.0}}".to_owned()),
            Just("{{this.a}}".to_owned()), Just("{{@meta.source}}".to_owned()), Just("{{ a }}".to_owned()), Just("{{~a~}}".to_owned()),
        ], 0..6),
        a in leaf(), b in leaf(),
        escape in prop::sample::select(vec![Escape::None, Escape::UrlPath, Escape::UrlQuery, Escape::Header, Escape::FilePath]),
    ) {
        let text = pieces.concat();
        let vars = JsonMap::new();
        let short = Template::compile(&text, &[], &vars, escape, String::new());
        let engine = Template::by_engine(&text, &vars, escape);
        prop_assert_eq!(short.is_ok(), engine.is_ok());
        if let (Ok(short), Ok(engine)) = (short, engine) {
            prop_assert!(short.is_direct());
            let record = record(json!({"a": a, "b": b}));
            let (short, engine) = (short.render(&record), engine.render(&record));
            prop_assert_eq!(short.as_ref().ok(), engine.as_ref().ok());
        }
    }

    #[test]
    fn no_text_makes_the_compiler_panic(text in r#"[{}#/@~&>! "'=()\[\].a-c|]{0,40}"#) {
        let _compiled = Template::compile(&text, &[], &JsonMap::new(), Escape::None, String::new()).is_ok();
    }
}

#[test]
fn what_the_environment_brought_in_is_never_template() {
    let text = "x {{a}} y";
    let template = Template::compile(
        &format!("{text} {{{{a}}}}"),
        std::slice::from_ref(&(2..7)),
        &JsonMap::new(),
        Escape::None,
        String::new(),
    )
    .unwrap();
    assert_eq!(template.render(&record(json!({"a": 1}))).unwrap(), "x {{a}} y 1");
}
