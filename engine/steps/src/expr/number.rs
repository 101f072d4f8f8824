//! How values compare: numbers by value, without losing digits; nothing is converted.

use std::cmp::Ordering;

use karez_api::Json;
use serde_json::Number;

/// Integers compare exactly over the whole range of `i64` and `u64`; where one side has a fraction, both compare as `f64`.
pub(crate) fn compare_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// RFC 9535 §2.3.5.2.2: equal types and equal values; `1` equals `1.0`, the order of an object's fields does not count.
pub(crate) fn equal(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => compare_numbers(left, right) == Some(Ordering::Equal),
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Json::Object(left), Json::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => left == right,
    }
}

/// Whether `left` comes before `right`: numbers and strings only, strings by code point.
pub(crate) fn less(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => compare_numbers(left, right) == Some(Ordering::Less),
        (Json::String(left), Json::String(right)) => left < right,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn integers_beyond_a_double_are_told_apart() {
        let big = 9_007_199_254_740_993_u64;
        assert!(!equal(&json!(big), &json!(big - 1)));
        assert!(less(&json!(big - 1), &json!(big)));
        assert!(less(&json!(i64::MAX), &json!(u64::MAX)));
        assert!(less(&json!(-1), &json!(u64::MAX)));
    }

    #[test]
    fn values_of_different_types_are_never_equal_or_ordered() {
        for (left, right) in [(json!("1"), json!(1)), (json!(null), json!(false)), (json!([]), json!({}))] {
            assert!(!equal(&left, &right) && !less(&left, &right) && !less(&right, &left));
        }
        assert!(equal(&json!(1), &json!(1.0)));
        assert!(equal(&json!({"a": 1, "b": [2]}), &json!({"b": [2.0], "a": 1})));
        assert!(!equal(&json!({"a": 1}), &json!({"a": 1, "b": null})));
        assert!(!equal(&json!(1e-20), &json!(0)));
    }
}
