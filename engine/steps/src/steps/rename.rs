//! `rename`: moves fields.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use karez_api::{Checker, Emit, Fault, Path, Problem, Record, Step, StepSpec};
use schemars::JsonSchema;
use serde::Deserialize;

use super::place::{Place, edit};

/// New places by old ones, each a name or a path that begins with `$.`; an old one that is not there is no error.
#[derive(Deserialize, JsonSchema)]
pub(super) struct RenameSpec(#[schemars(with = "BTreeMap<String, String>")] IndexMap<String, String>);

impl StepSpec for RenameSpec {
    const NAME: &'static str = "rename";
    const SUMMARY: &'static str = "Moves fields to other names or places.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        let mut moves = Vec::new();
        let mut whole = true;
        for (index, (from, to)) in self.0.iter().enumerate() {
            let at = Path::root().field(from);
            if self.0.values().skip(index + 1).any(|other| other == to) {
                cx.report(Problem::error(
                    "duplicate-name",
                    at.clone(),
                    format!("two fields would become {to}"),
                ));
                whole = false;
            }
            match (Place::compile(cx, &at, from, true), Place::compile(cx, &at, to, false)) {
                (Some(from), Some(to)) => moves.push((from, to)),
                _ => whole = false,
            }
        }
        whole.then(|| Box::new(Rename(moves)) as Box<dyn Step>)
    }
}

struct Rename(Vec<(Place, Place)>);

impl Step for Rename {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        out.push(edit(record, |tree| {
            // All are taken before any is put, so that two names can change places.
            let taken: Vec<_> = self.0.iter().map(|(from, to)| (from.take(tree), to)).collect();
            taken.into_iter().try_for_each(|(value, to)| value.map_or(Ok(()), |value| to.put(tree, value)))
        })?);
        Ok(())
    }
}
