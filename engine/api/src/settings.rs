//! Types of settings that read the same in every component.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration as StdDuration;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use zeroize::Zeroizing;

/// A length of time as written in a file: `250ms`, `30s`, `5m`, `72h`, `7d`; `0` alone is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub StdDuration);

impl std::str::FromStr for Duration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let explain =
            || format!("{text:?} is not a duration; write a number with ms, s, m, h or d, like \"30s\"");
        if text == "0" {
            return Ok(Self(StdDuration::ZERO));
        }
        let mut rest = text;
        let mut millis: f64 = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(explain)?;
            let number: f64 = rest[..digits].parse().map_err(|_| explain())?;
            rest = &rest[digits..];
            let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            millis += number
                * match &rest[..unit] {
                    "ms" => 1.0,
                    "s" => 1e3,
                    "m" => 60e3,
                    "h" => 3_600e3,
                    "d" => 86_400e3,
                    _ => return Err(explain()),
                };
            rest = &rest[unit..];
        }
        if text.is_empty() || millis > 3_650.0 * 86_400e3 {
            return Err(explain());
        }
        Ok(Self(StdDuration::from_secs_f64(millis / 1e3)))
    }
}

/// A size in bytes as written in a file: `512B`, `64KiB`, `16MiB`, `1GiB` (also `kB`, `MB`, `GB`), or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl std::str::FromStr for ByteSize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let explain =
            || format!("{text:?} is not a size; write a number with B, KiB, MiB or GiB, like \"16MiB\"");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| explain())?;
        let unit: u64 = match text[digits..].trim_start() {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(explain()),
        };
        number.checked_mul(unit).map(Self).ok_or_else(explain)
    }
}

/// How often something may happen, as written in a file: `100/s`, `30/m`, `6/h`; more than never.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate {
    /// Seconds from one to the next.
    pub interval: f64,
}

impl std::str::FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let explain =
            || format!("{text:?} is not a rate; write a number above 0 per s, m or h, like \"100/s\"");
        let (number, unit) = text.split_once('/').ok_or_else(explain)?;
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return Err(explain()),
        };
        let number: f64 = number.parse().map_err(|_| explain())?;
        match number > 0.0 && number.is_finite() {
            true => Ok(Self { interval: seconds / number }),
            false => Err(explain()),
        }
    }
}

/// Addresses as written in a file: `192.0.2.0/24`, `2001:db8::/32`, or one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl std::str::FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let alone = |_| text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(alone).map(Self).map_err(|_| format!("{text:?} is not a network"))
    }
}

impl Network {
    /// Whether it has this address, also where that is an IPv4 one written as IPv6.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// A string that must not be seen: no `Debug`, no `Display`, no `Serialize`. Its memory is overwritten when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }
    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "x-karez-secret": true})
    }
}

/// Reads a number or a string into a type that knows how to read strings.
struct Written<T>(std::marker::PhantomData<T>, &'static str);

impl<T: std::str::FromStr<Err = String>> Visitor<'_> for Written<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written(std::marker::PhantomData, "a duration like \"30s\""))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written(std::marker::PhantomData, "a size like \"16MiB\""))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written(std::marker::PhantomData, "a rate like \"100/s\""))
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rate".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?/(s|m|h)$",
            "description": "a rate: a number per s, m or h, like 100/s",
            "examples": ["100/s"],
            "x-karez-kind": "rate"
        })
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+)$",
            "description": "a duration: a number with ms, s, m, h or d, like 30s",
            "x-karez-kind": "duration"
        })
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteSize".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": "^[0-9]+ ?(B|kB|KB|MB|GB|KiB|MiB|GiB|TiB)?$",
            "minimum": 0,
            "description": "a size in bytes: a number with B, KiB, MiB or GiB, like 16MiB",
            "x-karez-kind": "size"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        let millis = |text: &str| text.parse::<Duration>().map(|d| d.0.as_millis());
        assert_eq!(millis("250ms"), Ok(250));
        assert_eq!(millis("1.5s"), Ok(1_500));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("7d"), Ok(604_800_000));
        assert_eq!(millis("0"), Ok(0));
        for bad in ["", "5", "s", "-1s", "1w", "1 s", "99999d", "1..5s"] {
            assert!(millis(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_read_as_written() {
        let interval = |text: &str| text.parse::<Rate>().map(|rate| rate.interval);
        assert_eq!(interval("100/s"), Ok(0.01));
        assert_eq!(interval("0.5/m"), Ok(120.0));
        for bad in ["0/s", "1", "x/s", "1/d", "-1/s"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_read_as_written() {
        let bytes = |text: &str| text.parse::<ByteSize>().map(|size| size.0);
        assert_eq!(bytes("16MiB"), Ok(16 << 20));
        assert_eq!(bytes("5 kB"), Ok(5_000));
        assert_eq!(bytes("77"), Ok(77));
        for bad in ["", "MiB", "1.5MiB", "-1", "1 mb", "99999999999TiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
