//! What is new since the last run, as a file says it: checked, and where a run begins by it.

use std::time::Duration;

use karez_api::{Checker, Json, Path, Problem};

use super::cursor::{Point, PointFormat};
use super::spec::{Filter, IncrementalSpec, Order, StreamSpec};
use super::stream::Incremental;

const SAFETY_LAG: Duration = Duration::from_secs(60);

pub(super) fn check(
    cx: &Checker<'_>,
    at: &Path,
    spec: &IncrementalSpec,
    stream: &StreamSpec,
) -> Option<Incremental> {
    let wrong = |field: &str, message: String, help: &str| {
        cx.report(Problem::error("bad-incremental", at.field(field), message).help(help.to_owned()));
        None
    };
    let format = spec.format.as_deref().unwrap_or("rfc3339");
    let format = match PointFormat::read(format) {
        Ok(format) => format,
        Err(message) => {
            let help =
                "rfc3339, rfc3339_ms, epoch, epoch_ms, date, integer, text, or a pattern like %Y-%m-%d";
            return wrong("format", message, help);
        }
    };
    let start = match &spec.start {
        None => None,
        Some(start) => match format.point(start) {
            Some(point) => Some(point),
            None => return wrong("start", format!("{start} is no such cursor"), "like 2024-01-01"),
        },
    };
    let asks = names_window(stream);
    if start.is_none()
        && let Some(name) = strict_from(stream)
    {
        let message = format!("the first run has no beginning, so `{name}` of the request cannot be written");
        return wrong(
            "start",
            message,
            "set it, or let {{#if window.from}}…{{/if}} or the pick $.window.from leave it out",
        );
    }
    if !format.is_time() {
        for (field, given) in [
            ("step", spec.step.is_some()),
            ("lookback", spec.lookback.is_some()),
            ("retention", spec.retention.is_some()),
            ("safety_lag", spec.safety_lag.is_some()),
        ] {
            if given {
                return wrong(
                    field,
                    "only a cursor that is a time has it".into(),
                    "remove it, or set another `format`",
                );
            }
        }
    }
    if let Some(step) = spec.step {
        if step.0 < Duration::from_secs(1) {
            return wrong("step", "must be at least 1s".into(), "like 7d");
        }
        if !asks.1 {
            let message = "windows need an end: no expression of the request names window.to".into();
            return wrong(
                "step",
                message,
                "like query: {since: \"{{window.from}}\", until: \"{{window.to}}\"}",
            );
        }
        if start.is_none() {
            return wrong("step", "the first window needs a beginning".into(), "set `start`");
        }
    }
    let filters = match spec.filter {
        Some(filter) => filter == Filter::Client,
        None => !asks.0 || spec.order == Order::Desc,
    };
    Some(Incremental {
        start,
        step: spec.step.map(|step| step.0),
        lookback: spec.lookback.map_or(Duration::ZERO, |lookback| lookback.0),
        order: spec.order,
        retention: spec.retention.map(|retention| retention.0),
        safety_lag: match format.is_time() {
            true => spec.safety_lag.map_or(SAFETY_LAG, |lag| lag.0),
            false => Duration::ZERO,
        },
        filters,
        format,
    })
}

/// Whether any expression of the request names the window, and its end.
fn names_window(spec: &StreamSpec) -> (bool, bool) {
    let mut texts: Vec<String> = spec.path.iter().chain(spec.headers.values()).cloned().collect();
    let values = spec.query.values().chain(spec.form.values()).chain(&spec.body);
    texts.extend(values.map(Json::to_string));
    if let Some(job) = &spec.job {
        texts.push(job.create.path.clone());
        texts.extend(job.create.query.values().chain(&job.create.body).map(Json::to_string));
    }
    let any = |what: &str| texts.iter().any(|text| text.contains(what));
    (any("window"), any("window.to"))
}

/// A record that changes while counted pages are read moves to the end, and all behind it move up by one.
pub(super) fn warn_of_shifts(cx: &Checker<'_>, at: &Path, spec: &StreamSpec) {
    let counted = spec.page.as_ref().is_some_and(|page| page.number.is_some() || page.offset.is_some());
    let sorted = spec.incremental.as_ref().is_some_and(|incremental| {
        // What was created stays where it is.
        let cursor = incremental.cursor.to_string().to_ascii_lowercase();
        incremental.order == Order::Asc
            && ["updat", "modif", "chang"].iter().any(|word| cursor.contains(word))
    });
    if counted && sorted {
        let message = "counted pages of a list that is sorted by what changes can skip records";
        let help = "page by `cursor`, ask behind the last record (`cursor: {last: $.id}`), or sort by what stays and say `order: none`";
        let problem = Problem::warning("shifting-pages", cx.at.join(&at.field("page")), message);
        cx.scope.warn(problem.help(help));
    }
}

/// A parameter that is a template of the window's beginning, come what may.
fn strict_from(spec: &StreamSpec) -> Option<&String> {
    let strict = |value: &Json| {
        value.as_str().is_some_and(|text| text.contains("{{window.from") && !text.contains("{{#"))
    };
    spec.query.iter().chain(&spec.form).find(|(_, value)| strict(value)).map(|(name, _)| name)
}

impl Incremental {
    /// Where a run begins that goes on from a mark: as far before it as the file says, and not before the start.
    pub(super) fn behind(&self, mark: &Point) -> Point {
        let behind = mark.minus(self.lookback);
        match &self.start {
            Some(start) if behind < *start && start <= mark => start.clone(),
            _ => behind,
        }
    }

    /// Where a first run begins.
    pub(super) fn beginning(&self, now: &Point) -> Option<Point> {
        let oldest = self.retention.map(|retention| now.minus(retention));
        match (&self.start, oldest) {
            (Some(start), Some(oldest)) => Some(start.max(&oldest).clone()),
            (start, _) => start.clone(),
        }
    }
}
