//! JSON Schemas, compiled and used: `validate` refuses with reasons and never alters a record.

use karez_api::{Class, Emit};
use serde_json::json;

use crate::expressions::{assert_inside, record};
use crate::lent::step;

/// The schema, then the record's body.
pub fn json_schema(data: &[u8]) {
    let mut parts = crate::parts(data);
    let Ok(schema) = karez_api::parse_json(parts.next().unwrap_or_default()) else { return };
    if !schema.is_object() && !schema.is_boolean() {
        return;
    }
    let settings = json!({"schema": schema});
    let validate = match step("validate", settings.clone()) {
        Ok(step) => step,
        Err(problems) => return assert_inside(&problems, &settings),
    };
    let record = record(parts.next());
    let mut out = Emit::default();
    match validate.apply(record.clone(), &mut out) {
        Ok(()) => {
            let passed: Vec<_> = out.drain().collect();
            assert_eq!(passed.len(), 1);
            assert_eq!(passed[0].1.body().bytes(), record.body().bytes());
        }
        Err(fault) => {
            assert_eq!(fault.class(), Class::Validation);
            assert!(!fault.message().is_empty() && fault.message().chars().count() < 2_000, "{fault:?}");
        }
    }
}
