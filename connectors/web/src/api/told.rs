//! What of a stream people are told before anything is asked: its settings in words, kept beside what was compiled.

use std::time::Duration;

use karez_api::{Json, Rate};
use karez_net::spec::{Concurrency, Quota};
use karez_net::{Checked, Scrub};
use serde_json::json;

use super::spec::{Action, CallSpec, NumberSpec, OffsetSpec, PageSpec, RuleSpec, StreamSpec};

/// A stream's settings in words.
pub(super) struct Told {
    pub(super) paging: String,
    pub(super) errors: Vec<String>,
    /// Path and query of the request as they are written.
    pub(super) request: String,
    /// Those of the request that orders a report.
    pub(super) job: Option<String>,
    /// Which parents it is read for, where it is not all of them.
    pub(super) when: Option<String>,
}

impl Told {
    pub(super) fn of(spec: &StreamSpec, prefix: &str) -> Self {
        let job = spec.job.as_ref().map(|job| {
            let CallSpec { path, query, .. } = &job.create;
            written(prefix, path, query.iter())
        });
        Self {
            paging: spec.page.as_ref().map_or_else(|| "one page".to_owned(), paging),
            errors: spec.errors.iter().map(rule).collect(),
            request: written(prefix, spec.path.as_deref().unwrap_or_default(), spec.query.iter()),
            job,
            when: spec.for_each.as_ref().and_then(|parent| parent.get("when")).map(plain),
        }
    }
}

fn written<'a>(prefix: &str, path: &str, query: impl Iterator<Item = (&'a String, &'a Json)>) -> String {
    let pairs: Vec<String> = query.map(|(name, value)| format!("{name}={}", plain(value))).collect();
    let mark = match (pairs.is_empty(), path.contains('?')) {
        (true, _) => "",
        (false, true) => "&",
        (false, false) => "?",
    };
    format!("{prefix}{path}{mark}{}", pairs.join("&"))
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn paging(spec: &PageSpec) -> String {
    let total = |total: &Option<String>| total.as_ref().map(|pick| format!(", up to {pick}"));
    let mut text = match spec {
        PageSpec { cursor: Some(cursor), .. } => format!("cursor {}", plain(cursor)),
        PageSpec { number: Some(NumberSpec { from, size, total: pick }), .. } => {
            let size = size.map(|size| format!(", {size} records each")).unwrap_or_default();
            format!("numbered from {from}{size}{}", total(pick).unwrap_or_default())
        }
        PageSpec { offset: Some(OffsetSpec { size, from, total: pick }), .. } => {
            format!("offset from {from}, {size} records each{}", total(pick).unwrap_or_default())
        }
        PageSpec { relay: Some((path, _)), .. } => format!("relay {path}"),
        PageSpec { link: Some(relation), .. } => format!("header Link, rel={relation}"),
        PageSpec { next_url: Some(pick), .. } => format!("next address {pick}"),
        _ => "one page".to_owned(),
    };
    text.extend(spec.into.iter().map(|into| format!(" -> {into}")));
    text.extend(spec.size_into.iter().map(|into| format!(", size -> {into}")));
    text.extend(spec.more.iter().map(|more| format!(", while {}", plain(more))));
    text
}

fn rule(rule: &RuleSpec) -> String {
    let mut when: Vec<String> = Vec::new();
    if !rule.status.is_empty() {
        when.push(rule.status.iter().map(u16::to_string).collect::<Vec<_>>().join(", "));
    }
    when.extend(rule.header.iter().map(|(name, value)| format!("{name}: {value}")));
    when.extend(rule.body.iter().map(|pick| match rule.is.is_empty() {
        true => pick.clone(),
        false => {
            format!("{pick} is {}", rule.is.iter().map(Json::to_string).collect::<Vec<_>>().join(" or "))
        }
    }));
    let action = match rule.action {
        Action::Retry => "retry",
        Action::Ignore => "ignore",
        Action::SkipPartition => "skip_partition",
        Action::Fail => "fail",
        Action::Throttle => "throttle",
        Action::RefreshAuth => "refresh_auth",
    };
    format!("{} -> {action}", when.join(" and "))
}

