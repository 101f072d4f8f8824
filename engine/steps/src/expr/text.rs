//! *Text* settings: a template or a literal; `$` means nothing.

use karez_api::{Escape, Evaluate, Fault, Path, Problem, Record, Scope, Text, constant};

use super::literal_ranges;
use super::template::Template;

pub(super) fn compile(scope: &Scope<'_>, at: &Path, setting: &str, escape: Escape) -> Result<Text, Problem> {
    if !is_template(scope, at, setting) {
        return Ok(constant(setting.to_owned()));
    }
    let template = template(scope, at, setting, escape)?;
    match template.constant() {
        Some(Ok(text)) => Ok(constant(text)),
        Some(Err(mistake)) => Err(mistake.problem("bad-template", at)),
        None => Ok(std::sync::Arc::new(Rendered(template))),
    }
}

/// Whether `{{` stands in a string outside of what `${…}` wrote.
pub(super) fn is_template(scope: &Scope<'_>, at: &Path, setting: &str) -> bool {
    let literal = literal_ranges(scope, at);
    setting
        .match_indices("{{")
        .any(|(found, _)| !literal.iter().any(|range| range.contains(&found) || range.contains(&(found + 1))))
}

pub(super) fn template(
    scope: &Scope<'_>,
    at: &Path,
    setting: &str,
    escape: Escape,
) -> Result<Template, Problem> {
    Template::compile(setting, literal_ranges(scope, at), scope.vars, escape, at.to_string())
        .map_err(|mistake| mistake.problem("bad-template", at))
}

struct Rendered(Template);

impl Evaluate<String> for Rendered {
    fn eval(&self, record: &Record) -> Result<String, Fault> {
        self.0.render(record)
    }
}
