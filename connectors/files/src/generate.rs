//! The `generate` source: records made up from their index and a seed. The same file gives the same records.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use karez_api::{
    Batch, Body, ByteSize, Checker, Class, Clock, Fault, Json, Lane, Meta, MetaFault, NoAck, Opened, Path,
    Position, Positions, Problem, Rate, Record, RecordId, Replay, Source, SourceContext, SourcePlan,
    SourceSpec, Value,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::random::{fraction, number, word};

const MAX_RECORDS: u64 = 1_024;
const MAX_BYTES: u64 = 1 << 20;
const LARGEST_PAYLOAD: u64 = 16 << 20;

/// Makes up records; the same seed gives the same records.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Generate {
    /// Records per time, like `100/s`, `30/m` or `6/h`. Default: as fast as they are taken.
    rate: Option<Rate>,
    /// How many records there are. Default: no end.
    count: Option<u64>,
    /// What a record is, made from `{n, seed, random, integer, word, uuid, payload}`: `n` is the
    /// index from 0, `random` a number from 0 to 1, `integer` one from 0 to 999,999, `word` one of
    /// sixteen words, `uuid` a version 8 UUID. Default: that object itself.
    #[schemars(extend("x-karez-kind" = "value"))]
    template: Option<Json>,
    /// Which of all possible sequences. Default 0.
    #[serde(default)]
    seed: u64,
    /// Length of the text in the field `payload`, at most `16MiB`. Default: no such field.
    payload: Option<ByteSize>,
}

impl SourceSpec for Generate {
    const NAME: &'static str = "generate";
    const SUMMARY: &'static str = "Makes up records by template, rate and count.";

    fn check(self, cx: &Checker<'_>) -> Option<Box<dyn SourcePlan>> {
        let field = |name: &str| Path::root().field(name);
        let interval = self.rate.map(|rate| rate.interval);
        let payload = self.payload.map_or(0, |size| size.0);
        if payload > LARGEST_PAYLOAD {
            cx.report(Problem::error("bad-value", field("payload"), "must be at most 16MiB"));
        }
        let template = match &self.template {
            Some(template) => Some(cx.value(&field("template"), template)?),
            None => None,
        };
        let payload = "x".repeat(usize::try_from(payload.min(LARGEST_PAYLOAD)).unwrap_or(0));
        let count = self.count.unwrap_or(u64::MAX);
        Some(Box::new(Plan(Arc::new(Made { interval, count, template, seed: self.seed, payload }))))
    }
}

struct Made {
    interval: Option<f64>,
    count: u64,
    template: Option<Value>,
    seed: u64,
    payload: String,
}

impl Made {
    fn base(&self, n: u64) -> Json {
        let random = |place| number(self.seed, n, place);
        let bits = u128::from(random(2)) << 64 | u128::from(random(3));
        let uuid = uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid();
        let mut fields = json!({
            "n": n,
            "seed": self.seed,
            "random": fraction(random(0)),
            "integer": random(1) % 1_000_000,
            "word": word(random(4)),
            "uuid": uuid.to_string(),
        });
        if let (Some(fields), false) = (fields.as_object_mut(), self.payload.is_empty()) {
            fields.insert("payload".into(), Json::String(self.payload.clone()));
        }
        fields
    }
}

struct Plan(Arc<Made>);

#[async_trait]
impl SourcePlan for Plan {
    fn replay(&self) -> Replay {
        Replay::Yes
    }
    fn ends(&self) -> bool {
        self.0.count < u64::MAX
    }
    async fn open(&self, cx: SourceContext) -> Result<Opened, Fault> {
        let lane = Lane::new("generate");
        let next = match cx.positions.get(&lane) {
            Some(position) => u64::from_be_bytes(
                position.0.as_ref().try_into().map_err(|_| Fault::fatal("saved position is damaged"))?,
            ),
            None => 0,
        };
        let base = format!("generate/{}/{}", cx.pipeline, cx.source).into();
        let pace = self.0.interval.map(|interval| Pace { interval, due: cx.clock.instant() });
        let made = Arc::clone(&self.0);
        Ok(Opened::Pull(Box::new(Generator {
            made,
            lane,
            next,
            base,
            pace,
            source: cx.source,
            clock: cx.clock,
        })))
    }
}

struct Generator {
    made: Arc<Made>,
    lane: Lane,
    next: u64,
    base: Arc<str>,
    pace: Option<Pace>,
    source: Arc<str>,
    clock: Arc<dyn Clock>,
}

/// When the next record is due. What was missed by more than a second is not made up for.
struct Pace {
    interval: f64,
    due: Instant,
}

