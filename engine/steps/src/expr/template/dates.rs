//! The `date` helper: moments, and patterns in the letters of Unicode's LDML, as Java and most others have them.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ZonedDateTime};
use karez_api::Json;

/// A moment as a record holds it: RFC 3339 text, or a number of `unit` (`s`, `ms`, `us`, `ns`) since 1970.
pub(crate) fn moment(value: &Json, unit: &str) -> Result<Timestamp, String> {
    match value {
        Json::String(text) => {
            text.parse().map_err(|_| format!("{text:?} is not an RFC 3339 time like 2026-01-31T12:00:00Z"))
        }
        Json::Number(number) => {
            let outside = || format!("{number} {unit} since 1970 is out of range");
            if let Some(count) = number.as_i64() {
                return match unit {
                    "s" => Timestamp::from_second(count),
                    "ms" => Timestamp::from_millisecond(count),
                    "us" => Timestamp::from_microsecond(count),
                    "ns" => Timestamp::from_nanosecond(i128::from(count)),
                    _ => return Err(format!("unknown unit {unit:?}; use s, ms, us or ns")),
                }
                .map_err(|_| outside());
            }
            let seconds = number.as_f64().ok_or_else(outside)? / per_second(unit)?;
            let duration = jiff::SignedDuration::try_from_secs_f64(seconds).map_err(|_| outside())?;
            Timestamp::from_duration(duration).map_err(|_| outside())
        }
        _ => Err("a time is RFC 3339 text or a number".to_owned()),
    }
}

fn per_second(unit: &str) -> Result<f64, String> {
    match unit {
        "s" => Ok(1.0),
        "ms" => Ok(1e3),
        "us" => Ok(1e6),
        "ns" => Ok(1e9),
        _ => Err(format!("unknown unit {unit:?}; use s, ms, us or ns")),
    }
}

/// A zone of the bundled IANA database; the machine's own is not read.
pub(super) fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZoneDatabase::bundled()
        .get(name)
        .map_err(|_| format!("unknown time zone {name:?}; use a name like Europe/Berlin"))
}

/// `yyyy-MM-dd'T'HH:mm:ss` and the like.
pub(super) fn format(at: &ZonedDateTime, pattern: &str) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        if letter == '\'' {
            rest = quoted(&rest[1..], &mut text)?;
            continue;
        }
        let count = rest.chars().take_while(|next| *next == letter).count();
        let run = &rest[..count * letter.len_utf8()];
        rest = &rest[run.len()..];
        if !letter.is_ascii_alphabetic() {
            text.push_str(run);
        } else {
            match directive(run, at) {
                Some(part) => text.push_str(&part),
                None => {
                    return Err(format!(
                        "unknown letters {run:?} in the date pattern; literal text stands in 'quotes'"
                    ));
                }
            }
        }
    }
    Ok(text)
}

/// Reads to the closing quote; two quotes are one, also outside of quotes.
fn quoted<'a>(mut rest: &'a str, text: &mut String) -> Result<&'a str, String> {
    if let Some(after) = rest.strip_prefix('\'') {
        text.push('\'');
        return Ok(after);
    }
    loop {
        let (inside, after) = rest.split_once('\'').ok_or("a quote in the date pattern is not closed")?;
        text.push_str(inside);
        match after.strip_prefix('\'') {
            Some(after) => {
                text.push('\'');
                rest = after;
            }
            None => return Ok(after),
        }
    }
}

fn directive(run: &str, at: &ZonedDateTime) -> Option<String> {
    let strftime = match run {
        "yyyy" => "%Y",
        "yy" => "%y",
        "MMMM" => "%B",
        "MMM" => "%b",
        "MM" => "%m",
        "M" => "%-m",
        "dd" => "%d",
        "d" => "%-d",
        "DDD" => "%j",
        "EEEE" => "%A",
        "E" | "EEE" => "%a",
        "HH" => "%H",
        "H" => "%-H",
        "hh" => "%I",
        "h" => "%-I",
        "mm" => "%M",
        "m" => "%-M",
        "ss" => "%S",
        "s" => "%-S",
        "SSS" => "%3f",
        "SSSSSS" => "%6f",
        "SSSSSSSSS" => "%9f",
        "a" => "%p",
        "Z" | "xx" => "%z",
        "xxx" => "%:z",
        "z" => "%Z",
        "VV" => "%Q",
        "XXX" | "X" if at.offset().is_zero() => return Some("Z".to_owned()),
        "XXX" | "X" => "%:z",
        _ => return None,
    };
    Some(at.strftime(strftime).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_read_as_in_other_languages() {
        let at: Timestamp = "2026-03-05T07:08:09.012Z".parse().unwrap();
        let print = |pattern: &str, name: &str| format(&ZonedDateTime::new(at, zone(name).unwrap()), pattern);
        for (pattern, tz, expected) in [
            ("yyyy-MM-dd", "UTC", "2026-03-05"),
            ("d MMM yy", "UTC", "5 Mar 26"),
            ("EEEE, MMMM d", "UTC", "Thursday, March 5"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "UTC", "2026-03-05T07:08:09.012Z"),
            ("yyyy-MM-dd'T'HH:mm:ssXXX", "Asia/Tehran", "2026-03-05T10:38:09+03:30"),
            ("h:mm a 'o''clock'", "UTC", "7:08 AM o'clock"),
        ] {
            let printed = print(pattern, tz);
            assert_eq!(printed.as_deref(), Ok(expected), "{pattern}");
        }
        assert!(print("yyyy-mm-DD", "UTC").is_err());
        assert!(print("'open", "UTC").is_err());
        assert!(zone("Mars/Base").is_err());
    }

    #[test]
    fn moments_are_text_or_counted() {
        let read = |value: Json, unit: &str| moment(&value, unit).map(|at| at.to_string());
        assert_eq!(read(json!(1_700_000_000), "s").unwrap(), "2023-11-14T22:13:20Z");
        assert_eq!(read(json!(1_700_000_000_123_i64), "ms").unwrap(), "2023-11-14T22:13:20.123Z");
        assert_eq!(read(json!(1_700_000_000.5), "s").unwrap(), "2023-11-14T22:13:20.5Z");
        assert_eq!(read(json!("2023-11-14T23:13:20+01:00"), "s").unwrap(), "2023-11-14T22:13:20Z");
        for bad in [json!("yesterday"), json!(1e300), json!(null), json!(i64::MAX)] {
            assert!(read(bad.clone(), "s").is_err(), "{bad}");
        }
    }
}
