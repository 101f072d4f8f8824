//! The `blackhole` sink: takes every record and keeps none.

use async_trait::async_trait;
use karez_api::{Checker, Delivery, Fault, Outcome, Record, Shape, Sink, SinkContext, SinkPlan, SinkSpec};
use schemars::JsonSchema;
use serde::Deserialize;

/// Accepts every record and keeps none: for measuring, and for streams that are only looked at.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Blackhole {}

impl SinkSpec for Blackhole {
    const NAME: &'static str = "blackhole";
    const SUMMARY: &'static str = "Accepts every record and keeps none.";
    fn check(self, _: &Checker<'_>) -> Option<Box<dyn SinkPlan>> {
        Some(Box::new(Plan))
    }
}

struct Plan;

#[async_trait]
impl SinkPlan for Plan {
    fn shape(&self, _: bool) -> Shape {
        Shape::Batch { atomic: true, max: 1_024 }
    }
    async fn open(&self, _: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        Ok(Box::new(Nothing))
    }
}

struct Nothing;

#[async_trait]
impl Sink for Nothing {
    async fn deliver(&self, records: &[Record]) -> Delivery {
        Delivery::all(records, &Outcome::Done)
    }
}
