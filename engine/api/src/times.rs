//! The times that a file names for what happens again and again: a cron expression, or an interval.
//! Pure: the time zones are inside the binary, and no clock is asked.

use std::fmt;
use std::time::Duration as StdDuration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::calendar::{Calendar, Wrong};
use crate::{Duration, Millis, Path, Problem, Timetable};

/// What comes more often than this is a stream, not a schedule.
const LEAST: StdDuration = StdDuration::from_secs(1);

/// When something happens, as a file says it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Minute, hour, day, month and weekday, like `*/5 * * * *`; a sixth field in front means seconds. This or `every`.
    pub cron: Option<String>,
    /// Time zone of `cron`, like `Europe/Berlin`. Default `UTC`.
    pub timezone: Option<String>,
    /// A time from one to the next, at least `1s`, counted from 1970: `5m` is :00, :05, …. This or `cron`.
    pub every: Option<Duration>,
}

impl Schedule {
    /// # Errors
    /// What is wrong, at its place below the schedule.
    pub fn check(&self) -> Result<Times, Problem> {
        let wrong = |at: Path, message: String| Err(Problem::error("bad-value", at, message));
        let field = |name: &str| Path::root().field(name);
        match (&self.cron, self.every) {
            (Some(cron), None) => match Calendar::new(cron, self.timezone.as_deref().unwrap_or("UTC")) {
                Ok(calendar) => Ok(Times(Kind::Calendar(cron.clone(), Box::new(calendar)))),
                Err(Wrong::Cron(message)) => wrong(field("cron"), message),
                Err(Wrong::Zone(message)) => wrong(field("timezone"), message),
            },
            (None, Some(_)) if self.timezone.is_some() => {
                wrong(field("timezone"), "only `cron` has a time zone".into())
            }
            (None, Some(every)) if every.0 < LEAST => wrong(field("every"), "must be at least 1s".into()),
            (None, Some(every)) => Ok(Times(Kind::Every(every.0))),
            (Some(_), Some(_)) => wrong(field("every"), "takes `cron` or `every`, not both".into()),
            (None, None) => wrong(Path::root(), "needs `cron` or `every`".into()),
        }
    }
}

/// A checked [`Schedule`].
pub struct Times(Kind);

enum Kind {
    /// With the expression as it was written.
    Calendar(String, Box<Calendar>),
    /// At least [`LEAST`].
    Every(StdDuration),
}

impl Times {
    /// The last time up to this one, itself included; none where there was none.
    #[must_use]
    pub fn up_to(&self, time: Millis) -> Option<Millis> {
        match &self.0 {
            Kind::Calendar(_, calendar) => calendar.up_to(time),
            Kind::Every(every) => Some(Millis(time.0 / millis(*every) * millis(*every))),
        }
    }
}

impl Timetable for Times {
    fn after(&self, time: Millis) -> Option<Millis> {
        match &self.0 {
            Kind::Calendar(_, calendar) => calendar.after(time),
            Kind::Every(every) => (time.0 / millis(*every) + 1).checked_mul(millis(*every)).map(Millis),
        }
    }
}

/// As people say it: the expression, or `every 300s`.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Calendar(cron, _) => f.write_str(cron),
            Kind::Every(every) => write!(f, "every {every:?}"),
        }
    }
}

fn millis(time: StdDuration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn checked(schedule: Value) -> Result<Times, String> {
        let schedule: Schedule = serde_json::from_value(schedule).unwrap();
        schedule.check().map_err(|problem| format!("{}: {}", problem.at, problem.message))
    }

    #[test]
    fn an_interval_is_counted_from_1970_and_a_calendar_from_its_zone() {
        let every = checked(json!({"every": "5m"})).ok().unwrap();
        assert_eq!(every.after(Millis(300_000)), Some(Millis(600_000)));
        assert_eq!(
            (every.up_to(Millis(599_999)), every.to_string()),
            (Some(Millis(300_000)), "every 300s".into())
        );
        let daily = checked(json!({"cron": "0 1 * * *", "timezone": "Europe/Berlin"})).ok().unwrap();
        assert_eq!(daily.after(Millis(0)), Some(Millis(86_400_000)), "01:00 in Berlin was just then");
        assert_eq!(daily.to_string(), "0 1 * * *");
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (schedule, said) in [
            (json!({}), ": needs `cron` or `every`"),
            (json!({"every": "5m", "cron": "* * * * *"}), "every: takes `cron` or `every`, not both"),
            (json!({"every": "100ms"}), "every: must be at least 1s"),
            (json!({"every": "5m", "timezone": "UTC"}), "timezone: only `cron` has a time zone"),
            (json!({"cron": "0 0 31 2 *"}), "cron: never matches: no month of those named has such a day"),
            (
                json!({"cron": "* * * * *", "timezone": "Mars/Olympus"}),
                "timezone: \"Mars/Olympus\" is no time zone of the IANA database",
            ),
        ] {
            assert_eq!(checked(schedule).err().as_deref(), Some(said));
        }
    }
}
