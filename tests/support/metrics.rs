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
    /// # Panics
    /// A record was made up or has disappeared.
    #[track_caller]
    pub fn conserves(&self, pipeline: &str) {
        let came = self.outcome(pipeline, "in") + self.outcome(pipeline, "recovered");
        let went: u64 = OUTCOMES.iter().map(|outcome| self.outcome(pipeline, outcome)).sum();
        assert_eq!(came, went + self.in_flight(pipeline), "{pipeline} does not add up: {:#?}", self.0);
    }
}
