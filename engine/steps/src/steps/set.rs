//! `set`: changes the given fields and keeps the rest.

use karez_api::{Checker, Emit, Fault, JsonMap, Path, Record, Step, StepSpec, Value};
use schemars::JsonSchema;
use serde::Deserialize;

use super::place::{Place, edit};

/// Fields to write, by name or by a path that begins with `$.`; all values see the record as it came in.
/// A value that matches nothing leaves its field as it was.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-karez-kind" = "value"))]
pub(super) struct SetSpec(JsonMap);

impl StepSpec for SetSpec {
    const NAME: &'static str = "set";
    const SUMMARY: &'static str = "Changes the given fields and keeps the rest.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        let fields: Vec<_> = self
            .0
            .iter()
            .map(|(key, setting)| {
                let at = Path::root().field(key);
                let place = Place::compile(cx, &at, key, true);
                Some((place?, cx.value(&at, setting)?))
            })
            .collect();
        Some(Box::new(Set(fields.into_iter().collect::<Option<_>>()?)))
    }
}

struct Set(Vec<(Place, Value)>);

impl Step for Set {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        let mut values = Vec::with_capacity(self.0.len());
        for (place, value) in &self.0 {
            if let Some(value) = value.eval(&record)? {
                values.push((place, value));
            }
        }
        out.push(edit(record, |tree| {
            values.into_iter().try_for_each(|(place, value)| place.put(tree, value))
        })?);
        Ok(())
    }
}
