//! When a token stops to count, in the ways that far ends say it.

use karez_api::{Json, Millis};

use crate::spec::ExpiryFormat;

/// Longest that a token is believed to count: more is a mistake in the unit, or as good as for ever.
const LONGEST: u64 = 10 * 365 * 86_400_000;

/// The time that `value` means, asked for at `asked`. Nothing where it is no such time, or says nothing: some write 0
/// for a token whose end they do not know.
pub(crate) fn read(value: &Json, format: ExpiryFormat, asked: Millis) -> Option<Millis> {
    let after = |millis: f64| (millis > 0.0).then(|| Millis(asked.0 + (millis as u64).min(LONGEST)));
    // Of a time in the past there is an end all the same.
    let at = |millis: f64| (millis > 0.0).then(|| Millis((millis as u64).min(asked.0 + LONGEST)));
    match format {
        ExpiryFormat::Seconds => after(number(value)? * 1e3),
        ExpiryFormat::Milliseconds => after(number(value)?),
        ExpiryFormat::EpochSeconds => at(number(value)? * 1e3),
        ExpiryFormat::EpochMilliseconds => at(number(value)?),
        ExpiryFormat::Clock => after(clock(value.as_str()?)? * 1e3),
        ExpiryFormat::Timestamp => {
            let time: jiff::Timestamp = value.as_str()?.trim().parse().ok()?;
            at(time.as_millisecond() as f64)
        }
    }
}

/// Some write numbers as text.
fn number(value: &Json) -> Option<f64> {
    let number = match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

/// `hours:minutes:seconds` in seconds; hours have no bound.
fn clock(text: &str) -> Option<f64> {
    let parts: Vec<&str> = text.trim().split(':').collect();
    let [hours, minutes, seconds] = *parts else {
        return None;
    };
    let whole = |part: &str| part.parse::<u32>().ok().map(f64::from);
    let seconds: f64 = seconds.parse().ok().filter(|seconds: &f64| (0.0..60.0).contains(seconds))?;
    Some(whole(hours)? * 3_600.0 + whole(minutes).filter(|minutes| *minutes < 60.0)? * 60.0 + seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_end_is_read_as_it_is_written() {
        const ASKED: u64 = 1_700_000_000_000;
        let cases = [
            (json!(3600), ExpiryFormat::Seconds, Some(ASKED + 3_600_000)),
            (json!("3600"), ExpiryFormat::Seconds, Some(ASKED + 3_600_000)),
            (json!(1.5), ExpiryFormat::Seconds, Some(ASKED + 1_500)),
            (json!(0), ExpiryFormat::Seconds, None),
            (json!(-5), ExpiryFormat::Seconds, None),
            (json!(1e300), ExpiryFormat::Seconds, Some(ASKED + LONGEST)),
            (json!("inf"), ExpiryFormat::Seconds, None),
            (json!(900_000), ExpiryFormat::Milliseconds, Some(ASKED + 900_000)),
            (json!(1_700_000_060), ExpiryFormat::EpochSeconds, Some(ASKED + 60_000)),
            (json!("1700000060000"), ExpiryFormat::EpochMilliseconds, Some(ASKED + 60_000)),
            (json!(5), ExpiryFormat::EpochSeconds, Some(5_000)),
            (json!("177:05:38"), ExpiryFormat::Clock, Some(ASKED + 637_538_000)),
            (json!("1:60:00"), ExpiryFormat::Clock, None),
            (json!("5:38"), ExpiryFormat::Clock, None),
            (json!("2023-11-14T22:14:20Z"), ExpiryFormat::Timestamp, Some(ASKED + 60_000)),
            (json!("2023-11-14T23:14:20.5+01:00"), ExpiryFormat::Timestamp, Some(ASKED + 60_500)),
            (json!("tomorrow"), ExpiryFormat::Timestamp, None),
            (json!(null), ExpiryFormat::Seconds, None),
            (json!({"s": 1}), ExpiryFormat::Seconds, None),
        ];
        for (value, format, expected) in cases {
            let read = read(&value, format, Millis(ASKED));
            assert_eq!(read, expected.map(Millis), "{value} {format:?}");
        }
    }
}
