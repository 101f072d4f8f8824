//! Prometheus' text form: families with their samples. Knows no metric.

use std::collections::HashMap;
use std::fmt::Write;

use karez_runtime::{BUCKETS, HistogramReading};

/// Samples grouped by family, as the format demands.
#[derive(Default)]
pub(super) struct Exposition {
    families: Vec<Family>,
    by_name: HashMap<String, usize>,
}

struct Family {
    head: String,
    samples: String,
}

pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    pub(super) fn counter(&mut self, name: &str, help: &str) {
        self.family(name, "counter", help);
    }
    pub(super) fn gauge(&mut self, name: &str, help: &str) {
        self.family(name, "gauge", help);
    }

    /// Families come out in the order in which they are named first.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self.by_name.insert(name.to_owned(), self.families.len());
        self.families.push(Family { head, samples: String::new() });
    }

    /// A sample of a family that was named before.
    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Into<Number>) {
        self.line(name, "", labels, value.into());
    }

    pub(super) fn histogram(&mut self, name: &str, labels: Labels<'_>, reading: &HistogramReading) {
        let mut total = 0;
        for (n, count) in reading.buckets.iter().enumerate() {
            total += count;
            let bound = BUCKETS.get(n).map_or("+Inf".to_owned(), f64::to_string);
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line(name, "_bucket", &labels, Number::Whole(total));
        }
        self.line(name, "_sum", labels, Number::Real(reading.sum_seconds));
        self.line(name, "_count", labels, Number::Whole(total));
    }

    /// A histogram whose buckets have been added up: how many were within each bound, but for the last one.
    pub(super) fn buckets(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        within: &[(f64, u64)],
        total: (u64, f64),
    ) {
        let (count, sum) = total;
        for (bound, count) in within {
            let bound = bound.to_string();
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line(name, "_bucket", &labels, Number::Whole(*count));
        }
        let labels_of_all: Vec<_> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        self.line(name, "_bucket", &labels_of_all, Number::Whole(count));
        self.line(name, "_sum", labels, Number::Real(sum));
        self.line(name, "_count", labels, Number::Whole(count));
    }

    fn line(&mut self, family: &str, suffix: &str, labels: Labels<'_>, value: Number) {
        let Some(family_of) = self.by_name.get(family).and_then(|index| self.families.get_mut(*index)) else {
            debug_assert!(false, "{family} was not named");
            return;
        };
        let out = &mut family_of.samples;
        out.push_str(family);
        out.push_str(suffix);
        for (n, (key, value)) in labels.iter().enumerate() {
            out.push(if n == 0 { '{' } else { ',' });
            out.push_str(key);
            out.push_str("=\"");
            out.push_str(&escaped(value));
            out.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        // Writing to a string does not fail.
        match value {
            Number::Whole(value) => writeln!(out, "{end} {value}").ok(),
            Number::Real(value) => writeln!(out, "{end} {value}").ok(),
        };
    }

    /// Families without samples are left out.
    pub(super) fn finish(self) -> String {
        let used = self.families.into_iter().filter(|family| !family.samples.is_empty());
        used.flat_map(|family| [family.head, family.samples]).collect()
    }
}

/// The value of a sample.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}
impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}
impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}
impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

fn escaped(value: &str) -> std::borrow::Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
    } else {
        value.into()
    }
}
