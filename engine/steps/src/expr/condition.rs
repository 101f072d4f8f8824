//! *Condition* settings: an RFC 9535 logical expression, or `{jq: …}`.

use std::sync::Arc;

use karez_api::{Condition, Evaluate, Fault, Json, Path, Problem, Record, Scope, constant};

use super::jq::Program;
use super::jsonpath::{Logical, Query, parse_condition};
use super::literal_ranges;

pub(super) fn compile(scope: &Scope<'_>, at: &Path, setting: &Json) -> Result<Condition, Problem> {
    match setting {
        Json::String(text) => path_condition(scope, at, text),
        Json::Bool(always) => Ok(constant(*always)),
        Json::Object(fields) if fields.len() == 1 && fields.contains_key("jq") => {
            let program = Program::compile(scope, &at.field("jq"), &fields["jq"])?;
            Ok(Arc::new(JqCondition(program)))
        }
        _ => Err(Problem::error("bad-condition", at.clone(), "a condition is a string or {jq: '…'}")
            .help("like \"@.type == 'order'\"")),
    }
}

fn path_condition(scope: &Scope<'_>, at: &Path, text: &str) -> Result<Condition, Problem> {
    if let Some(range) = literal_ranges(scope, at).first() {
        return Err(Problem::error("bad-jsonpath", at.clone(), "${…} cannot stand in a condition")
            .within(range.clone())
            .help("put it under `vars:` and write {jq: '.x == $vars.name'}"));
    }
    let logical = parse_condition(text).map_err(|mistake| mistake.problem("bad-jsonpath", at))?;
    warn_of_existence(scope, at, text, &logical);
    Ok(Arc::new(PathCondition(logical)))
}

/// `@.x` alone asks whether x exists, which `x: false` does.
fn warn_of_existence(scope: &Scope<'_>, at: &Path, text: &str, logical: &Logical) {
    match logical {
        Logical::And(parts) | Logical::Or(parts) => {
            parts.iter().for_each(|part| warn_of_existence(scope, at, text, part));
        }
        Logical::Exists { query: Query::Single(_), within, .. } => {
            let path = &text[within.clone()];
            scope.warn(
                Problem::warning(
                    "existence-test",
                    at.clone(),
                    format!("{path} alone asks whether the field exists, not whether it is true"),
                )
                .within(within.clone())
                .help(format!("write {path} == true, or count({path}) > 0 if existence is meant")),
            );
        }
        _ => {}
    }
}

struct PathCondition(Logical);

impl Evaluate<bool> for PathCondition {
    fn eval(&self, record: &Record) -> Result<bool, Fault> {
        Ok(self.0.holds(super::value::tree(record)?))
    }
}

struct JqCondition(Arc<Program>);

impl Evaluate<bool> for JqCondition {
    fn eval(&self, record: &Record) -> Result<bool, Fault> {
        match self.0.run(record)?.as_slice() {
            [Json::Bool(answer)] => Ok(*answer),
            [_] => Err(Fault::validation(
                "condition",
                "the jq condition yielded something else than true or false",
            )),
            outputs => Err(Fault::validation(
                "condition",
                format!("the jq condition yielded {} values instead of one", outputs.len()),
            )),
        }
    }
}
