//! What a far end says of how often it may be called: `Retry-After`, `RateLimit` (draft 10 of
//! draft-ietf-httpapi-ratelimit-headers and its forebears), and what others have in their place. Reads only.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, header};
use karez_api::Millis;
use sfv::{BareItem, Dictionary, Item, List, ListEntry, Parser};

/// What a far end can ask for at most; the engine's own `max_wait` is far below.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 365 * 86_400);
/// A reset further away is asked about again after this.
const LONGEST_RESET: Duration = Duration::from_secs(86_400);
/// Where nothing is left and nothing says until when.
const UNKNOWN_RESET: Duration = Duration::from_secs(5);
/// Salesforce counts the last 24 hours: there is no moment at which everything is back.
const SALESFORCE_PAUSE: Duration = Duration::from_secs(300);
/// Shopify's bucket of 40 leaks 2 each second, of 80 it leaks 4, and so on.
const SHOPIFY_SECONDS: f64 = 20.0;

/// One quota as the far end counts it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hint {
    /// Which of its quotas it is.
    pub(crate) name: String,
    pub(crate) limit: Option<f64>,
    pub(crate) remaining: f64,
    pub(crate) refill: Refill,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Refill {
    /// All of it, this long after the answer.
    After(Duration),
    /// This much each second.
    PerSecond(f64),
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds or a date. Junk, negative numbers and dates that
/// are past say nothing. At most ten years. A date counts from the answer's `Date`, if it has one.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Millis) -> Option<Duration> {
    headers
        .get_all(header::RETRY_AFTER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(|text| wait(text.trim(), there(headers, now)))
        .map(|wait| wait.min(LONGEST_WAIT))
}

/// What time it was at the far end when it answered: as the answer's `Date` says, else as here.
#[must_use]
pub fn answered_at(headers: &HeaderMap, now: Millis) -> Millis {
    there(headers, now)
}

fn wait(text: &str, now: Millis) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds is a very long time all the same.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    until(http_date(text)?, now).filter(|wait| !wait.is_zero())
}

/// The quotas that an answer speaks of.
pub(crate) fn hints(headers: &HeaderMap, now: Millis) -> Vec<Hint> {
    let now = there(headers, now);
    let mut hints = structured(headers);
    for family in FAMILIES {
        hints.extend(family.read(headers, now));
    }
    hints.extend(usage(
        headers,
        "x-shopify-shop-api-call-limit",
        |text| Some(text),
        |limit| Refill::PerSecond(limit / SHOPIFY_SECONDS),
    ));
    hints.extend(usage(
        headers,
        "sforce-limit-info",
        |text| text.strip_prefix("api-usage="),
        |_| Refill::After(SALESFORCE_PAUSE),
    ));
    hints
}

/// What time it is there: as the answer says, else as here.
fn there(headers: &HeaderMap, now: Millis) -> Millis {
    text(headers, "date").and_then(http_date).unwrap_or(now)
}

fn http_date(text: &str) -> Option<Millis> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    since.as_millis().try_into().ok().map(Millis)
}

fn until(at: Millis, now: Millis) -> Option<Duration> {
    at.0.checked_sub(now.0).map(Duration::from_millis)
}

/// Headers that belong together; the first of the names that is there counts.
struct Family {
    limit: &'static str,
    remaining: &'static str,
    reset: &'static str,
    /// Always seconds from now.
    reset_after: &'static str,
}

const FAMILIES: [Family; 3] = [
    Family {
        limit: "ratelimit-limit",
        remaining: "ratelimit-remaining",
        reset: "ratelimit-reset",
        reset_after: "ratelimit-reset-after",
    },
    Family {
        limit: "x-ratelimit-limit",
        remaining: "x-ratelimit-remaining",
        reset: "x-ratelimit-reset",
        reset_after: "x-ratelimit-reset-after",
    },
    Family {
        limit: "x-rate-limit-limit",
        remaining: "x-rate-limit-remaining",
        reset: "x-rate-limit-reset",
        reset_after: "x-rate-limit-reset-after",
    },
];

impl Family {
    fn read(&self, headers: &HeaderMap, now: Millis) -> Option<Hint> {
        let remaining = leading(text(headers, self.remaining)?)?;
        let after = || seconds(text(headers, self.reset_after)?.trim().parse().ok()?);
        let reset = after().or_else(|| reset(text(headers, self.reset)?.trim(), now));
        Some(Hint {
            name: self.remaining.to_owned(),
            limit: text(headers, self.limit).and_then(leading),
            remaining,
            refill: Refill::After(reset.unwrap_or(UNKNOWN_RESET).min(LONGEST_RESET)),
        })
    }
}

