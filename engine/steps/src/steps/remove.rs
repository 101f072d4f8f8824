//! `remove`: takes fields out.

use karez_api::{Checker, Emit, Fault, Path, Record, Step, StepSpec};
use schemars::JsonSchema;
use serde::Deserialize;

use super::place::{Place, edit};

/// Fields to take out, by name or by a path that begins with `$.`; one that is not there is no error.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-karez-kind" = "names"))]
pub(super) struct RemoveSpec(Vec<String>);

impl StepSpec for RemoveSpec {
    const NAME: &'static str = "remove";
    const SUMMARY: &'static str = "Takes fields out of the record.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        let places: Vec<_> = self
            .0
            .iter()
            .enumerate()
            .map(|(index, key)| Place::compile(cx, &Path::root().index(index), key, false))
            .collect();
        Some(Box::new(Remove(places.into_iter().collect::<Option<_>>()?)))
    }
}

struct Remove(Vec<Place>);

impl Step for Remove {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        out.push(edit(record, |tree| {
            for place in &self.0 {
                place.take(tree);
            }
            Ok(())
        })?);
        Ok(())
    }
}
