//! `map`: builds a new body from nothing.

use karez_api::{Body, Checker, Emit, Fault, Json, JsonMap, Path, Problem, Record, Step, StepSpec, Value};
use schemars::JsonSchema;
use serde::Deserialize;

/// The new record's fields by name, each a value: a pick, a template, `{jq: …}`, a literal, or a map or list of them.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-karez-kind" = "value"))]
pub(super) struct MapSpec(JsonMap);

impl StepSpec for MapSpec {
    const NAME: &'static str = "map";
    const SUMMARY: &'static str =
        "Builds a new record from nothing; every value sees the record as it came in.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        let paths_as_keys = report_paths_as_keys(cx, &Path::root(), &self.0);
        let fields = Json::Object(self.0);
        let value = cx.value(&Path::root(), &fields)?;
        (!paths_as_keys).then(|| Box::new(Map(value)) as Box<dyn Step>)
    }
}

/// Whether a key is a path, which only `set` and its like know.
fn report_paths_as_keys(cx: &Checker<'_>, at: &Path, fields: &JsonMap) -> bool {
    let mut found = false;
    for (key, value) in fields {
        let at = at.field(key);
        if key.starts_with("$.") || key.starts_with("$[") {
            found = true;
            let help = "nest maps: address: {city: $.c}; `set` can write to paths";
            cx.report(
                Problem::error("path-key", at, format!("{key} is a path; a key of map is a plain name"))
                    .on_key()
                    .help(help),
            );
        } else if let Json::Object(inner) = value
            && !(inner.len() == 1 && (inner.contains_key("literal") || inner.contains_key("jq")))
        {
            found |= report_paths_as_keys(cx, &at, inner);
        }
    }
    found
}

struct Map(Value);

impl Step for Map {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        let tree = self.0.eval(&record)?.unwrap_or_else(|| Json::Object(JsonMap::new()));
        out.push(record.with_body(Body::from_tree(tree)));
        Ok(())
    }
}
