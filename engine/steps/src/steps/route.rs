//! `route`: sends a record to the outputs whose conditions are true.

use karez_api::{
    Checker, Condition, DEFAULT_PORT, Emit, Fault, Json, JsonMap, Path, Port, Problem, Record, Step, StepSpec,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(from = "JsonMap")]
pub(super) struct RouteSpec(JsonMap);

impl From<JsonMap> for RouteSpec {
    fn from(fields: JsonMap) -> Self {
        Self(fields)
    }
}

impl JsonSchema for RouteSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Route".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "conditions by output, taken by others as `from: ID.output`; the first that is true wins",
            "type": "object",
            "properties": {
                "else": {"type": "string", "minLength": 1, "description": "where the rest goes: a name for an output of its own, `dead_letter` or `drop`"},
                "match": {"enum": ["first", "all"], "default": "first", "description": "whether one output gets the record, or every one whose condition is true"}
            },
            "required": ["else"],
            "minProperties": 2,
            "additionalProperties": {
                "type": ["string", "object", "boolean"],
                "x-karez-kind": "condition",
                "description": "the condition of this output"
            }
        })
    }
}

impl StepSpec for RouteSpec {
    const NAME: &'static str = "route";
    const SUMMARY: &'static str = "Sends each record to the output whose condition is true.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        let root = Path::root();
        let otherwise = self.otherwise(cx);
        let every = match self.0.get("match").and_then(Json::as_str) {
            None | Some("first") => false,
            Some("all") => true,
            Some(other) => {
                cx.report(Problem::error(
                    "bad-value",
                    root.field("match"),
                    format!("match is first or all, not {other}"),
                ));
                return None;
            }
        };
        let conditions = self.0.iter().filter(|(name, _)| !matches!(name.as_str(), "else" | "match"));
        let outputs: Vec<_> = conditions
            .map(|(name, setting)| {
                let at = root.field(name);
                if name.contains('.') || name.is_empty() {
                    cx.report(Problem::error("bad-name", at, "the name of an output has no dots").on_key());
                    return None;
                }
                Some((name.clone(), cx.condition(&at, setting)?))
            })
            .collect();
        let outputs: Vec<(String, Condition)> = outputs.into_iter().collect::<Option<_>>()?;
        let otherwise = otherwise?;
        if outputs.is_empty() || outputs.len() >= usize::from(Port::MAX) {
            cx.report(Problem::error("bad-value", root, "a route has at least one output beside else"));
            return None;
        }
        if let Otherwise::Output(name) = &otherwise
            && outputs.iter().any(|(other, _)| other == name)
        {
            cx.report(Problem::error(
                "duplicate-name",
                root.field("else"),
                format!("output {name} stands twice"),
            ));
            return None;
        }
        Some(Box::new(Route { outputs, otherwise, every }))
    }
}

impl RouteSpec {
    fn otherwise(&self, cx: &Checker<'_>) -> Option<Otherwise> {
        match self.0.get("else").and_then(Json::as_str) {
            Some("drop") => Some(Otherwise::Drop),
            Some("dead_letter") => Some(Otherwise::DeadLetter),
            Some(name) if !name.is_empty() && !name.contains('.') => Some(Otherwise::Output(name.to_owned())),
            Some(_) => {
                cx.report(Problem::error(
                    "bad-name",
                    Path::root().field("else"),
                    "the name of an output has no dots",
                ));
                None
            }
            None => {
                let problem = Problem::error("missing-field", Path::root(), "a route needs else");
                cx.report(
                    problem.help("name an output for the rest, or write else: drop or else: dead_letter"),
                );
                None
            }
        }
    }
}

enum Otherwise {
    Output(String),
    DeadLetter,
    Drop,
}

struct Route {
    outputs: Vec<(String, Condition)>,
    otherwise: Otherwise,
    every: bool,
}

impl Step for Route {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        for (port, (_, condition)) in (DEFAULT_PORT + 1..).zip(&self.outputs) {
            if condition.eval(&record)? {
                if !self.every {
                    out.push_to(port, record);
                    return Ok(());
                }
                out.push_to(port, record.clone());
            }
        }
        if !out.is_empty() {
            return Ok(());
        }
        match &self.otherwise {
            Otherwise::Output(_) => out.push_to(self.else_port(), record),
            Otherwise::DeadLetter => {
                return Err(Fault::validation("route", "no condition of the route is true"));
            }
            Otherwise::Drop => {}
        }
        Ok(())
    }

    fn outputs(&self) -> Vec<String> {
        let named = self.outputs.iter().map(|(name, _)| name.clone());
        let rest = match &self.otherwise {
            Otherwise::Output(name) => Some(name.clone()),
            _ => None,
        };
        named.chain(rest).collect()
    }

    fn has_default_output(&self) -> bool {
        false
    }
}

impl Route {
    fn else_port(&self) -> Port {
        Port::try_from(self.outputs.len() + 1).unwrap_or(Port::MAX)
    }
}
