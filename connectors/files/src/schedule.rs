//! The `schedule` source: a record at each time that a cron expression or an interval names.
//!
//! The next time follows from the last one that fired, never from the clock, so a clock that
//! is set back fires nothing twice.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use karez_api::{
    Batch, Body, Checker, Clock, Duration, Fault, Json, Lane, Meta, Millis, NoAck, Opened, Path, Position,
    Positions, Record, RecordId, Replay, Source, SourceContext, SourcePlan, SourceSpec, Times, Timetable,
    Value,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::generate::refused;

/// The wall clock is looked at this often, since it may be set while we sleep.
const LOOK: StdDuration = StdDuration::from_secs(15);

/// Yields one record at each time of a schedule.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schedule {
    /// Minute, hour, day, month and weekday, like `*/5 * * * *`; a sixth field in front means seconds. This or `every`.
    cron: Option<String>,
    /// Time zone of `cron`, like `Europe/Berlin`. Default `UTC`.
    timezone: Option<String>,
    /// A time between two records, at least `1s`, counted from 1970: `5m` fires at :00, :05, …. This or `cron`.
    every: Option<Duration>,
    /// What a record is, made from `{scheduled_at, schedule}`. Default: that object itself.
    #[schemars(extend("x-karez-kind" = "value"))]
    body: Option<Json>,
    /// What happens at a start after times were missed: `once` (default) fires once for all of them, `skip` not at all.
    #[serde(default)]
    missed: Missed,
}

/// What happens to times that passed while karez was not running.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Missed {
    #[default]
    Once,
    Skip,
}

impl SourceSpec for Schedule {
    const NAME: &'static str = "schedule";
    const SUMMARY: &'static str = "Yields a record at each time of a cron expression or interval.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SourcePlan>> {
        let schedule = karez_api::Schedule { cron: self.cron, timezone: self.timezone, every: self.every };
        let times = schedule.check().map_err(|problem| cx.report(problem)).ok();
        let body = match &self.body {
            Some(body) => Some(cx.value(&Path::root().field("body"), body)?),
            None => None,
        };
        Some(Box::new(Plan(Arc::new(Course { times: times?, body, missed: self.missed }))))
    }
}

struct Course {
    times: Times,
    body: Option<Value>,
    missed: Missed,
}

struct Plan(Arc<Course>);

#[async_trait]
impl SourcePlan for Plan {
    fn replay(&self) -> Replay {
        Replay::Yes
    }
    fn ends(&self) -> bool {
        false
    }
    async fn open(&self, cx: SourceContext) -> Result<Opened, Fault> {
        let lane = Lane::new("schedule");
        let now = cx.clock.now();
        let last = match cx.positions.get(&lane) {
            None => now,
            Some(position) => {
                let saved = position.0.as_ref().try_into();
                let saved = saved.map_err(|_| Fault::fatal("saved position is damaged"))?;
                let last = Millis(u64::from_be_bytes(saved));
                if self.0.missed == Missed::Skip { last.max(now) } else { last }
            }
        };
        let base = format!("schedule/{}/{}", cx.pipeline, cx.source).into();
        let course = Arc::clone(&self.0);
        let (source, clock) = (cx.source, cx.clock);
        Ok(Opened::Pull(Box::new(Ticker { course, lane, last, base, source, clock })))
    }
}

struct Ticker {
    course: Arc<Course>,
    lane: Lane,
    /// The last time that fired, or when the source first opened.
    last: Millis,
    base: Arc<str>,
    source: Arc<str>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Source for Ticker {
    async fn pull(&mut self) -> Result<Option<Batch>, Fault> {
        let Some(due) = self.course.times.after(self.last) else {
            return Ok(None);
        };
        loop {
            let now = self.clock.now();
            if now >= due {
                // Several passed at once (a late start, a clock set forward, a full pipeline): one record for all.
                let latest = self.course.times.up_to(now).unwrap_or(due).max(due);
                self.last = latest;
                return Ok(Some(self.batch(latest, now)));
            }
            self.clock.sleep(StdDuration::from_millis(due.0 - now.0).min(LOOK)).await;
        }
    }
}

impl Ticker {
    fn batch(&self, due: Millis, now: Millis) -> Batch {
        let at = i64::try_from(due.0).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
        let at = at.map_or_else(String::new, |at| at.to_string());
        let id = RecordId::At { base: Arc::clone(&self.base), offset: due.0 };
        let meta = Meta::new(id, Arc::clone(&self.source), now);
        let tree = json!({"scheduled_at": at, "schedule": self.course.times.to_string()});
        let mut record = Record::new(Body::from_tree(tree), meta);
        if let Some(body) = &self.course.body {
            record = match body.eval(&record) {
                Ok(body) => record.with_body(Body::from_tree(body.unwrap_or(Json::Null))),
                Err(fault) => refused(record, &fault),
            };
        }
        let position = Position(Bytes::copy_from_slice(&due.0.to_be_bytes()));
        Batch {
            lane: self.lane.clone(),
            records: vec![record],
            positions: Positions::Each(vec![position]),
            ack: Box::new(NoAck),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, plan_source};

    async fn fired(source: &mut dyn Source, world: &World) -> String {
        let batch = source.pull().await.unwrap().unwrap();
        world.keep_positions(&batch);
        let tree = batch.records[0].body().tree().unwrap();
        tree["scheduled_at"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn each_time_fires_once_though_the_clock_is_set_back() {
        let world = World::at("2026-01-01T09:58:00Z");
        let plan = plan_source::<Schedule>(json!({"cron": "*/5 * * * *"}));
        let mut source = world.open_source(&*plan).await;
        assert_eq!(fired(&mut *source, &world).await, "2026-01-01T10:00:00Z");
        world.clock.set_wall("2026-01-01T09:00:00Z");
        assert_eq!(fired(&mut *source, &world).await, "2026-01-01T10:05:00Z");
    }

    #[tokio::test]
    async fn missed_times_fire_once_or_not_at_all() {
        for (missed, expected) in [("once", "2026-01-01T12:00:00Z"), ("skip", "2026-01-01T13:00:00Z")] {
            let world = World::at("2026-01-01T09:30:00Z");
            let plan = plan_source::<Schedule>(json!({"every": "1h", "missed": missed}));
            let mut source = world.open_source(&*plan).await;
            assert_eq!(fired(&mut *source, &world).await, "2026-01-01T10:00:00Z");
            world.clock.set_wall("2026-01-01T12:30:00Z");
            let mut source = world.open_source(&*plan).await;
            assert_eq!(fired(&mut *source, &world).await, expected);
        }
    }
}
