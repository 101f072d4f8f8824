//! A field of a JSON body, by plain names with dots between: `signature.token`, `items.0.id`.
//! Only what a signature needs; a pipeline picks with JSONPath.

use std::borrow::Cow;

use karez_api::{Json, JsonMap};

/// Never empty.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct BodyPath(Vec<String>);

impl BodyPath {
    /// # Errors
    /// A sentence that says how it is written.
    pub(in super::super) fn parse(text: &str) -> Result<Self, String> {
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        let fine = names.iter().all(|name| {
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        });
        match fine {
            true => Ok(Self(names)),
            false => Err(format!("{text:?} is not a field of the body: write names with dots, like data.id")),
        }
    }

    pub(in super::super) fn find<'j>(&self, tree: &'j Json) -> Option<&'j Json> {
        self.0.iter().try_fold(tree, |at, name| match at {
            Json::Object(fields) => fields.get(name),
            Json::Array(items) => items.get(name.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// A field of an item of a body that is a list.
    pub(in super::super) fn of_item(index: usize, field: &Self) -> Self {
        Self([&[index.to_string()], &*field.0].concat())
    }

    /// A field of an item of the list at this one.
    pub(in super::super) fn below(&self, index: usize, field: &Self) -> Self {
        Self([&*self.0, &[index.to_string()], &field.0].concat())
    }

    /// Writes a text there, as a number where one stood or nothing did and it is one. What is missing on the way is made.
    ///
    /// # Errors
    /// Something else stands on the way.
    pub(in super::super) fn put(&self, tree: &mut Json, text: &str) -> Result<(), String> {
        let mut at = tree;
        for name in &self.0 {
            at = match at {
                Json::Object(fields) => fields.entry(name).or_insert(Json::Null),
                Json::Array(items) => {
                    let index = name.parse::<usize>().ok().filter(|index| *index < items.len());
                    &mut items[index.ok_or_else(|| format!("there is no {self} in the body"))?]
                }
                Json::Null if name == "0" => {
                    *at = Json::Array(vec![Json::Null]);
                    &mut at[0]
                }
                Json::Null => {
                    *at = Json::Object(JsonMap::new());
                    &mut at[name.as_str()]
                }
                _ => return Err(format!("there is no room for {self} in the body")),
            };
        }
        *at = match (&*at, text.parse::<u64>()) {
            (Json::Number(_) | Json::Null, Ok(number)) => number.into(),
            _ => text.into(),
        };
        Ok(())
    }
}

impl std::fmt::Display for BodyPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// A value as it would be signed; lists, maps and null are not.
pub(in super::super) fn plain(value: &Json) -> Option<Cow<'_, str>> {
    match value {
        Json::String(text) => Some(Cow::Borrowed(text)),
        Json::Number(number) => Some(Cow::Owned(number.to_string())),
        Json::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        _ => None,
    }
}
