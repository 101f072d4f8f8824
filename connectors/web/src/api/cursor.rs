//! Where a record stands in the order of changes, and how that is read and written.

use std::fmt;

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use karez_api::{Json, Millis};
use serde::{Deserialize, Serialize};

/// A place in the order of changes. Places of one stream are all of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Point {
    #[serde(rename = "time", with = "stamp")]
    Time(Timestamp),
    #[serde(rename = "integer")]
    Integer(i64),
    #[serde(rename = "text")]
    Text(String),
}

/// A time as its text.
mod stamp {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(at)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Point {
    /// The whole second that has begun: every API reads it.
    pub(super) fn time(at: Millis) -> Self {
        let at = i64::try_from(at.0 / 1_000).ok().and_then(|at| Timestamp::from_second(at).ok());
        Self::Time(at.unwrap_or(Timestamp::MAX))
    }

    /// The whole second that ends next: what has just changed lies before it.
    pub(super) fn end_of(at: Millis) -> Self {
        Self::time(Millis(at.0.saturating_add(999)))
    }

    /// So much earlier; what is no time has no earlier.
    pub(super) fn minus(&self, time: std::time::Duration) -> Self {
        self.moved(SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX).checked_neg())
    }

    pub(super) fn plus(&self, time: std::time::Duration) -> Self {
        self.moved(SignedDuration::try_from(time).ok())
    }

