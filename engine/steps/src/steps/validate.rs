//! `validate`: refuses records that do not fit a JSON Schema (draft 2020-12).

mod keywords;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use karez_api::{Checker, Emit, Fault, Json, Path, Problem, Record, Severity, Step, StepSpec, suggest};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::expr::tree;

/// Errors that a refusal lists.
const MAX_LISTED: usize = 3;

/// A schema by name, by file or inline.
#[derive(Deserialize)]
#[serde(from = "Json")]
pub(super) struct ValidateSpec(Json);

impl From<Json> for ValidateSpec {
    fn from(json: Json) -> Self {
        Self(json)
    }
}

impl JsonSchema for ValidateSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Validate".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a JSON Schema (draft 2020-12) that every record must fit: the name of one, {file: path} or {schema: {…}}",
            "oneOf": [
                {"type": "string", "minLength": 1, "description": "the name of a registered schema, or of schemas/NAME.schema.json"},
                {
                    "type": "object",
                    "properties": {"file": {"type": "string", "minLength": 1, "description": "a schema file, relative to the pipeline file"}},
                    "required": ["file"],
                    "additionalProperties": false
                },
                {
                    "type": "object",
                    "properties": {"schema": {"type": ["object", "boolean"], "description": "the schema itself"}},
                    "required": ["schema"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

impl StepSpec for ValidateSpec {
    const NAME: &'static str = "validate";
    const SUMMARY: &'static str = "Refuses records that do not fit a JSON Schema.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        let (at, schema) = match &self.0 {
            Json::String(name) => (Path::root(), named(cx, &Path::root(), name)?),
            Json::Object(fields) => match (fields.get("file"), fields.get("schema")) {
                (Some(Json::String(file)), None) => {
                    (Path::root().field("file"), named(cx, &Path::root().field("file"), file)?)
                }
                (None, Some(schema)) => (Path::root().field("schema"), schema.clone()),
                _ => return wrong(cx),
            },
            _ => return wrong(cx),
        };
        let inline = matches!(&self.0, Json::Object(fields) if fields.contains_key("schema"));
        for misspelt in keywords::misspelt(&schema) {
            let problem = misspelt.problem(&cx.at.join(&at), inline).on_key();
            cx.scope.warn(Problem { severity: Severity::Warning, ..problem });
        }
        match shared(&schema) {
            Ok(validator) => Some(Box::new(Validate(validator))),
            Err(mistakes) => {
                mistakes.into_iter().for_each(|mistake| cx.report(mistake.problem(&at, inline)));
                None
            }
        }
    }
}

fn wrong(cx: &Checker<'_>) -> Option<Box<dyn Step>> {
    cx.report(
        Problem::error(
            "bad-value",
            Path::root(),
            "validate takes the name of a schema, {file: …} or {schema: …}",
        )
        .help("like validate: user"),
    );
    None
}

fn named(cx: &Checker<'_>, at: &Path, name: &str) -> Option<Json> {
    cx.reuse
        .schema(name)
        .map_err(|message| cx.report(Problem::error("unknown-schema", at.clone(), message)))
        .ok()
}

/// What is wrong with a schema, and where in it.
struct BadSchema {
    keys: Vec<String>,
    message: String,
    help: Option<String>,
}

impl BadSchema {
    fn problem(self, at: &Path, inline: bool) -> Problem {
        let message = match inline {
            true => format!("bad schema: {}", self.message),
            false => format!("bad schema at /{}: {}", self.keys.join("/"), self.message),
        };
        let keys = if inline { self.keys } else { Vec::new() };
        let at = keys.iter().fold(at.clone(), |at, key| match key.parse() {
            Ok(index) => at.index(index),
            Err(_) => at.field(key),
        });
        Problem { help: self.help, ..Problem::error("bad-schema", at, message) }
    }

    fn new(error: &ValidationError<'_>) -> Self {
        let keys: Vec<String> = error.instance_path().as_str().split('/').skip(1).map(unescape).collect();
        if keys.last().is_some_and(|key| key == "type") {
            let found = error.instance().as_str().unwrap_or_default();
            let help = match suggest::nearest(found, TYPES) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there are {}", TYPES.join(", ")),
            };
            return Self { keys, message: format!("{} is not a type", error.instance()), help: Some(help) };
        }
        Self { keys, message: error.to_string(), help: None }
    }
}

/// The types of JSON Schema.
const TYPES: [&str; 7] = ["null", "boolean", "object", "array", "number", "string", "integer"];

/// Validators in use, by the text of their schema: a thousand pipelines that use one schema share one.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Weak<Validator>>>> = LazyLock::new(Mutex::default);

fn shared(schema: &Json) -> Result<Arc<Validator>, Vec<BadSchema>> {
    let text = schema.to_string();
    let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(validator) = validators.get(&text).and_then(Weak::upgrade) {
        return Ok(validator);
    }
    let validator = Arc::new(compile(schema)?);
    validators.retain(|_, validator| validator.strong_count() > 0);
    validators.insert(text, Arc::downgrade(&validator));
    Ok(validator)
}

fn compile(schema: &Json) -> Result<Validator, Vec<BadSchema>> {
    if let Some((keys, reference)) = remote_reference(schema, &mut Vec::new()) {
        let message = format!("{reference} is not inside this schema, and nothing is fetched");
        return Err(vec![BadSchema { keys, message, help: Some("write it out under `$defs`".into()) }]);
    }
    let mistakes: Vec<_> = jsonschema::draft202012::meta::validator()
        .iter_errors(schema)
        .map(|error| BadSchema::new(&error))
        .collect();
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(1 << 20))
        .should_validate_formats(true)
        .offline()
        .build(schema)
        .map_err(|error| vec![BadSchema::new(&error)])
}

/// RFC 6901 §4.
fn unescape(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}

/// The first `$ref` that leads to another host.
fn remote_reference(schema: &Json, keys: &mut Vec<String>) -> Option<(Vec<String>, String)> {
    match schema {
        Json::Object(fields) => fields.iter().find_map(|(key, value)| {
            keys.push(key.clone());
            let found = match value {
                Json::String(target) if (key == "$ref" || key == "$dynamicRef") && target.contains("://") => {
                    let known = target.starts_with("https://json-schema.org/draft/2020-12/");
                    (!known).then(|| (keys.clone(), target.clone()))
                }
                _ => remote_reference(value, keys),
            };
            keys.pop();
            found
        }),
        Json::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            keys.push(index.to_string());
            let found = remote_reference(item, keys);
            keys.pop();
            found
        }),
        _ => None,
    }
}

struct Validate(Arc<Validator>);

impl Step for Validate {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        let tree = tree(&record)?;
        if !self.0.is_valid(tree) {
            return Err(Fault::validation("schema", self.explain(tree)));
        }
        out.push(record);
        Ok(())
    }
}

impl Validate {
    fn explain(&self, tree: &Json) -> String {
        let mut errors = self.0.iter_errors(tree);
        let listed: Vec<_> = errors
            .by_ref()
            .take(MAX_LISTED)
            .map(|error| {
                let place = error.instance_path().as_str();
                // The value itself may be secret or long; the schema's own words suffice.
                let message: String = error.masked().to_string().chars().take(200).collect();
                if place.is_empty() { message } else { format!("{place}: {message}") }
            })
            .collect();
        let more = if errors.next().is_some() { "; and more" } else { "" };
        format!("{}{more}", listed.join("; "))
    }
}
