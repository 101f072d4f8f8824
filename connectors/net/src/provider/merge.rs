//! A file's settings over a provider's.

use karez_api::{Json, JsonMap};

/// Fields of which exactly one may be said: a file's takes the place of the provider's.
const CHOICES: &[&str] = &["in"];

/// Maps are merged key by key; everything else of `upper` takes the place of what is below. Null takes away.
pub(super) fn merge(lower: &JsonMap, upper: &JsonMap) -> JsonMap {
    let mut merged = lower.clone();
    for (name, above) in upper {
        match (merged.get(name), above) {
            (Some(_), Json::Null) => {
                merged.shift_remove(name);
            }
            (Some(Json::Object(below)), Json::Object(above)) if !CHOICES.contains(&name.as_str()) => {
                let both = merge(below, above);
                merged.insert(name.clone(), Json::Object(both));
            }
            _ => {
                merged.insert(name.clone(), above.clone());
            }
        }
    }
    merged
}

/// What stands at a dotted path.
pub(super) fn at<'a>(tree: &'a JsonMap, path: &str) -> Option<&'a Json> {
    match path.split_once('.') {
        None => tree.get(path),
        Some((first, rest)) => at(tree.get(first)?.as_object()?, rest),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_are_merged_and_everything_else_is_replaced() {
        let cases = [
            (json!({"a": 1}), json!({"b": 2}), json!({"a": 1, "b": 2})),
            (json!({"a": {"x": 1, "y": 2}}), json!({"a": {"y": 3}}), json!({"a": {"x": 1, "y": 3}})),
            (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            (json!({"a": {"x": 1}}), json!({"a": 5}), json!({"a": 5})),
            (json!({"a": 5, "b": 6}), json!({"a": null, "c": null}), json!({"b": 6, "c": null})),
            (json!({"in": {"header": "A"}}), json!({"in": {"query": "b"}}), json!({"in": {"query": "b"}})),
        ];
        for (lower, upper, wanted) in cases {
            let merged = merge(lower.as_object().unwrap(), upper.as_object().unwrap());
            assert_eq!(Json::Object(merged), wanted);
        }
    }
}
