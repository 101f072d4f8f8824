//! `filter`: keeps the records for which a condition is true.

use karez_api::{Checker, Condition, Emit, Fault, Json, Path, Record, Step, StepSpec};
use schemars::JsonSchema;
use serde::Deserialize;

/// The condition under which a record goes on: a JSONPath expression such as `@.type == 'order'`, or `{jq: …}`.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-karez-kind" = "condition"))]
pub(super) struct FilterSpec(Json);

impl StepSpec for FilterSpec {
    const NAME: &'static str = "filter";
    const SUMMARY: &'static str = "Keeps the records for which a condition is true.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        Some(Box::new(Filter(cx.condition(&Path::root(), &self.0)?)))
    }
}

struct Filter(Condition);

impl Step for Filter {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        if self.0.eval(&record)? {
            out.push(record);
        }
        Ok(())
    }
}
