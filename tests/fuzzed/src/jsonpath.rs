//! Picks and conditions, compiled and run.

use karez_api::{Expressions as _, Json, Path};
use karez_steps::Languages;

use crate::expressions::{assert_inside, assert_steady, record};
use crate::lent::in_scope;

/// What begins with `$` is a pick, anything else a condition; then the record's body.
pub fn jsonpath(data: &[u8]) {
    let mut parts = crate::parts(data);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let record = record(parts.next());
    let (pick, setting) = (text.starts_with('$'), Json::String(text));
    in_scope(None, |scope| {
        if pick {
            match Languages.value(scope, &Path::root(), &setting) {
                Ok(value) => drop(assert_steady(|| value.eval(&record))),
                Err(problems) => assert_inside(&problems, &setting),
            }
        } else {
            match Languages.condition(scope, &Path::root(), &setting) {
                Ok(condition) => drop(assert_steady(|| condition.eval(&record))),
                Err(problems) => assert_inside(&problems, &setting),
            }
        }
    });
}
