//! Walking a JSON tree by [`Path`]: get, set, visit strings.

use karez_api::{Json, JsonMap, Key, Path};

pub(crate) fn get<'a>(tree: &'a Json, path: &Path) -> Option<&'a Json> {
    path.keys().iter().try_fold(tree, |node, key| match key {
        Key::Field(name) => node.get(name.as_str()),
        Key::Index(index) => node.get(index),
    })
}

pub(crate) fn get_mut<'a>(tree: &'a mut Json, path: &Path) -> Option<&'a mut Json> {
    path.keys().iter().try_fold(tree, |node, key| match key {
        Key::Field(name) => node.get_mut(name.as_str()),
        Key::Index(index) => node.get_mut(index),
    })
}

pub(crate) fn object<'a>(tree: &'a Json, path: &Path) -> Option<&'a JsonMap> {
    get(tree, path)?.as_object()
}

/// Sets a field of the object at `path`; nothing happens where there is no object.
pub(crate) fn set(tree: &mut Json, path: &Path, field: &str, value: Json) {
    if let Some(map) = get_mut(tree, path).and_then(Json::as_object_mut) {
        map.insert(field.to_owned(), value);
    }
}

/// Calls `visit` for every string below `node`, which stands at `at`.
pub(crate) fn strings_mut(node: &mut Json, at: &Path, visit: &mut dyn FnMut(&Path, &mut String)) {
    match node {
        Json::String(text) => visit(at, text),
        Json::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                strings_mut(item, &at.index(index), visit);
            }
        }
        Json::Object(fields) => {
            for (name, value) in fields {
                strings_mut(value, &at.field(name.as_str()), visit);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// Whether `path` is `prefix` or lies below it.
pub(crate) fn below(path: &Path, prefix: &Path) -> bool {
    path.keys().starts_with(prefix.keys())
}

/// What a value is, in words: `a list`, `the number 5`.
pub(crate) fn describe(value: &Json) -> String {
    match value {
        Json::Null => "nothing".into(),
        Json::Bool(value) => format!("{value}"),
        Json::Number(number) => format!("the number {number}"),
        Json::String(text) if text.chars().count() <= 40 => format!("the string {text:?}"),
        Json::String(_) => "a string".into(),
        Json::Array(_) => "a list".into(),
        Json::Object(_) => "a map".into(),
    }
}
