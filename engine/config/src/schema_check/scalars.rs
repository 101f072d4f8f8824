//! Strings, numbers and lists of words: what is wrong with one value that has no parts.

use std::ops::Range;

use karez_api::{ByteSize, Duration, Json, Path, Problem, Rate};

use super::{Check, dollar, right_type};
use crate::interpolate::Written;
use crate::schema_view::{View, fits};
use crate::{suggest, tree};

/// What is wrong with a string that is read once, at load, and holds `{{` outside of what `${…}` wrote.
pub(crate) fn template_in_fixed(text: &str, literal: &[Range<usize>], at: &Path) -> Option<Problem> {
    let brought = |at: &usize| literal.iter().any(|range| range.contains(at));
    let (start, _) = text.match_indices("{{").find(|(at, _)| !brought(at))?;
    let end = text[start..].find("}}").map_or(text.len(), |length| start + length + 2);
    let message = "this setting is read once, so it takes no template";
    Some(
        Problem::error("template-in-fixed", at.clone(), message)
            .help("write a fixed value, or `${VAR}` for one from the environment")
            .within(start..end),
    )
}

impl Check<'_> {
    pub(super) fn wrong_type(&mut self, view: &View<'_>, value: &Json, at: &Path) {
        let message = format!("expected {}, found {}", view.expectation(), self.found(value, at));
        // What `${…}` brought is not shown.
        let help = right_type::help(view, value).filter(|_| !self.written.contains_key(at));
        let problem = self.error("wrong-type", at, message);
        problem.help = help;
        problem.on_key = value.is_null();
    }

    /// What was found, in words; what `${…}` brought is not shown.
    pub(super) fn found(&self, value: &Json, at: &Path) -> String {
        match self.written.get(at).and_then(|written| written.brought().next()) {
            Some(piece) => format!("what {} stands for", piece.reference),
            None => tree::describe(value),
        }
    }

    pub(super) fn one_of(&mut self, values: &[&Json], value: &Json, at: &Path) {
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

    pub(super) fn string(&mut self, view: &View<'_>, text: &str, at: &Path) {
        let literal = self.literal(at);
        self.problems.extend(dollar::as_text(text, view.kind(), &literal, at));
        let parsed = match view.kind() {
            Some("duration") => text.parse::<Duration>().err(),
            Some("size") => text.parse::<ByteSize>().err(),
            Some("rate") => text.parse::<Rate>().err(),
            Some(_) => None,
            None => return self.fixed(view, text, at),
        };
        if parsed.is_some() {
            self.wrong_type(view, &Json::String(text.to_owned()), at);
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
        let length = |name| view.get(name).and_then(Json::as_u64);
        if length("maxLength").is_some_and(|max| text.chars().count() as u64 > max) {
            let most = length("maxLength").unwrap_or_default();
            let found = self.found(&Json::String(text.to_owned()), at);
            let words =
                if most == 1 { "one character".to_owned() } else { format!("at most {most} characters") };
            self.error("bad-value", at, format_args!("takes {words}, found {found}"));
        }
        let literal = self.literal(at);
        self.problems.extend(template_in_fixed(text, &literal, at));
    }

    pub(super) fn number(&mut self, view: &View<'_>, number: &serde_json::Number, at: &Path) {
        if view.kind() == Some("duration") && number.as_u64() != Some(0) {
            let message = format!("expected {}, found the number {number}", view.expectation());
            self.error("wrong-type", at, message).help = Some(format!("write its unit, as in \"{number}s\""));
        }
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

    pub(super) fn literal(&self, at: &Path) -> Vec<Range<usize>> {
        self.written.get(at).map(Written::literal).unwrap_or_default()
    }

    /// A whole string that `${…}` brought becomes a number or boolean where one is wanted.
    pub(super) fn convert(&self, view: &View<'_>, value: &mut Json, at: &Path) {
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
}
