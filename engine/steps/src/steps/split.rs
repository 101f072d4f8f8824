//! `split`: one record per element.

use std::sync::Arc;

use karez_api::{Body, Checker, Emit, Fault, Json, JsonMap, Path, Problem, Record, Step, StepSpec, Value};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// Records that one record may become.
pub(super) const MAX_CHILDREN: usize = 10_000;
/// What they may add up to, in bytes of their trees.
pub(super) const MAX_BYTES: usize = 64 << 20;

#[derive(Deserialize)]
#[serde(from = "Json")]
pub(super) struct SplitSpec(Json);

impl From<Json> for SplitSpec {
    fn from(json: Json) -> Self {
        Self(json)
    }
}

impl JsonSchema for SplitSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Split".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "the elements, each of which becomes a record: a pick like $.lines[*], {jq: …}, or {each, keep}",
            "oneOf": [
                {"type": "string", "x-karez-kind": "value", "description": "a pick like $.lines[*]"},
                {
                    "type": "object",
                    "properties": {"jq": {"description": "a jq program that yields an array", "x-karez-kind": "value"}},
                    "required": ["jq"],
                    "additionalProperties": false
                },
                {
                    "type": "object",
                    "properties": {
                        "each": {"description": "the elements: a pick like $.lines[*], or {jq: …}", "x-karez-kind": "value"},
                        "keep": {"type": "object", "description": "fields of the whole record to add to each element, by name", "x-karez-kind": "value"}
                    },
                    "required": ["each"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

impl StepSpec for SplitSpec {
    const NAME: &'static str = "split";
    const SUMMARY: &'static str = "Makes one record of each element; no element is no record.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        let (at, each, keep) = match &self.0 {
            Json::Object(fields) if fields.contains_key("each") => {
                if let Some(unknown) = fields.keys().find(|key| !matches!(key.as_str(), "each" | "keep")) {
                    cx.report(
                        Problem::error("unknown-field", Path::root().field(unknown), "unknown field")
                            .on_key(),
                    );
                    return None;
                }
                (Path::root().field("each"), &fields["each"], fields.get("keep"))
            }
            whole => (Path::root(), whole, None),
        };
        let each = cx.value(&at, each)?;
        let keep = match keep {
            None => Vec::new(),
            Some(Json::Object(fields)) => {
                let kept: Vec<_> = fields
                    .iter()
                    .map(|(name, setting)| {
                        Some((name.clone(), cx.value(&Path::root().field("keep").field(name), setting)?))
                    })
                    .collect();
                kept.into_iter().collect::<Option<_>>()?
            }
            Some(_) => {
                cx.report(Problem::error(
                    "bad-value",
                    Path::root().field("keep"),
                    "keep is a map of names and values",
                ));
                return None;
            }
        };
        Some(Box::new(Split { node: Arc::clone(&cx.node), each, keep }))
    }
}

struct Split {
    node: Arc<str>,
    each: Value,
    keep: Vec<(String, Value)>,
}

impl Step for Split {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        let elements = match self.each.eval(&record)? {
            None | Some(Json::Null) => return Ok(()),
            Some(Json::Array(elements)) => elements,
            Some(_) => {
                return Err(Fault::validation(
                    "split",
                    "what is split is not an array; pick the elements with [*]",
                ));
            }
        };
        let mut kept = JsonMap::new();
        for (name, value) in &self.keep {
            if let Some(value) = value.eval(&record)? {
                kept.insert(name.clone(), value);
            }
        }
        let bodies =
            elements.into_iter().map(|element| merged(element, &kept)).collect::<Result<Vec<_>, _>>()?;
        emit_children(&record, &self.node, bodies, out)
    }
}

fn merged(element: Json, kept: &JsonMap) -> Result<Json, Fault> {
    match element {
        Json::Object(mut fields) => {
            for (name, value) in kept {
                fields.insert(name.clone(), value.clone());
            }
            Ok(Json::Object(fields))
        }
        other if kept.is_empty() => Ok(other),
        _ => Err(Fault::validation("split", "fields can only be kept beside elements that are objects")),
    }
}

/// Makes records of trees, within the bounds of one origin.
pub(super) fn emit_children(
    record: &Record,
    node: &Arc<str>,
    bodies: Vec<Json>,
    out: &mut Emit,
) -> Result<(), Fault> {
    if bodies.len() > MAX_CHILDREN {
        return Err(Fault::validation(
            "split",
            format!("{} records from one are more than {MAX_CHILDREN}", bodies.len()),
        ));
    }
    let mut weight = 0_usize;
    for (index, tree) in (0_u32..).zip(bodies) {
        let body = Body::from_tree(tree);
        weight = weight.saturating_add(body.weight());
        if weight > MAX_BYTES {
            return Err(Fault::validation(
                "split",
                format!("the records from one take more than {} MiB", MAX_BYTES >> 20),
            ));
        }
        out.push(record.child(node, index, body));
    }
    Ok(())
}
