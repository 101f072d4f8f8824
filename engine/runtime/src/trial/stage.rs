//! What replaying needs from whoever knows how sources reach their far ends: recorded ones in place of those.

use std::sync::Arc;

use karez_api::{Clock, Millis, Shared};

/// Where recorded far ends come from.
pub trait Stage {
    /// When the run began that a fixture holds.
    ///
    /// # Errors
    /// The fixture cannot be read.
    fn begun(&self, fixture: &str) -> Result<Millis, String>;

    /// A far end that answers as the fixture says, but for one fault.
    ///
    /// # Errors
    /// The fixture cannot be read.
    fn play(
        &self,
        fixture: &str,
        clock: Arc<dyn Clock>,
        fault: Option<&PlannedFault>,
    ) -> Result<Play, String>;
}

/// One far end, played once.
pub struct Play {
    /// What sources find it by.
    pub shared: Shared,
    pub far_end: Arc<dyn FarEnd>,
}

/// A recorded far end.
pub trait FarEnd {
    /// Requests so far.
    fn asked(&self) -> usize;
    /// What could go wrong with those.
    fn faults(&self) -> Vec<PlannedFault>;
    /// The planned fault is that the process ends, and it is time.
    fn crashed(&self) -> bool;
    /// The recording was cut short, and all of it was played.
    fn is_over(&self) -> bool;
    /// Requests that are not in the fixture.
    fn unknown(&self) -> Vec<String>;
}

/// One thing that goes wrong with one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFault {
    /// Counted from 0 in the order of requests.
    pub at: usize,
    /// In words, like `500`.
    pub what: &'static str,
    /// Of the request that it is about, like `GET /items?page=2`.
    pub request: String,
    /// The only fault code that may come of it, where there is one.
    pub code: Option<&'static str>,
}
