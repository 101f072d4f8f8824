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

/// What a template yields for a record, or why it refuses it.
fn print(text: &str, body: Json) -> Result<String, String> {
    let template = Template::compile(text, &[], &JsonMap::new(), Escape::None, "p".into())
        .map_err(|mistake| mistake.message)?;
    template.render(&record(body)).map_err(|fault| fault.message().to_owned())
}

#[test]
fn each_helper_does_what_its_name_says() {
    let body = json!({
        "s": " Ada & Bo ", "e": "", "n": 3, "i": 0, "f": 1.5, "t": true, "z": null, "l": ["x", "y"], "o": {"k": "v"},
        "at": "2026-03-05T07:08:09Z", "ms": 1_700_000_000_123_i64
    });
    for (text, expected) in [
        ("{{lower s}}|{{upper s}}|{{trim s}}", " ada & bo | ADA & BO |Ada & Bo"),
        ("{{upper (trim s)}}", "ADA & BO"),
        ("{{replace s \" \" \"_\"}}", "_Ada_&_Bo_"),
        ("{{json o}} {{json l}} {{json z}} {{json s}}", "{\"k\":\"v\"} [\"x\",\"y\"] null \" Ada & Bo \""),
        ("{{default missing \"d\"}}{{default z \"d\"}}{{default e \"d\"}}{{default n 1}}", "dd3"),
        ("{{url s}}", "%20Ada%20%26%20Bo%20"),
        ("{{base64 s}}", "IEFkYSAmIEJvIA=="),
        ("{{sha256 n}}", "4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce"),
        (
            "{{hmac \"what do ya want for nothing?\" key=\"Jefe\"}}",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        ("{{date at \"yyyy-MM-dd HH:mm\" tz=\"Asia/Tehran\"}}", "2026-03-05 10:38"),
        ("{{date ms \"ss.SSS\" unit=\"ms\"}}", "20.123"),
        ("{{lookup l i}}{{lookup l 1}}{{lookup o \"k\"}}", "xyv"),
        ("{{len l}}{{len o}}{{len s}}", "2110"),
        (
            "{{eq n 3}} {{ne n 3}} {{lt n 4}} {{lte n 3}} {{gt n 3}} {{gte n 3.0}}",
            "true false true true false true",
        ),
        ("{{and t n}} {{and t z}} {{or z n}} {{or z e}} {{not z}}", "true false true false true"),
        ("{{#if t}}yes{{else}}no{{/if}}{{#unless t}}no{{/unless}}", "yes"),
        ("{{#each l}}{{@index}}{{this}}{{#unless @last}},{{/unless}}{{/each}}", "0x,1y"),
        ("{{#with o}}{{k}}{{/with}}", "v"),
        ("{{now}} {{@meta.id}}", "1970-01-01T00:00:00.000Z r"),
        ("{{z}}{{n}} {{f}} {{t}}", "3 1.5 true"),
    ] {
        assert_eq!(print(text, body.clone()).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn a_uuid_is_the_same_on_every_retry_and_another_at_every_place() {
    let twice = print("{{uuid}} {{uuid}}", json!({})).unwrap();
    let (first, second) = twice.split_once(' ').unwrap();
    assert_ne!(first, second);
    assert_eq!(print("{{uuid}} {{uuid}}", json!({})).unwrap(), twice);
    assert_eq!((first.len(), &first[14..15]), (36, "8"));
}

#[test]
fn a_helper_refuses_what_it_cannot_do() {
    for (text, expected) in [
        ("{{upper o}}", "upper takes text"),
        ("{{upper missing}}", "missing is missing"),
        ("{{date s \"yyyy\"}}", "not an RFC 3339 time"),
        ("{{replace s e \"x\"}}", "something to look for"),
        ("{{len n}}", "len takes"),
        ("{{o}}", "is an object"),
        ("{{l}}", "is an array"),
    ] {
        let body = json!({"s": "a", "e": "", "n": 1, "o": {}, "l": []});
        let refused = print(text, body).unwrap_err();
        assert!(refused.contains(expected), "{text}: {refused}");
    }
}

#[test]
fn a_block_that_yields_nothing_leaves_no_segment_empty() {
    let path = |text: &str, body: Json| {
        let template = Template::compile(text, &[], &JsonMap::new(), Escape::UrlPath, "p".into()).unwrap();
        template.render(&record(body)).map_err(|fault| fault.message().to_owned())
    };
    let text = "/users/{{#if id}}{{id}}{{/if}}";
    assert_eq!(path(text, json!({"id": 7})).as_deref(), Ok("/users/7"));
    assert_eq!(path(text, json!({})), Err("a segment of the path \"/users/\" would be empty".into()));
    assert!(path("{{#if id}}{{id}}{{/if}}", json!({})).is_err());
    assert!(path("/{{id}}", json!({"id": ""})).is_err());
    // What the author wrote so is meant so.
    assert_eq!(path("/users{{#if id}}/{{id}}{{/if}}/", json!({})).as_deref(), Ok("/users/"));
    assert_eq!(path("/a//{{#if id}}{{id}}{{else}}none{{/if}}", json!({})).as_deref(), Ok("/a//none"));
}
