//! A field of a JSON body, by plain names with dots between: `signature.token`, `items.0.id`.
//! Only what a signature needs; a pipeline picks with JSONPath.

use std::borrow::Cow;

use karez_api::Json;

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