    fn moved(&self, by: Option<SignedDuration>) -> Self {
        match self {
            Self::Time(at) => {
                Self::Time(by.and_then(|by| at.checked_add(by).ok()).unwrap_or(Timestamp::UNIX_EPOCH))
            }
            other => other.clone(),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(at) => at.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// How points are written in requests and records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PointFormat {
    Rfc3339,
    Rfc3339Millis,
    Epoch,
    EpochMillis,
    Date,
    /// strftime.
    Pattern(String),
    Integer,
    Text,
}

impl PointFormat {
    /// # Errors
    /// Neither a known name nor a pattern.
    pub(super) fn read(name: &str) -> Result<Self, String> {
        Ok(match name {
            "rfc3339" => Self::Rfc3339,
            "rfc3339_ms" => Self::Rfc3339Millis,
            "epoch" => Self::Epoch,
            "epoch_ms" => Self::EpochMillis,
            "date" => Self::Date,
            "integer" => Self::Integer,
            "text" => Self::Text,
            pattern if pattern.contains('%') => {
                strtime::format(pattern, &Timestamp::UNIX_EPOCH.to_zoned_datetime(TimeZone::UTC))
                    .map_err(|error| format!("the pattern cannot be used: {error}"))?;
                Self::Pattern(pattern.to_owned())
            }
            other => return Err(format!("{other:?} is no format of a cursor")),
        })
    }

    pub(super) fn is_time(&self) -> bool {
        !matches!(self, Self::Integer | Self::Text)
    }

    /// A record's cursor. Times are read as they come, however `format` writes them.
    pub(super) fn point(&self, value: &Json) -> Option<Point> {
        match (self, value) {
            (Self::Integer, Json::Number(number)) => number.as_i64().map(Point::Integer),
            (Self::Integer, Json::String(text)) => text.trim().parse().ok().map(Point::Integer),
            (Self::Text, Json::String(text)) => Some(Point::Text(text.clone())),
            (Self::Text, Json::Number(number)) => Some(Point::Text(number.to_string())),
            (Self::Integer | Self::Text, _) => None,
            (_, Json::Number(number)) => epoch(number.as_f64()?).map(Point::Time),
            (_, Json::String(text)) => self.time(text.trim()).map(Point::Time),
            _ => None,
        }
    }

    fn time(&self, text: &str) -> Option<Timestamp> {
        if let Self::Pattern(pattern) = self
            && let Ok(parsed) = strtime::parse(pattern, text)
        {
            let stamp = parsed.to_timestamp().ok();
            let civil = || parsed.to_datetime().ok().and_then(utc);
            let date = || {
                parsed.to_date().ok().and_then(|date| utc(date.to_datetime(jiff::civil::Time::midnight())))
            };
            return stamp.or_else(civil).or_else(date);
        }
        let stamp = text.parse::<Timestamp>().ok();
        // Without an offset it is taken for UTC.
        let civil = || text.parse::<DateTime>().ok().and_then(utc);
        let offset = || strtime::parse("%Y-%m-%dT%H:%M:%S%.f%z", text).ok()?.to_timestamp().ok();
        let number = || text.parse::<f64>().ok().and_then(epoch);
        stamp.or_else(offset).or_else(civil).or_else(number).or_else(|| microsoft(text))
    }

    /// As it is sent.
    pub(super) fn write(&self, point: &Point) -> Json {
        let Point::Time(at) = point else {
            return match point {
                Point::Integer(number) => (*number).into(),
                other => other.to_string().into(),
            };
        };
        let printed = |pattern: &str| {
            strtime::format(pattern, &at.to_zoned_datetime(TimeZone::UTC)).unwrap_or_default()
        };
        match self {
            Self::Epoch => at.as_second().into(),
            Self::EpochMillis => at.as_millisecond().into(),
            Self::Date => printed("%Y-%m-%d").into(),
            Self::Rfc3339Millis => printed("%Y-%m-%dT%H:%M:%S.%3fZ").into(),
            Self::Pattern(pattern) => printed(pattern).into(),
            Self::Rfc3339 | Self::Integer | Self::Text => printed("%Y-%m-%dT%H:%M:%S%.fZ").into(),
        }
    }
}

/// `/Date(1541176290160+0000)/`, as older Microsoft serializers and OData 2 write a time: the offset is for display only.
fn microsoft(text: &str) -> Option<Timestamp> {
    let inner = text.strip_prefix("/Date(")?.strip_suffix(")/")?;
    let end =
        inner.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-')).map_or(inner.len(), |(at, _)| at);
    Timestamp::from_millisecond(inner[..end].parse().ok()?).ok()
}

fn utc(at: DateTime) -> Option<Timestamp> {
    at.to_zoned_datetime(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Seconds or milliseconds since 1970: nothing changed in 1970, and nothing changes after the year 5000.
fn epoch(number: f64) -> Option<Timestamp> {
    let seconds = if number.abs() > 1e11 { number / 1e3 } else { number };
    let micros = (seconds * 1e6).round();
    (micros.abs() < 1e17).then_some(micros as i64).and_then(|micros| Timestamp::from_microsecond(micros).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(format: &str, value: Json) -> Option<String> {
        PointFormat::read(format).unwrap().point(&value).map(|point| point.to_string())
    }

    #[test]
    fn times_are_read_as_apis_write_them() {
        let expected = Some("2024-05-06T07:08:09Z".to_owned());
        for text in [
            "2024-05-06T07:08:09Z",
            "2024-05-06T07:08:09.000+00:00",
            "2024-05-06T09:08:09+0200",
            "2024-05-06 07:08:09",
            "1714979289",
            "/Date(1714979289000+0200)/",
        ] {
            assert_eq!(seen("rfc3339", json!(text)), expected, "{text}");
        }
        assert_eq!(seen("epoch", json!(1_714_979_289)), expected);
        assert_eq!(seen("rfc3339", json!(1_714_979_289_000_i64)), expected);
        assert_eq!(seen("%d/%m/%Y %H:%M:%S", json!("06/05/2024 07:08:09")), expected);
        assert_eq!(seen("%d.%m.%Y", json!("06.05.2024")), Some("2024-05-06T00:00:00Z".into()));
        assert_eq!(seen("date", json!("2024-05-06")), Some("2024-05-06T00:00:00Z".into()));
        for wrong in [json!(null), json!("soon"), json!({}), json!(1e300)] {
            assert_eq!(seen("rfc3339", wrong), None);
        }
    }

    #[test]
    fn points_are_written_as_the_api_wants_them() {
        let at = Point::Time("2024-05-06T07:08:09.5Z".parse().unwrap());
        let written = |format: &str| PointFormat::read(format).unwrap().write(&at);
        assert_eq!(written("rfc3339"), "2024-05-06T07:08:09.5Z");
        assert_eq!(written("rfc3339_ms"), "2024-05-06T07:08:09.500Z");
        assert_eq!(written("epoch"), 1_714_979_289);
        assert_eq!(written("epoch_ms"), 1_714_979_289_500_i64);
        assert_eq!(written("date"), "2024-05-06");
        assert_eq!(written("modified_on:gt:%Y"), "modified_on:gt:2024");
        assert!(PointFormat::read("%").is_err() && PointFormat::read("soon").is_err());
    }

    #[test]
    fn numbers_that_grow_are_compared_as_numbers() {
        let format = PointFormat::read("integer").unwrap();
        assert!(format.point(&json!("9")) < format.point(&json!(10)));
        assert_eq!(format.point(&json!(1.5)), None);
    }
}
