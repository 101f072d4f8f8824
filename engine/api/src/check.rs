//! What a spec has at hand while it is checked and turned into a plan: pure, no I/O.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::{Condition, Encode, Escape, Expressions, Json, JsonMap, Path, Problem, Text, Value};

/// The names an expression may use beside its record, and where literal text stands in it.
pub struct Scope<'a> {
    /// `{{@vars.…}}`, `$vars`.
    pub vars: &'a Arc<JsonMap>,
    /// For strings that `${…}` wrote to: which bytes of the string are literal text, never an expression.
    pub literal: &'a BTreeMap<Path, Vec<Range<usize>>>,
    /// Problems that do not stop the file: warnings.
    pub warnings: &'a RefCell<Vec<Problem>>,
}

impl Scope<'_> {
    pub fn warn(&self, problem: Problem) {
        self.warnings.borrow_mut().push(problem);
    }
}

/// What a component may look up by name.
pub trait Reuse {
    /// A connection of a shared file: its settings. All of them are fixed, so no text in them is a pick or template.
    fn connection(&self, name: &str) -> Option<Json>;
    /// A JSON Schema registered by name, or in a file relative to the pipeline file.
    ///
    /// # Errors
    /// A sentence that says what is missing and which names exist.
    fn schema(&self, name_or_path: &str) -> Result<Json, String>;
    /// A mapping of a shared file.
    fn mapping(&self, name: &str) -> Option<Json>;
    /// The sources of the same pipeline.
    fn sources(&self) -> Vec<Neighbour> {
        Vec::new()
    }
    /// All names of a kind (`connections`, `schemas`, `mappings`), for suggestions.
    fn names(&self, kind: &str) -> Vec<String>;
}

/// A source, for another node of its pipeline.
#[derive(Debug, Clone)]
pub struct Neighbour {
    pub name: String,
    /// The component's type.
    pub kind: &'static str,
    /// Where its settings stand in the file.
    pub at: Path,
    pub settings: Json,
}

/// The context of one node's check. Problems are collected; a check that reported an error yields no plan.
pub struct Checker<'a> {
    /// The node's name in its pipeline.
    pub node: Arc<str>,
    pub pipeline: Arc<str>,
    /// Where the component's settings stand in its file.
    pub at: Path,
    /// How a sink writes a record that has no `body` of its own.
    pub encode: Encode,
    pub expressions: &'a dyn Expressions,
    pub scope: Scope<'a>,
    pub reuse: &'a dyn Reuse,
    pub problems: &'a RefCell<Vec<Problem>>,
}

impl Checker<'_> {
    /// Reports a problem; its path is relative to the component's settings.
    pub fn report(&self, problem: Problem) {
        let at = self.at.join(&problem.at);
        self.problems.borrow_mut().push(Problem { at, ..problem });
    }

    /// Compiles a *value* setting at `field` (relative); reports and yields nothing if it is wrong.
    pub fn value(&self, field: &Path, setting: &Json) -> Option<Value> {
        self.keep(self.expressions.value(&self.scope, &self.at.join(field), setting))
    }

    pub fn text(&self, field: &Path, setting: &str, escape: Escape) -> Option<Text> {
        self.keep(self.expressions.text(&self.scope, &self.at.join(field), setting, escape))
    }

    pub fn condition(&self, field: &Path, setting: &Json) -> Option<Condition> {
        self.keep(self.expressions.condition(&self.scope, &self.at.join(field), setting))
    }

    /// A place in the record to write to, named at `field` (relative).
    pub fn place(&self, field: &Path, setting: &str) -> Option<crate::Place> {
        self.keep(self.expressions.place(&self.at.join(field), setting).map_err(|problem| vec![problem]))
    }

    fn keep<T>(&self, compiled: Result<T, Vec<Problem>>) -> Option<T> {
        compiled.map_err(|problems| self.problems.borrow_mut().extend(problems)).ok()
    }
}
