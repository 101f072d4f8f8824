//! `jq`: the whole record through a program.

use std::sync::Arc;

use karez_api::{Body, Checker, Emit, Fault, Json, Path, Record, Step, StepSpec};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::split::emit_children;
use crate::expr::Program;

#[derive(Deserialize)]
#[serde(from = "Json")]
pub(super) struct JqSpec(Json);

impl From<Json> for JqSpec {
    fn from(json: Json) -> Self {
        Self(json)
    }
}

impl JsonSchema for JqSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Jq".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a jq program; `$meta` and `$vars` are at hand",
            "oneOf": [
                {"type": "string", "x-karez-kind": "jq", "description": "the program"},
                {
                    "type": "object",
                    "properties": {
                        "program": {"type": "string", "x-karez-kind": "jq", "description": "the program"},
                        "unbounded": {"type": "boolean", "default": false, "description": "allows recursion, repeat, while, until and recurse(f); a run over 1 s is still given up"}
                    },
                    "required": ["program"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

impl StepSpec for JqSpec {
    const NAME: &'static str = "jq";
    const SUMMARY: &'static str =
        "Puts the record through a jq program: no output filters it, several make several records.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        let at = cx.at.join(&Path::root());
        let program = Program::compile(&cx.scope, &at, &self.0)
            .map_err(|problem| cx.problems.borrow_mut().push(problem));
        Some(Box::new(Jq { node: Arc::clone(&cx.node), program: program.ok()? }))
    }
}

struct Jq {
    node: Arc<str>,
    program: Arc<Program>,
}

impl Step for Jq {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        let mut outputs = self.program.run(&record)?;
        if outputs.len() > 1 {
            return emit_children(&record, &self.node, outputs, out);
        }
        if let Some(tree) = outputs.pop() {
            out.push(record.with_body(Body::from_tree(tree)));
        }
        Ok(())
    }
}
