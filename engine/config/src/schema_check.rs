//! Settings against a component's JSON Schema: all that is wrong at once, in words for people.
//! On the way, `${…}` that fills a whole number or boolean is converted, and `{{` in fixed
//! settings and `${…}` in code are refused. Expressions themselves are not looked at here.

use std::collections::BTreeMap;
use std::ops::Range;

use karez_api::{ByteSize, Duration, Json, Path, Problem};

use crate::interpolate::Written;
use crate::schema_view::{View, fits};
use crate::{suggest, tree};

/// What a check reads and what it finds.
pub(crate) struct Check<'a> {
    pub(crate) written: &'a BTreeMap<Path, Written>,
    /// Called for a field that is not in the schema, before it is reported as unknown.
    pub(crate) misplaced: &'a dyn Fn(&Path, &str) -> Option<Problem>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) secret: Vec<Path>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(
        written: &'a BTreeMap<Path, Written>,
        misplaced: &'a dyn Fn(&Path, &str) -> Option<Problem>,
    ) -> Self {
        Self { written, misplaced, problems: Vec::new(), secret: Vec::new() }
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
        if let Some(kind @ ("value" | "condition" | "text" | "jq" | "names")) = view.kind() {
            self.expression(kind, value, at)
        }
        let Some(branches) = view.branches() else {
            return self.one(view, value, at);
        };
        let fitting: Vec<&View<'_>> = branches.iter().filter(|branch| branch.takes(value)).collect();
        match fitting.as_slice() {
            [] => self.wrong_type(&view.expectation(), value, at),
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
            return self.wrong_type(&view.expectation(), value, at);
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

    fn wrong_type(&mut self, expected: &str, value: &Json, at: &Path) {
        let found = self.found(value, at);
        let quote = value.is_number() || value.is_boolean();
        let help =
            (quote && expected.contains("a string")).then(|| format!("write it in quotes: \"{value}\""));
        let problem = self.error("wrong-type", at, format_args!("expected {expected}, found {found}"));
        problem.help = help;
        problem.on_key = value.is_null();
    }

    /// What was found, in words; what `${…}` brought is not shown.
    fn found(&self, value: &Json, at: &Path) -> String {
        match self.written.get(at).and_then(|written| written.brought().next()) {
            Some(piece) => format!("what {} stands for", piece.reference),
            None => tree::describe(value),
        }
    }

    fn one_of(&mut self, values: &[&Json], value: &Json, at: &Path) {
        if values.contains(&value) {
            return;
        }
        let words: Vec<&str> = values.iter().filter_map(|value| value.as_str()).collect();
        let found = self.found(value, at);
        let shown: Vec<String> = values.iter().map(|value| value.to_string()).collect();
        let help = match value {
            Json::String(text) if self.literal(at).is_empty() => {
                suggest::nearest(text, words.iter().copied()).map(|near| format!("did you mean \"{near}\"?"))
            }
            _ => None,
        };
        let help = help.unwrap_or_else(|| format!("it is one of: {}", shown.join(", ")));
        self.error("bad-value", at, format_args!("{found} is not one of the values it can have")).help =
            Some(help);
    }

    fn string(&mut self, view: &View<'_>, text: &str, at: &Path) {
        let parsed = match view.kind() {
            Some("duration") => text.parse::<Duration>().err(),
            Some("size") => text.parse::<ByteSize>().err(),
            Some(_) => None,
            None => return self.fixed(view, text, at),
        };
        if parsed.is_some() {
            let found = self.found(&Json::String(text.to_owned()), at);
            self.error("wrong-type", at, format_args!("expected {}, found {found}", view.expectation()));
        } else if text.is_empty() && view.get("minLength").is_some() {
            self.error("bad-value", at, "must not be empty");
        }
    }

    /// A string that is read once, at load.
    fn fixed(&mut self, view: &View<'_>, text: &str, at: &Path) {
        if text.is_empty() && view.get("minLength").is_some() {
            self.error("bad-value", at, "must not be empty");
        }
        if view.types().is_empty() {
            return;
        }
        let literal = self.literal(at);
        let template =
            text.match_indices("{{").find(|(at, _)| !literal.iter().any(|range| range.contains(at)));
        if let Some((start, _)) = template {
            let end = text[start..].find("}}").map_or(text.len(), |length| start + length + 2);
            let problem =
                self.error("template-in-fixed", at, "this setting is read once, so it takes no template");
            problem.help = Some("write a fixed value, or `${VAR}` for one from the environment".into());
            problem.within = Some(start..end);
        }
    }

    fn number(&mut self, view: &View<'_>, number: &serde_json::Number, at: &Path) {
        let limit = |name| view.get(name).and_then(Json::as_f64);
        let Some(value) = number.as_f64() else { return };
        let bounds = [
            ("at least", limit("minimum").filter(|min| value < *min)),
            ("at most", limit("maximum").filter(|max| value > *max)),
            ("more than", limit("exclusiveMinimum").filter(|min| value <= *min)),
            ("less than", limit("exclusiveMaximum").filter(|max| value >= *max)),
        ];
        for (word, bound) in bounds {
            if let Some(bound) = bound {
                self.error("bad-value", at, format_args!("must be {word} {bound}, found {number}"));
            }
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
        for name in view.required() {
            if !fields.contains_key(name) {
                let problem = self.error("missing-field", at, format_args!("{name:?} is missing"));
                problem.on_key = true;
            }
        }
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

    fn unknown(&mut self, view: &View<'_>, name: &str, at: &Path) {
        let problem = (self.misplaced)(at, name).unwrap_or_else(|| {
            let names = view.properties().into_iter().map(|(name, _)| name);
            let problem = Problem::error("unknown-field", at.clone(), "unknown field").on_key();
            Problem { help: suggest::help(name, names, "it takes"), ..problem }
        });
        self.problems.push(problem);
    }

    fn literal(&self, at: &Path) -> Vec<Range<usize>> {
        self.written.get(at).map(Written::literal).unwrap_or_default()
    }

    /// A whole string that `${…}` brought becomes a number or boolean where one is wanted.
    fn convert(&self, view: &View<'_>, value: &mut Json, at: &Path) {
        let Json::String(text) = &*value else { return };
        if !self.written.get(at).is_some_and(|written| written.is_whole(text.len())) {
            return;
        }
        let types: Vec<&str> = match view.branches() {
            Some(branches) => branches.iter().flat_map(View::types).collect(),
            None => view.types(),
        };
        if types.is_empty() || types.contains(&"string") {
            return;
        }
        if let Ok(converted @ (Json::Number(_) | Json::Bool(_))) = serde_json::from_str::<Json>(text)
            && types.iter().any(|name| fits(name, &converted))
        {
            *value = converted;
        }
    }

    /// `${…}` may bring text into values and texts, never into code.
    fn expression(&mut self, kind: &str, value: &Json, at: &Path) {
        match value {
            Json::String(_) if matches!(kind, "condition" | "jq" | "names") => self.no_interpolation(at),
            Json::Array(items) if kind == "value" => {
                for (index, item) in items.iter().enumerate() {
                    self.expression(kind, item, &at.index(index));
                }
            }
            Json::Object(fields) if matches!(kind, "condition" | "value") => {
                let is_jq = fields.len() == 1 && fields.contains_key("jq");
                for (name, inner) in fields {
                    let kind = if is_jq { "jq" } else { kind };
                    self.expression(kind, inner, &at.field(name.as_str()));
                }
            }
            _ => {}
        }
    }

    fn no_interpolation(&mut self, at: &Path) {
        let written = self.written;
        for piece in written.get(at).into_iter().flat_map(Written::brought) {
            let problem = self.error(
                "interpolation-in-code",
                at,
                "`${…}` cannot stand in a condition, program or name",
            );
            problem.help = Some("put it into `vars:` and use `$vars` in jq".into());
            problem.within = Some(piece.result.clone());
        }
    }
}