impl Pace {
    fn wait(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }
    /// How many are due; they count as taken.
    fn take(&mut self, now: Instant, most: u64) -> u64 {
        let second = Duration::from_secs(1);
        let late = now.saturating_duration_since(self.due);
        if late > second {
            self.due += late - second;
        }
        let late = late.min(second).as_secs_f64();
        let count = ((late / self.interval) as u64 + 1).min(most);
        self.due += Duration::from_secs_f64(self.interval * count as f64);
        count
    }
}

#[async_trait]
impl Source for Generator {
    async fn pull(&mut self) -> Result<Option<Batch>, Fault> {
        let most = (MAX_BYTES / (self.made.payload.len() as u64 + 128)).clamp(1, MAX_RECORDS);
        let most = most.min(self.made.count.saturating_sub(self.next));
        if most == 0 {
            return Ok(None);
        }
        let count = match &mut self.pace {
            None => most,
            Some(pace) => {
                let wait = pace.wait(self.clock.instant());
                if !wait.is_zero() {
                    self.clock.sleep(wait).await;
                }
                pace.take(self.clock.instant(), most)
            }
        };
        Ok(Some(self.batch(count)))
    }
}

impl Generator {
    fn batch(&mut self, count: u64) -> Batch {
        let mut places = Vec::with_capacity(usize::try_from(count * 8).unwrap_or(0));
        let mut records = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        for n in self.next..self.next + count {
            records.push(self.record(n));
            places.extend((n + 1).to_be_bytes());
        }
        self.next += count;
        let places = Bytes::from(places);
        let positions = (0..records.len()).map(|n| Position(places.slice(n * 8..n * 8 + 8))).collect();
        Batch {
            lane: self.lane.clone(),
            records,
            positions: Positions::Each(positions),
            ack: Box::new(NoAck),
        }
    }

    fn record(&self, n: u64) -> Record {
        let id = RecordId::At { base: Arc::clone(&self.base), offset: n };
        let mut meta = Meta::new(id, Arc::clone(&self.source), self.clock.now());
        meta.offset = Some(n);
        let record = Record::new(Body::from_tree(self.made.base(n)), meta);
        let Some(template) = &self.made.template else {
            return record;
        };
        match template.eval(&record) {
            Ok(body) => record.with_body(Body::from_tree(body.unwrap_or(Json::Null))),
            Err(fault) => refused(record, &fault),
        }
    }
}

/// The record as it is, marked with why it could not be made.
pub(crate) fn refused(record: Record, fault: &Fault) -> Record {
    record.with_meta(|meta| {
        meta.error = Some(Arc::new(MetaFault {
            class: Class::Validation,
            code: fault.code().into(),
            node: Arc::clone(&meta.source),
            message: fault.message().into(),
            attempts: 0,
            at: meta.received_at,
        }));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, plan_source};

    async fn pulled(settings: Json, world: &World) -> Vec<String> {
        let mut source = world.open_source(&*plan_source::<Generate>(settings)).await;
        let mut found = Vec::new();
        while let Some(batch) = source.pull().await.unwrap() {
            world.keep_positions(&batch);
            found.extend(
                batch
                    .records
                    .iter()
                    .map(|record| format!("{} {:?}", record.id(), record.body().tree().unwrap())),
            );
        }
        found
    }

    #[tokio::test]
    async fn the_same_seed_gives_the_same_records() {
        let settings = |seed: u64| json!({"count": 2_000, "seed": seed});
        let first = pulled(settings(7), &World::new()).await;
        assert_eq!(first.len(), 2_000);
        assert_eq!(first, pulled(settings(7), &World::new()).await);
        assert_ne!(first, pulled(settings(8), &World::new()).await);
        assert!(first[0].starts_with("generate/pipeline/source/0 "));
    }

    #[tokio::test]
    async fn it_goes_on_where_it_was_left() {
        let world = World::new();
        let whole = pulled(json!({"count": 10}), &World::new()).await;
        let first = pulled(json!({"count": 4}), &world).await;
        let rest = pulled(json!({"count": 10}), &world).await;
        assert_eq!([first, rest].concat(), whole);
    }

    #[tokio::test]
    async fn a_rate_is_kept_and_delays_are_made_up_for_by_a_second_at_most() {
        let world = World::new();
        let mut source = world.open_source(&*plan_source::<Generate>(json!({"rate": "10/s"}))).await;
        let start = world.clock.elapsed();
        for _ in 0..21 {
            assert_eq!(source.pull().await.unwrap().unwrap().records.len(), 1);
        }
        let took = world.clock.elapsed() - start;
        assert!(took.abs_diff(Duration::from_secs(2)) < Duration::from_millis(5), "{took:?}");
        world.clock.advance(Duration::from_secs(3_600));
        assert!(source.pull().await.unwrap().unwrap().records.len() <= 11);
    }
}
