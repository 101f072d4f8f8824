//! `/metrics`, read as a scraper does.

use std::collections::BTreeMap;

/// One scrape.
#[derive(Debug)]
pub struct Metrics(BTreeMap<String, f64>);

/// Outcomes of source records: with what is in flight they add up to `in` and `recovered`.
const OUTCOMES: [&str; 7] =
    ["delivered", "filtered", "duplicate", "diverted", "dead_lettered", "dropped", "returned"];

impl Metrics {
    pub(crate) fn read(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let pair = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap_or_else(|error| panic!("{error}: {line}")))
        };
        Self(samples.map(pair).collect())
    }

    /// A sample by its name and labels as they are printed; 0 where there is none.
    #[must_use]
    pub fn value(&self, sample: &str) -> u64 {
        self.0.get(sample).map_or(0, |value| *value as u64)
    }

    /// All samples of a family whose labels hold this text, together.
    #[must_use]
    pub fn sum(&self, family: &str, label: &str) -> u64 {
        let of_it = self.0.iter().filter(|(sample, _)| {
            sample
                .strip_prefix(family)
                .is_some_and(|labels| labels.starts_with('{') && labels.contains(label))
        });
        of_it.map(|(_, value)| *value as u64).sum()
    }

    /// How many source records of a pipeline had this outcome.
    #[must_use]
    pub fn outcome(&self, pipeline: &str, outcome: &str) -> u64 {
        self.value(&format!("karez_records_total{{pipeline=\"{pipeline}\",outcome=\"{outcome}\"}}"))
    }

    #[must_use]
    pub fn in_flight(&self, pipeline: &str) -> u64 {
        self.value(&format!("karez_in_flight{{pipeline=\"{pipeline}\"}}"))
    }

    /// in + recovered = everything else.
    ///
    /// # Errors
    /// A record was made up or has disappeared.
    pub fn balance(&self, pipeline: &str) -> Result<(), String> {
        let came = self.outcome(pipeline, "in") + self.outcome(pipeline, "recovered");
        let went: u64 = OUTCOMES.iter().map(|outcome| self.outcome(pipeline, outcome)).sum();
        if came == went + self.in_flight(pipeline) {
            return Ok(());
        }
        let of_it = self.0.iter().filter(|(sample, _)| sample.contains(&format!("pipeline=\"{pipeline}\"")));
        let counts = of_it.filter(|(sample, _)| !sample.contains("bucket"));
        let counts: Vec<String> = counts.map(|(sample, value)| format!("{sample} {value}")).collect();
        Err(format!("{pipeline} does not add up: {}", counts.join(", ")))
    }

    /// As [`Metrics::balance`].
    ///
    /// # Panics
    /// A record was made up or has disappeared.
    #[track_caller]
    pub fn conserves(&self, pipeline: &str) {
        if let Err(why) = self.balance(pipeline) {
            panic!("{why}");
        }
    }
}
