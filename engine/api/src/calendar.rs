//! When a cron expression matches in a time zone. The search is `croner`'s; this ties it to `jiff`.
//!
//! A time that a change of the clocks leaves out fires right after the gap; a fixed time that
//! happens twice fires once, the first time; `*` and steps go on through both.

use std::cmp::Ordering;
use std::str::FromStr;

use croner::Cron;
use croner::errors::CronError;
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

use crate::Millis;

/// A checked expression with its time zone.
pub(crate) struct Calendar {
    cron: Cron,
    zone: TimeZone,
}

/// Which of the two settings is wrong, and why.
pub(crate) enum Wrong {
    Cron(String),
    Zone(String),
}

impl Calendar {
    /// Time zones come from the database inside the binary: a check reads no file.
    pub(crate) fn new(cron: &str, zone: &str) -> Result<Self, Wrong> {
        let cron = Cron::from_str(cron).map_err(|error| Wrong::Cron(explain(&error)))?;
        let zone = TimeZoneDatabase::bundled()
            .get(zone)
            .map_err(|_| Wrong::Zone(format!("{zone:?} is no time zone of the IANA database")))?;
        let calendar = Self { cron, zone };
        // Leap days and weekdays have come round together once in 40 years; the search goes on for thousands.
        match calendar.after(Millis(0)) {
            Some(_) => Ok(calendar),
            None => Err(Wrong::Cron("never matches: no month of those named has such a day".into())),
        }
    }

    /// The first match after `time`; none where there will never be one.
    pub(crate) fn after(&self, time: Millis) -> Option<Millis> {
        let at = self.local(time)?;
        millis(&self.cron.find_next_occurrence(&at, false).ok()?)
    }

    /// The last match up to `time`, itself included.
    pub(crate) fn up_to(&self, time: Millis) -> Option<Millis> {
        let at = self.local(time)?;
        millis(&self.cron.find_previous_occurrence(&at, true).ok()?)
    }

    fn local(&self, time: Millis) -> Option<Instant> {
        let time = Timestamp::from_millisecond(i64::try_from(time.0).ok()?).ok()?;
        Some(Instant(time.to_zoned_datetime(self.zone.clone())))
    }
}

/// The library's reason in the form of our messages.
fn explain(error: &CronError) -> String {
    let reason = error.to_string();
    let reason = reason.rsplit(": ").next().unwrap_or(&reason).trim_end_matches('.').to_lowercase();
    format!("not a cron expression: {reason}; like \"*/5 * * * *\": minute, hour, day, month, weekday")
}

fn millis(at: &Instant) -> Option<Millis> {
    u64::try_from(at.0.timestamp().as_millisecond()).ok().map(Millis)
}

#[derive(Clone)]
struct Instant(ZonedDateTime);

impl CronDateTime for Instant {
    fn to_civil(&self) -> CivilDateTime {
        let at = self.0.datetime();
        let part = |part: i8| u32::from(part.unsigned_abs());
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(i32::from(at.year()), part(at.month()), part(at.day())),
            CivilTime::from_parts_unchecked(part(at.hour()), part(at.minute()), part(at.second())),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        let days = self.0.weekday().to_sunday_zero_offset();
        Weekday::from_days_from_sunday(u32::from(days.unsigned_abs()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let wrong = |_| CronError::InvalidTime;
        let ambiguous = self.0.time_zone().to_ambiguous_zoned_datetime(to_jiff(civil)?);
        Ok(match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => {
                Resolution::Single(Self(ambiguous.unambiguous().map_err(wrong)?))
            }
            AmbiguousOffset::Fold { .. } => {
                let earlier = ambiguous.clone().earlier().map_err(wrong)?;
                Resolution::Ambiguous(Self(earlier), Self(ambiguous.later().map_err(wrong)?))
            }
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

fn to_jiff(civil: CivilDateTime) -> Result<DateTime, CronError> {
    let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
    let part = |part: u32| i8::try_from(part).map_err(|_| CronError::InvalidDate);
    DateTime::new(
        year,
        part(civil.month())?,
        part(civil.day())?,
        part(civil.hour())?,
        part(civil.minute())?,
        part(civil.second())?,
        0,
    )
    .map_err(|_| CronError::InvalidDate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Millis {
        Millis(text.parse::<Timestamp>().unwrap().as_millisecond() as u64)
    }

    fn fires(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let calendar = Calendar::new(cron, zone).ok().unwrap();
        let next = |time: &Millis| calendar.after(*time);
        std::iter::successors(next(&at(from)), next)
            .take(count)
            .map(|time| Timestamp::from_millisecond(time.0 as i64).unwrap().to_string())
            .collect()
    }

    #[test]
    fn a_fixed_time_fires_once_a_day_through_changes_of_the_clocks() {
        // Clocks go from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25.
        let daily = |from| fires("30 2 * * *", "Europe/Berlin", from, 3);
        let spring = daily("2026-03-27T12:00:00Z");
        assert_eq!(spring[0], "2026-03-28T01:30:00Z");
        assert_eq!(&spring[1][..10], "2026-03-29");
        assert_eq!(spring[2], "2026-03-30T00:30:00Z");
        assert_eq!(
            daily("2026-10-24T12:00:00Z"),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z", "2026-10-27T01:30:00Z"]
        );
    }

    #[test]
    fn steps_go_on_through_the_hour_that_happens_twice() {
        assert_eq!(
            fires("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 4),
            ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"]
        );
    }

    #[test]
    fn the_last_match_is_found_too() {
        let calendar = Calendar::new("0 * * * *", "UTC").ok().unwrap();
        assert_eq!(calendar.up_to(at("2026-01-01T10:59:59Z")), Some(at("2026-01-01T10:00:00Z")));
        assert_eq!(calendar.up_to(at("2026-01-01T10:00:00Z")), Some(at("2026-01-01T10:00:00Z")));
    }

    #[test]
    fn wrong_settings_say_which() {
        assert!(matches!(Calendar::new("61 * * * *", "UTC"), Err(Wrong::Cron(_))));
        assert!(matches!(Calendar::new("* * * * *", "Mars/Olympus"), Err(Wrong::Zone(_))));
        for never in ["0 0 30 2 *", "0 0 31 4,6 *"] {
            assert!(matches!(Calendar::new(never, "UTC"), Err(Wrong::Cron(why)) if why.contains("never")));
        }
        assert!(Calendar::new("0 0 29 2 *", "UTC").is_ok());
    }
}