/// Where it is, and what may be asked of it.
pub(super) fn connection(checked: &Checked) -> Json {
    let spec = checked.spec();
    let scrub = Scrub::of(checked);
    json!({
        "name": checked.name(),
        "url": spec.url.as_deref().map(|url| scrub.text(url)),
        "quotas": spec.limits.quotas.iter().map(quota).collect::<Vec<_>>(),
        "concurrency": match &spec.limits.concurrency {
            None => Json::Null,
            Some(Concurrency::Fixed(calls)) => (*calls).into(),
            Some(Concurrency::Adaptive(_)) => "adaptive".into(),
        },
    })
}

fn quota(quota: &Quota) -> String {
    let mut text = match (quota.rate, quota.window, quota.requests) {
        (_, Some(window), Some(requests)) => format!("{requests} in {}", span(window.0)),
        (Some(rate), ..) => per(rate),
        _ => String::new(),
    };
    text.extend(quota.burst.map(|burst| format!(", burst {burst}")));
    text.extend(quota.path.iter().map(|path| format!(" for {path}")));
    text
}

/// In the unit of time that makes a whole number of it.
fn per(rate: Rate) -> String {
    let units = [(1.0, "s"), (60.0, "m"), (3_600.0, "h")];
    let counts = units.map(|(seconds, unit)| (seconds / rate.interval, unit));
    let whole = |(count, _): &&(f64, &str)| *count > 0.999 && (count - count.round()).abs() < 1e-6;
    let (count, unit) = counts.iter().find(whole).unwrap_or(&counts[2]);
    format!("{}/{unit}", (count * 100.0).round() / 100.0)
}

/// A time as a file writes it, in its largest unit that leaves no rest.
pub(super) fn span(time: Duration) -> String {
    let millis = time.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.iter().find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(stream: Json) -> Told {
        Told::of(&serde_json::from_value(stream).unwrap(), "/v2")
    }

    #[test]
    fn ways_of_paging_are_told_as_they_are_written() {
        let page = |page: Json| told(json!({"page": page})).paging;
        assert_eq!(page(json!({"cursor": "$.next", "into": "query.after"})), "cursor $.next -> query.after");
        assert_eq!(
            page(
                json!({"offset": {"size": 50}, "into": "query.at", "size_into": "query.max", "more": "$.more"})
            ),
            "offset from 0, 50 records each -> query.at, size -> query.max, while $.more"
        );
        assert_eq!(
            page(json!({"number": {"total": "$.pages"}, "into": "query.page"})),
            "numbered from 1, up to $.pages -> query.page"
        );
        assert_eq!(page(json!({"link": "next"})), "header Link, rel=next");
        assert_eq!(told(json!({})).paging, "one page");
    }

    #[test]
    fn rules_and_targets_are_told_as_they_are_written() {
        let told = told(json!({
            "path": "/a/{{parent.id}}", "query": {"n": 5, "since": "{{window.from}}"},
            "errors": [{"status": [403, 404], "do": "ignore"}, {"body": "$.code", "is": ["E1"], "do": "retry"}],
        }));
        assert_eq!(told.request, "/v2/a/{{parent.id}}?n=5&since={{window.from}}");
        assert_eq!(told.errors, ["403, 404 -> ignore", "$.code is \"E1\" -> retry"]);
    }

    #[test]
    fn times_and_rates_are_told_in_units_that_fit() {
        for (millis, text) in
            [(604_800_000, "7d"), (90_000, "90s"), (600_000, "10m"), (1_500, "1500ms"), (0, "0ms")]
        {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
        for text in ["10/s", "100/m", "1/h"] {
            assert_eq!(per(text.parse().unwrap()), text);
        }
    }
}
