//! `cast`: turns fields into other types, or refuses the record; it never guesses.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use karez_api::{Checker, Emit, Fault, Json, Path, Record, Step, StepSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Number;

use super::place::{Place, edit};
use crate::expr::moment;

/// Target types by field, a name or a path that begins with `$.`; a field that is missing or null stays so.
#[derive(Deserialize, JsonSchema)]
pub(super) struct CastSpec(#[schemars(with = "BTreeMap<String, Target>")] IndexMap<String, Target>);

/// What a field is turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Target {
    /// Text; numbers and booleans as JSON writes them.
    String,
    /// An integer of 64 bits; text in decimal digits, a number without a fraction.
    Integer,
    /// A number; text as JSON writes numbers.
    Number,
    /// True or false; text `true` or `false`, numbers 1 or 0.
    Boolean,
    /// RFC 3339 text in UTC, from RFC 3339 text or seconds since 1970.
    Timestamp,
    /// As `timestamp`, from milliseconds since 1970.
    TimestampMs,
    /// The value that a text holds as JSON.
    Json,
}

impl StepSpec for CastSpec {
    const NAME: &'static str = "cast";
    const SUMMARY: &'static str =
        "Turns fields into other types; a field that cannot be turned refuses the record.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn Step>> {
        let casts: Vec<_> = self
            .0
            .iter()
            .map(|(key, target)| Some((Place::compile(cx, &Path::root().field(key), key, true)?, *target)))
            .collect();
        Some(Box::new(Cast(casts.into_iter().collect::<Option<_>>()?)))
    }
}

struct Cast(Vec<(Place, Target)>);

impl Step for Cast {
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault> {
        out.push(edit(record, |tree| {
            for (place, target) in &self.0 {
                let Some(value) = place.get_mut(tree).filter(|value| !value.is_null()) else {
                    continue;
                };
                *value = target.cast(value).map_err(|reason| {
                    Fault::validation(
                        "cast",
                        format!("{} cannot become {}: {reason}", place.name(), target.name()),
                    )
                })?;
            }
            Ok(())
        })?);
        Ok(())
    }
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Timestamp | Self::TimestampMs => "a timestamp",
            Self::Json => "JSON",
        }
    }

    fn cast(self, value: &Json) -> Result<Json, String> {
        match (self, value) {
            (Self::String, Json::String(_))
            | (Self::Number, Json::Number(_))
            | (Self::Boolean, Json::Bool(_)) => Ok(value.clone()),
            (Self::String, Json::Number(_) | Json::Bool(_)) => Ok(value.to_string().into()),
            (Self::Integer, Json::Number(number)) => integer(number),
            (Self::Integer, Json::String(text)) => text
                .trim()
                .parse::<i64>()
                .map(Json::from)
                .or_else(|_| text.trim().parse::<u64>().map(Json::from))
                .map_err(|_| format!("{text:?} is not an integer of 64 bits")),
            (Self::Number, Json::String(text)) => match karez_api::parse_json(text.trim().as_bytes()) {
                Ok(number @ Json::Number(_)) => Ok(number),
                _ => Err(format!("{text:?} is not a number")),
            },
            (Self::Boolean, Json::String(text)) => match text.trim() {
                "true" => Ok(true.into()),
                "false" => Ok(false.into()),
                _ => Err(format!("{text:?} is neither \"true\" nor \"false\"")),
            },
            (Self::Boolean, Json::Number(number)) => match number.as_i64() {
                Some(1) => Ok(true.into()),
                Some(0) => Ok(false.into()),
                _ => Err(format!("{number} is neither 1 nor 0")),
            },
            (Self::Timestamp, _) => moment(value, "s").map(|at| at.to_string().into()),
            (Self::TimestampMs, _) => moment(value, "ms").map(|at| at.to_string().into()),
            (Self::Json, Json::String(text)) => {
                karez_api::parse_json(text.as_bytes()).map_err(|error| error.to_string())
            }
            (Self::Json, _) => Err("only text can hold JSON".to_owned()),
            (_, Json::Array(_)) => Err("it is an array".to_owned()),
            (_, Json::Object(_)) => Err("it is an object".to_owned()),
            (_, other) => Err(format!("it is {other}")),
        }
    }
}

fn integer(number: &Number) -> Result<Json, String> {
    if !number.is_f64() {
        return Ok(Json::Number(number.clone()));
    }
    // Beyond 2^53 a double does not say which integer was meant.
    match number.as_f64() {
        Some(float) if float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0 => {
            Ok(Json::from(float as i64))
        }
        _ => Err(format!("{number} is not an exact integer")),
    }
}
