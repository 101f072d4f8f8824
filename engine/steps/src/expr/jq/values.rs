//! Between our trees and jaq's. Integers of 64 bits stay exact; what JSON cannot say is refused, never bent.

use jaq_json::{Map, Num, Rc, Val};
use karez_api::{Json, JsonMap, MAX_DEPTH};
use serde_json::Number;

/// What the outputs of one run may add up to, in bytes.
pub(super) const MAX_BYTES: usize = 16 << 20;

pub(super) fn to_val(json: &Json) -> Val {
    match json {
        Json::Null => Val::Null,
        Json::Bool(value) => Val::Bool(*value),
        Json::Number(number) => Val::Num(to_num(number)),
        Json::String(text) => Val::from(text.clone()),
        Json::Array(items) => Val::Arr(Rc::new(items.iter().map(to_val).collect())),
        Json::Object(fields) => object(fields),
    }
}

pub(super) fn object(fields: &JsonMap) -> Val {
    let map: Map = fields.iter().map(|(key, value)| (Val::from(key.clone()), to_val(value))).collect();
    Val::obj(map)
}

fn to_num(number: &Number) -> Num {
    if let Some(integer) = number.as_i64() {
        return Num::from_integral(integer);
    }
    match number.as_u64() {
        Some(integer) => Num::from_integral(integer),
        None => Num::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// # Errors
/// A sentence: the value has no JSON form, or there is too much of it.
pub(super) fn to_json(value: &Val, budget: &mut usize, depth: usize) -> Result<Json, String> {
    if depth > MAX_DEPTH {
        return Err(format!("jq made a value nested more than {MAX_DEPTH} deep"));
    }
    let size = match value {
        Val::TStr(text) => text.len() + 8,
        _ => 8,
    };
    *budget =
        budget.checked_sub(size).ok_or_else(|| format!("jq yields more than {} MiB", MAX_BYTES >> 20))?;
    Ok(match value {
        Val::Null => Json::Null,
        Val::Bool(value) => Json::Bool(*value),
        Val::Num(number) => Json::Number(from_num(number)?),
        Val::TStr(text) => Json::String(String::from_utf8_lossy(text).into_owned()),
        Val::BStr(_) => return Err("jq made a byte string, which JSON does not have".to_owned()),
        Val::Arr(items) => {
            let items = items.iter().map(|item| to_json(item, budget, depth + 1));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
        Val::Obj(fields) => {
            let mut map = JsonMap::with_capacity(fields.len());
            for (key, value) in fields.iter() {
                let Json::String(key) = to_json(key, budget, depth + 1)? else {
                    return Err(format!("jq made an object whose key is not a string: {key}"));
                };
                map.insert(key, to_json(value, budget, depth + 1)?);
            }
            Json::Object(map)
        }
    })
}

fn from_num(number: &Num) -> Result<Number, String> {
    let float = |value: f64| {
        Number::from_f64(value).ok_or_else(|| format!("jq made {value}, which JSON does not have"))
    };
    match number {
        Num::Int(integer) => Ok(Number::from(*integer)),
        Num::BigInt(integer) => {
            let digits = integer.to_string();
            digits
                .parse::<u64>()
                .map(Number::from)
                .map_err(|_| "jq made an integer of more than 64 bits".to_owned())
        }
        Num::Float(value) => float(*value),
        Num::Dec(digits) => float(digits.parse().unwrap_or(f64::NAN)),
    }
}
