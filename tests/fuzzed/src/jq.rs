//! jq programs, compiled and run: they end, within their budget or with an error that says so.

use karez_api::{Class, Expressions as _, Json, Path};
use karez_steps::Languages;
use serde_json::json;

use crate::expressions::{assert_inside, record};
use crate::lent::in_scope;

/// The program, then the record's body.
pub fn jq(data: &[u8]) {
    let mut parts = crate::parts(data);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let record = record(parts.next());
    let setting = json!({"jq": text});
    in_scope(None, |scope| match Languages.value(scope, &Path::root(), &setting) {
        Ok(value) => match value.eval(&record) {
            Ok(made) => assert!(made.is_none_or(|made| depth(&made) <= karez_api::MAX_DEPTH)),
            Err(fault) => {
                assert_eq!(fault.class(), Class::Validation, "{fault:?}");
                assert_ne!(fault.message(), "the jq program failed inside its library");
            }
        },
        Err(problems) => assert_inside(&problems, &setting),
    });
}

fn depth(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Json::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}
