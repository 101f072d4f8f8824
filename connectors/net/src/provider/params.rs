//! `{name}` in texts: which there are, and values put in their place.

use std::collections::{BTreeMap, BTreeSet};

use karez_api::{Json, JsonMap, Path, Problem, suggest};
use regex::Regex;

use super::{Param, Provider, Way};

/// Names in `{…}` in one text: small letters, digits and `_`.
pub(super) fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once('}')?;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        (!name.is_empty() && name.bytes().all(fits)).then_some(name)
    })
}

/// Those in all texts of a tree.
pub(super) fn named<'a>(tree: &'a Json, into: &mut BTreeSet<&'a str>) {
    match tree {
        Json::String(text) => into.extend(placeholders(text)),
        Json::Array(items) => items.iter().for_each(|item| named(item, into)),
        Json::Object(fields) => fields.values().for_each(|value| named(value, into)),
        _ => {}
    }
}

/// A provider's own settings with values in the place of parameters. Other names stay: they are kept from the log-in.
pub(super) fn fill(tree: &JsonMap, values: &BTreeMap<&str, &str>) -> JsonMap {
    tree.iter().map(|(name, value)| (name.clone(), filled(value, values))).collect()
}

fn filled(value: &Json, values: &BTreeMap<&str, &str>) -> Json {
    match value {
        Json::String(text) => Json::String(replaced(text, values)),
        Json::Array(items) => items.iter().map(|item| filled(item, values)).collect(),
        Json::Object(fields) => Json::Object(fill(fields, values)),
        other => other.clone(),
    }
}

/// In one go, so that a `{name}` within a value is no parameter.
fn replaced(text: &str, values: &BTreeMap<&str, &str>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        result += before;
        let known = from[1..].split_once('}').and_then(|(name, behind)| Some((values.get(name)?, behind)));
        rest = match known {
            Some((value, behind)) => {
                result += value;
                behind
            }
            None => {
                result.push('{');
                &from[1..]
            }
        };
    }
    result + rest
}

impl Provider {
    /// The values of its parameters, from `params` of a file and from defaults. What is wrong with them is told.
    pub(super) fn values<'a>(
        &'a self,
        given: &'a Json,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<&'a str, &'a str> {
        let at = Path::root().field("params");
        let defaults =
            self.params.iter().filter_map(|(name, param)| Some((&**name, param.default.as_deref()?)));
        let mut values: BTreeMap<&str, &str> = defaults.collect();
        for (name, value) in given.as_object().into_iter().flatten() {
            let at = at.field(name);
            let Some(param) = self.params.get(name) else {
                problems.push(self.unknown(name, at));
                continue;
            };
            // What is no text is told by the schema.
            let Some(value) = value.as_str() else { continue };
            if param.admits(value) {
                values.insert(name, value);
            } else {
                let message = format!("{value:?} cannot be the {name} of {}", self.title);
                problems.push(Problem::error("bad-param", at, message).help(param.help()));
            }
        }
        values
    }

    fn unknown(&self, name: &str, at: Path) -> Problem {
        let message = format!("{} has no parameter {name:?}", self.title);
        let names = self.params.keys().map(String::as_str);
        let help = suggest::help(name, names, "it has").unwrap_or_else(|| "it has none".into());
        Problem::error("unknown-param", at, message).on_key().help(help)
    }

    /// Names in `{…}` of all that it brings to a connection that logs in this way.
    pub(super) fn placeholders<'a>(&'a self, way: &'a Way) -> BTreeSet<&'a str> {
        let mut names = BTreeSet::new();
        let trees = [&self.connection, &way.connection, &way.auth];
        trees.into_iter().flat_map(JsonMap::values).for_each(|value| named(value, &mut names));
        names
    }

    /// Parameters that a connection needs and has no value for.
    pub(super) fn missing(&self, connection: &Json, given: &Json, problems: &mut Vec<Problem>) {
        let mut used = BTreeSet::new();
        named(connection, &mut used);
        for (name, param) in &self.params {
            if used.contains(name.as_str()) && param.default.is_none() && given.get(name).is_none() {
                let message = format!("{} needs the parameter {name}", self.title);
                let at = Path::root().field(if given.is_null() { "provider" } else { "params" });
                problems.push(Problem::error("missing-param", at, message).help(param.help()));
            }
        }
    }
}

impl Param {
    pub(super) fn admits(&self, value: &str) -> bool {
        Regex::new(&format!("^(?:{})$", self.pattern)).is_ok_and(|pattern| pattern.is_match(value))
    }

    fn help(&self) -> String {
        format!("{}, like {:?}", self.about, self.example)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_placeholder_is_a_name_in_braces() {
        let text = "https://{site}.example.com/{Not}/{}/{a b}/{api_v2}/{open";
        assert_eq!(placeholders(text).collect::<Vec<_>>(), ["site", "api_v2"]);
    }

    #[test]
    fn values_are_put_in_once_and_other_names_stay() {
        let tree = json!({"url": "https://{a}.x/{b}/{a}", "list": ["{a}", 1], "open": "{a", "odd": "{{a}}"});
        let values = BTreeMap::from([("a", "{b}"), ("c", "no")]);
        let wanted =
            json!({"url": "https://{b}.x/{b}/{b}", "list": ["{b}", 1], "open": "{a", "odd": "{{b}}"});
        assert_eq!(Json::Object(fill(tree.as_object().unwrap(), &values)), wanted);
    }
}
