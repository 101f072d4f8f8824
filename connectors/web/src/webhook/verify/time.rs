//! When a request was signed, and whether that is near enough to now: what keeps a captured
//! request from being sent again later.

use std::time::Duration;

use karez_api::Millis;

use super::place::{Place, after};
use super::request::Request;

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    /// Seconds since 1970.
    #[default]
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// `2026-11-24T10:15:00Z`.
    Rfc3339,
}

/// Where a timestamp stands.
pub(super) enum At {
    Place(Place),
    /// Among the entries of the header that holds the code.
    Label(Place, char, String),
}

pub(super) struct Timestamp {
    pub(super) at: At,
    pub(super) unit: Unit,
    pub(super) window: Window,
}

/// How far a time may be from now.
pub(super) struct Window {
    /// How old it may be.
    pub(super) past: Duration,
    /// How far ahead of our clock it may be.
    pub(super) future: Duration,
}

impl Timestamp {
    /// As it is written, and so signed.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn text(&self, request: &Request<'_>) -> Result<String, String> {
        let (name, found) = match &self.at {
            At::Place(place) => {
                let texts = place.texts(request, None).map_err(|what| format!("{} {what}", place.name()))?;
                (place.name(), texts.into_iter().next())
            }
            At::Label(place, separator, label) => {
                let texts = place.texts(request, None).map_err(|what| format!("{} {what}", place.name()))?;
                let mut found = texts.iter().flat_map(|text| after(text, *separator, label.as_bytes()));
                match (found.next(), found.next()) {
                    (Some(text), None) => (place.name(), Some(text.to_vec())),
                    (None, _) => return Err(format!("{} holds no {label}", place.name())),
                    (Some(_), Some(_)) => return Err(format!("{} holds {label} twice", place.name())),
                }
            }
        };
        let text = found.and_then(|text| String::from_utf8(text).ok());
        text.ok_or_else(|| format!("{name} is not a timestamp"))
    }

    /// The time, if it counts.
    ///
    /// # Errors
    /// A sentence: too old, too far ahead, or not a time.
    pub(super) fn judge(&self, text: &str, now: Millis) -> Result<Millis, String> {
        let stamped = self.read(text).ok_or_else(|| format!("{text:?} is not a timestamp"))?;
        self.window.judge(stamped, now)
    }

    /// Milliseconds since 1970.
    fn read(&self, text: &str) -> Option<i128> {
        let number = || text.parse::<u64>().ok().map(i128::from);
        match self.unit {
            Unit::Seconds => number().map(|seconds| seconds * 1_000),
            Unit::Milliseconds => number(),
            Unit::Rfc3339 => text.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond().into()),
        }
    }
}

impl Window {
    /// `stamped` is in milliseconds since 1970. Yields it, if it counts.
    ///
    /// # Errors
    /// A sentence: too old, or too far ahead.
    pub(super) fn judge(&self, stamped: i128, now: Millis) -> Result<Millis, String> {
        let now = i128::from(now.0);
        let age = now - stamped;
        let most = |window: Duration| i128::try_from(window.as_millis()).unwrap_or(i128::MAX);
        if age > most(self.past) {
            return Err(format!("the timestamp is {} s old, which is too old", age / 1_000));
        }
        if -age > most(self.future) {
            return Err(format!("the timestamp is {} s ahead of our clock, which is too far", -age / 1_000));
        }
        Ok(Millis(stamped.try_into().unwrap_or_default()))
    }
}