/// How long until a reset: large numbers are moments, in seconds or milliseconds, small ones are seconds from now.
fn reset(text: &str, now: Millis) -> Option<Duration> {
    if let Ok(number) = text.parse::<f64>() {
        return match number {
            number if number > 1e12 => Some(until(Millis(number as u64), now).unwrap_or_default()),
            number if number > 1e9 => Some(until(Millis((number * 1e3) as u64), now).unwrap_or_default()),
            number => seconds(number),
        };
    }
    if let Ok(length) = text.parse::<karez_api::Duration>() {
        return Some(length.0);
    }
    let iso = || text.parse::<jiff::Timestamp>().ok()?.as_millisecond().try_into().ok().map(Millis);
    Some(until(http_date(text).or_else(iso)?, now).unwrap_or_default())
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number.max(0.0)).ok()
}

/// `18/5000`: what was used, of how much.
fn usage(
    headers: &HeaderMap,
    name: &'static str,
    part: impl Fn(&str) -> Option<&str>,
    refill: impl Fn(f64) -> Refill,
) -> Option<Hint> {
    let value = text(headers, name)?;
    let (used, limit) = value.split([',', ';']).find_map(|text| part(text.trim())?.split_once('/'))?;
    let (used, limit) = (leading(used)?, leading(limit)?);
    Some(Hint {
        name: name.to_owned(),
        limit: Some(limit),
        remaining: (limit - used).max(0.0),
        refill: refill(limit),
    })
}

/// `RateLimit` with `RateLimit-Policy`: a list (draft 8 and later) or a dictionary (draft 7).
fn structured(headers: &HeaderMap) -> Vec<Hint> {
    let Some(limits) = text(headers, "ratelimit") else { return Vec::new() };
    if let Ok(limits) = Parser::new(limits).parse::<List>() {
        let policies =
            text(headers, "ratelimit-policy").and_then(|text| Parser::new(text).parse::<List>().ok());
        let policies: Vec<&Item> = policies.iter().flatten().filter_map(item).collect();
        return limits.iter().filter_map(item).filter_map(|limit| listed(limit, &policies)).collect();
    }
    let fields = Parser::new(limits).parse::<Dictionary>().ok();
    fields.as_ref().and_then(dictionary).into_iter().collect()
}

fn listed(limit: &Item, policies: &[&Item]) -> Option<Hint> {
    let name = name(limit)?;
    let policy = policies.iter().find(|policy| self::name(policy) == Some(name));
    let unit = policy.and_then(|policy| param(policy, "qu")).and_then(|unit| unit.as_string());
    if unit.is_some_and(|unit| unit.as_str() != "requests") {
        // Bytes and the like: nobody knows before what a request costs.
        return None;
    }
    let of_policy = |name| policy.and_then(|policy| number(param(policy, name)?));
    let reset = param(limit, "t").and_then(number).or_else(|| of_policy("w")).and_then(seconds);
    Some(Hint {
        name: name.to_owned(),
        limit: of_policy("q"),
        remaining: number(param(limit, "r")?)?,
        refill: Refill::After(reset.unwrap_or(UNKNOWN_RESET).min(LONGEST_RESET)),
    })
}

fn dictionary(fields: &Dictionary) -> Option<Hint> {
    let field = |name: &str| match fields.iter().find(|(key, _)| key.as_str() == name)?.1 {
        ListEntry::Item(item) => number(&item.bare_item),
        ListEntry::InnerList(_) => None,
    };
    Some(Hint {
        name: "ratelimit".to_owned(),
        limit: field("limit"),
        remaining: field("remaining")?,
        refill: Refill::After(field("reset").and_then(seconds).unwrap_or(UNKNOWN_RESET).min(LONGEST_RESET)),
    })
}

fn item(entry: &ListEntry) -> Option<&Item> {
    match entry {
        ListEntry::Item(item) => Some(item),
        ListEntry::InnerList(_) => None,
    }
}

fn name(item: &Item) -> Option<&str> {
    let text = item.bare_item.as_string().map(|text| text.as_str());
    text.or_else(|| item.bare_item.as_token().map(|token| token.as_str()))
}

fn param<'a>(item: &'a Item, name: &str) -> Option<&'a BareItem> {
    item.params.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value)
}

fn number(value: &BareItem) -> Option<f64> {
    let integer = value.as_integer().map(|integer| i64::from(integer) as f64);
    integer.or_else(|| value.as_decimal().map(f64::from)).filter(|number| *number >= 0.0)
}

/// The number at the beginning: `100, 100;w=60` (draft 3) says 100.
fn leading(text: &str) -> Option<f64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text[..end].parse().ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get(HeaderName::from_static(name))?.to_str().ok()
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;
