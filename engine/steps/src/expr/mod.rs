//! The three languages, compiled from settings to [`Evaluate`] objects. What an expression is, is decided by the
//! kind of its setting alone: nothing is guessed at run time.

mod condition;
mod jq;
mod jsonpath;
mod metadata;
mod mistake;
mod number;
mod template;
mod text;
mod value;

use std::ops::Range;
use std::sync::Arc;

use karez_api::{Condition, Escape, Expressions, Json, Path, Problem, Scope, Text, Value};

pub(crate) use jq::Program;
pub use jq::{JqRuns, jq_runs};
pub(crate) use jsonpath::{Query, Step, parse_pick};
pub(crate) use template::moment;
pub(crate) use value::tree;

/// JSONPath, Handlebars and jq.
#[derive(Debug, Clone, Copy, Default)]
pub struct Languages;

impl Expressions for Languages {
    fn value(&self, scope: &Scope<'_>, at: &Path, setting: &Json) -> Result<Value, Vec<Problem>> {
        value::compile(scope, at, setting)
    }
    fn text(
        &self,
        scope: &Scope<'_>,
        at: &Path,
        setting: &str,
        escape: Escape,
    ) -> Result<Text, Vec<Problem>> {
        text::compile(scope, at, setting, escape).map_err(|problem| vec![problem])
    }
    fn condition(&self, scope: &Scope<'_>, at: &Path, setting: &Json) -> Result<Condition, Vec<Problem>> {
        condition::compile(scope, at, setting).map_err(|problem| vec![problem])
    }
    fn place(&self, at: &Path, setting: &str) -> Result<karez_api::Place, Problem> {
        crate::steps::Place::read(at, setting).map(|place| Arc::new(place) as karez_api::Place)
    }
}

/// Follows names from the root as templates do: fields of maps, positions in lists.
fn descend<'a>(tree: &'a Json, path: &[String]) -> Option<&'a Json> {
    path.iter().try_fold(tree, |value, name| match value {
        Json::Object(fields) => karez_api::field(fields, name),
        Json::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The bytes of a string that `${…}` wrote: never an expression.
fn literal_ranges<'a>(scope: &Scope<'a>, at: &Path) -> &'a [Range<usize>] {
    scope.literal.get(at).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
