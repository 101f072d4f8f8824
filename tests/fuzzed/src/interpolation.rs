//! `${…}` in a string of a file, against the rule written out once more.

use std::collections::HashMap;

use karez_api::{Body, Emit, Form, Json, Meta, Record, RecordId};
use karez_config::{Environment as _, SourceFile, StoredSecret};

use crate::lent::NOW;
use crate::pipeline::{World, assert_placed, load};

/// The string, then the value of `${A}`.
pub fn interpolation(data: &[u8]) {
    let mut parts = crate::parts(data).map(|part| String::from_utf8_lossy(part).into_owned());
    let text = parts.next().unwrap_or_default();
    let world = World(HashMap::from([("A", parts.next().unwrap_or_default()), ("EMPTY", String::new())]));
    let file = format!(
        "name: p\nsource: {{generate: {{count: 1}}}}\nsteps:\n  - set: {{x: {{literal: {}}}}}\nsink: {{blackhole: {{}}}}\n",
        quoted(&text)
    );
    let file = SourceFile { path: "p.yaml".into(), text: file.into_bytes(), layer: 0 };
    let shown = String::from_utf8_lossy(&file.text).into_owned();
    let loaded = load(vec![file], &world);
    for problem in &loaded.problems {
        assert_placed(problem, &shown);
    }
    match expected(&text, &world) {
        Some(expected) => {
            assert!(!loaded.has_errors(), "{:?}", loaded.problems);
            assert_eq!(loaded.pipelines[0].steps.len(), 1);
            assert_eq!(result(&loaded.pipelines[0].steps[0]), Json::String(expected));
        }
        None => assert!(loaded.has_errors() && loaded.pipelines.is_empty()),
    }
}

/// Double-quoted YAML.
fn quoted(text: &str) -> String {
    let one = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        ' '..='~' => c.to_string(),
        _ => format!("\\U{:08x}", u32::from(c)),
    };
    format!("\"{}\"", text.chars().map(one).collect::<String>())
}

/// What `set` made.
fn result(step: &karez_api::StepNode) -> Json {
    let karez_api::Act::Apply(step) = &step.act else { panic!("set asks nobody") };
    let meta = Meta::new(RecordId::text("r"), "source".into(), NOW);
    let mut out = Emit::default();
    step.apply(Record::new(Body::from_bytes(Form::Json, "{}".into()), meta), &mut out).unwrap();
    let (_, record) = out.drain().next().unwrap();
    record.body().tree().unwrap()["x"].clone()
}

/// The text with everything put in; `None` where something is missing or malformed.
fn expected(text: &str, world: &World) -> Option<String> {
    let mut rest = text;
    let mut result = String::new();
    loop {
        let Some(at) = rest.find("${") else {
            return Some(result + rest);
        };
        if let Some(before) = rest[..at].strip_suffix('$') {
            result.push_str(before);
            result.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        result.push_str(&rest[..at]);
        let (inner, behind) = rest[at + 2..].split_once('}')?;
        result.push_str(&looked_up(inner, world)?);
        rest = behind;
    }
}

fn looked_up(inner: &str, world: &World) -> Option<String> {
    if let Some(path) = inner.strip_prefix("file:") {
        return world.file(path).ok().map(|text| text.trim_end_matches('\n').to_owned());
    }
    if let Some(name) = inner.strip_prefix("secret:") {
        return match world.secret(name).ok().flatten()? {
            StoredSecret::Value(text) => Some(text.expose().to_owned()),
            StoredSecret::NotAtHand => None,
        };
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (inner, None),
    };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match default {
        None => world.var(name),
        Some(default) => world.var(name).filter(|value| !value.is_empty()).or(Some(default)),
    }
}
