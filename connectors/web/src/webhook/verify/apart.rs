//! Checks a `verify` outside of a pipeline file: nothing in it is an expression or the name of something shared.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use karez_api::{
    Checker, Condition, Encode, Escape, Expressions, Json, JsonMap, Path, Problem, Reuse, Scope, Text, Value,
};

/// # Errors
/// What is wrong, with its places.
pub(in super::super) fn check<T>(build: impl FnOnce(&Checker<'_>) -> Option<T>) -> Result<T, Vec<Problem>> {
    let (vars, literal) = (Arc::new(JsonMap::new()), BTreeMap::new());
    let (warnings, problems) = (RefCell::default(), RefCell::default());
    let built = build(&Checker {
        node: "source".into(),
        pipeline: "".into(),
        at: Path::root(),
        encode: Encode::Json,
        expressions: &Nothing,
        scope: Scope { vars: &vars, literal: &literal, warnings: &warnings },
        reuse: &Nothing,
        problems: &problems,
    });
    built.ok_or_else(|| problems.take())
}

struct Nothing;

fn no_expression(at: &Path) -> Vec<Problem> {
    vec![Problem::error("no-expression", at.clone(), "there are no expressions here")]
}

impl Expressions for Nothing {
    fn value(&self, _: &Scope<'_>, at: &Path, _: &Json) -> Result<Value, Vec<Problem>> {
        Err(no_expression(at))
    }
    fn text(&self, _: &Scope<'_>, at: &Path, _: &str, _: Escape) -> Result<Text, Vec<Problem>> {
        Err(no_expression(at))
    }
    fn condition(&self, _: &Scope<'_>, at: &Path, _: &Json) -> Result<Condition, Vec<Problem>> {
        Err(no_expression(at))
    }
}

impl Reuse for Nothing {
    fn connection(&self, _: &str) -> Option<Json> {
        None
    }
    fn schema(&self, _: &str) -> Result<Json, String> {
        Err("there are no schemas here".into())
    }
    fn mapping(&self, _: &str) -> Option<Json> {
        None
    }
    fn names(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}
