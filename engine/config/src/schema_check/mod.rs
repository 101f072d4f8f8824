//! Settings against a component's JSON Schema: all that is wrong at once, in words for people.
//! On the way, `${…}` that fills a whole number or boolean is converted, and `{{` in fixed
//! settings and `${…}` in code are refused. Expressions themselves are not looked at here, but
//! their places are remembered.

mod dollar;
mod expressions;
mod right_type;
mod scalars;

use std::collections::BTreeMap;

use karez_api::{Json, JsonMap, Path, Problem};

use crate::interpolate::Written;
use crate::schema_view::{View, fits};
use crate::suggest;

pub(crate) use expressions::Kind;
pub(crate) use scalars::template_in_fixed;

/// What a check reads and what it finds.
pub(crate) struct Check<'a> {
    pub(crate) written: &'a BTreeMap<Path, Written>,
    /// Called for a field that is not in the schema, before it is reported as unknown.
    pub(crate) misplaced: &'a dyn Fn(&Path, &str) -> Option<Problem>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) secret: Vec<Path>,
    /// Where expressions stand.
    pub(crate) expressions: Vec<(Kind, Path)>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(
        written: &'a BTreeMap<Path, Written>,
        misplaced: &'a dyn Fn(&Path, &str) -> Option<Problem>,
    ) -> Self {
        Self { written, misplaced, problems: Vec::new(), secret: Vec::new(), expressions: Vec::new() }
    }

    /// Checks `value`, which stands at `at`.
    pub(crate) fn run(&mut self, schema: &Json, value: &mut Json, at: &Path) {
        self.value(&View::new(schema, schema), value, at);
    }

    fn error(&mut self, code: &'static str, at: &Path, message: impl std::fmt::Display) -> &mut Problem {
        self.problems.push(Problem::error(code, at.clone(), message));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    fn value(&mut self, view: &View<'_>, value: &mut Json, at: &Path) {
        if view.is_secret() {
            self.secret.push(at.clone());
        }
        self.convert(view, value, at);
        self.expression(view, value, at);
        let Some(branches) = view.branches() else {
            return self.one(view, value, at);
        };
        let fitting: Vec<&View<'_>> = branches.iter().filter(|branch| branch.takes(value)).collect();
        match fitting.as_slice() {
            [] => self.wrong_type(view, value, at),
            [one] => self.value(one, value, at),
            several => self.several(several, value, at),
        }
    }

    /// Several forms can take a value of this type: tagged maps, or lists of words.
    fn several(&mut self, branches: &[&View<'_>], value: &mut Json, at: &Path) {
        match value {
            Json::Object(fields) => {
                let score = |branch: &&&View<'_>| {
                    let known = fields.keys().filter(|name| branch.property(name).is_some()).count();
                    let missing =
                        branch.required().iter().filter(|name| !fields.contains_key(**name)).count();
                    (known, std::cmp::Reverse(missing))
                };
                match branches.iter().max_by_key(score) {
                    Some(best)
                        if fields.keys().any(|name| best.property(name).is_some())
                            || best.required().is_empty() =>
                    {
                        self.value(best, value, at);
                    }
                    _ => self.unknown_form(branches, fields.keys().next().cloned(), at),
                }
            }
            _ => {
                let values: Vec<&Json> =
                    branches.iter().filter_map(|branch| branch.values()).flatten().collect();
                let free = branches.iter().find(|branch| branch.values().is_none());
                match free {
                    Some(branch) if !values.contains(&&*value) => self.value(branch, value, at),
                    _ => self.one_of(&values, value, at),
                }
            }
        }
    }

    fn unknown_form(&mut self, branches: &[&View<'_>], typed: Option<String>, at: &Path) {
        let names: Vec<&str> = branches.iter().flat_map(|branch| branch.required()).collect();
        match typed {
            Some(typed) => {
                let help = suggest::help(&typed, names.iter().copied(), "it takes one of");
                let problem = self.error("unknown-field", &at.field(typed), "unknown field");
                problem.help = help;
                problem.on_key = true;
            }
            None => {
                self.error(
                    "missing-field",
                    at,
                    format_args!("one of these fields is needed: {}", names.join(", ")),
                );
            }
        }
    }

    /// A value with one form.
    fn one(&mut self, view: &View<'_>, value: &mut Json, at: &Path) {
        if view.never {
            self.error("unknown-field", at, "nothing may stand here");
            return;
        }
        if let Some(values) = view.values() {
            return self.one_of(&values, value, at);
        }
        let types = view.types();
        if !types.is_empty() && !types.iter().any(|name| fits(name, value)) {
            return self.wrong_type(view, value, at);
        }
        if matches!(view.kind(), Some("value" | "condition")) {
            return;
        }
        match value {
            Json::String(text) => self.string(view, text, at),
            Json::Number(number) => self.number(view, number, at),
            Json::Array(_) => self.list(view, value, at),
            Json::Object(_) => self.map(view, value, at),
            Json::Null | Json::Bool(_) => {}
        }
    }

    fn list(&mut self, view: &View<'_>, value: &mut Json, at: &Path) {
        let Some(items) = value.as_array_mut() else {
            return;
        };
        let size = items.len() as u64;
        if let Some(min) = view.get("minItems").and_then(Json::as_u64).filter(|min| size < *min) {
            self.error(
                "bad-value",
                at,
                format_args!("needs at least {min} item{}", if min == 1 { "" } else { "s" }),
            );
        }
        if let Some(max) = view.get("maxItems").and_then(Json::as_u64).filter(|max| size > *max) {
            self.error("bad-value", at, format_args!("takes at most {max} items"));
        }
        let Some(schema) = view.get("items") else {
            return;
        };
        let each = view.of(schema);
        for (index, item) in items.iter_mut().enumerate() {
            self.value(&each, item, &at.index(index));
        }
    }

    fn map(&mut self, view: &View<'_>, value: &mut Json, at: &Path) {
        let Some(fields) = value.as_object_mut() else {
            return;
        };
        self.missing(view, fields, at);
        let size = fields.len() as u64;
        if let Some(min) = view.get("minProperties").and_then(Json::as_u64).filter(|min| size < *min) {
            self.error(
                "bad-value",
                at,
                format_args!("needs at least {min} field{}", if min == 1 { "" } else { "s" }),
            );
        }
        if let Some(max) = view.get("maxProperties").and_then(Json::as_u64).filter(|max| size > *max) {
            self.error(
                "bad-value",
                at,
                format_args!("takes at most {max} field{}", if max == 1 { "" } else { "s" }),
            );
        }
        for (name, value) in fields.iter_mut() {
            let at = at.field(name.as_str());
            match (view.property(name), view.get("additionalProperties")) {
                (Some(schema), _) => self.value(&view.of(schema), value, &at),
                (None, Some(Json::Bool(false))) => self.unknown(view, name, &at),
                (None, Some(schema)) => self.value(&view.of(schema), value, &at),
                (None, None) => {}
            }
        }
    }

    /// Fields that are needed, unless one that is there was probably meant to be it.
    fn missing(&mut self, view: &View<'_>, fields: &JsonMap, at: &Path) {
        let needed = view.required();
        for name in needed.iter().filter(|name| !fields.contains_key(**name)) {
            let unknown = fields.keys().filter(|key| view.property(key).is_none());
            let meant = |key: &str| {
                suggest::nearest(key, view.properties().into_iter().map(|(name, _)| name)) == Some(*name)
            };
            if unknown.into_iter().any(|key| meant(key)) {
                continue;
            }
            let about = view.property(name).and_then(|schema| view.of(schema).sentence());
            let problem = self.error("missing-field", at, format_args!("{name:?} is missing"));
            problem.on_key = true;
            problem.help = about.map(|about| format!("{name}: {about}"));
        }
    }

    fn unknown(&mut self, view: &View<'_>, name: &str, at: &Path) {
        let problem = (self.misplaced)(at, name).unwrap_or_else(|| {
            let names = view.properties().into_iter().map(|(name, _)| name);
            let problem = Problem::error("unknown-field", at.clone(), "unknown field").on_key();
            Problem { help: suggest::help(name, names, "it takes"), ..problem }
        });
        self.problems.push(problem);
    }
}
