//! A source that polls without a far end: `book: {streams: {a: 3}}` has three pages of two records under `a`.
//! Its positions, its runs and what it does with a rewind are those of the sources that call an API.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use karez_api::{
    Batch, Body, Checker, Clock, Fault, Json, Lane, Meta, NoAck, Opened, Position, Positions, Record,
    RecordId, Replay, RunCounts, RunReport, RunState, Runs, Source, SourceContext, SourcePlan, SourceSpec,
    Timetable,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Book {
    /// Pages by stream.
    streams: BTreeMap<String, u64>,
    /// The far end asks for a minute's patience instead of giving a page.
    #[serde(default)]
    busy: bool,
}

impl SourceSpec for Book {
    const NAME: &'static str = "book";
    const SUMMARY: &'static str = "Has pages.";
    fn check(self, _: &Checker<'_>) -> Option<Box<dyn SourcePlan>> {
        Some(Box::new(Plan(self)))
    }
}

struct Plan(Book);

#[async_trait]
impl SourcePlan for Plan {
    fn replay(&self) -> Replay {
        Replay::Yes
    }
    fn polls(&self) -> bool {
        true
    }
    async fn open(&self, cx: SourceContext) -> Result<Opened, Fault> {
        let mut streams = BTreeMap::new();
        for (name, pages) in &self.0.streams {
            let saved = cx.positions.get(&Lane::new(name.as_str()));
            let saved: Option<Json> = saved.map(|saved| serde_json::from_slice(&saved.0).unwrap());
            let page = saved.map_or(0, |saved| saved["page"].as_u64().unwrap());
            streams.insert(name.clone(), (page, *pages));
        }
        let mut gone = VecDeque::new();
        for lane in cx.positions.keys().filter(|lane| lane.0.starts_with("rewind/")) {
            // Wherever it is to begin again: not quite at the beginning.
            streams.get_mut(&lane.0["rewind/".len()..]).unwrap().0 = 1;
            gone.push_back(lane.clone());
        }
        let SourceContext { clock, timetable, once, runs, source, .. } = cx;
        let (busy, run) = (self.0.busy, 1);
        Ok(Opened::Pull(Box::new(Reading { streams, gone, busy, run, clock, timetable, once, runs, source })))
    }
}

struct Reading {
    /// The page that is read next, and how many there are.
    streams: BTreeMap<String, (u64, u64)>,
    gone: VecDeque<Lane>,
    busy: bool,
    run: u64,
    clock: Arc<dyn Clock>,
    timetable: Option<Arc<dyn Timetable>>,
    once: bool,
    runs: Arc<dyn Runs>,
    source: Arc<str>,
}

#[async_trait]
impl Source for Reading {
    async fn pull(&mut self) -> Result<Option<Batch>, Fault> {
        if self.busy {
            return Err(Fault::rate_limit("429: too many requests", Some(Duration::from_secs(60))));
        }
        if let Some(lane) = self.gone.pop_front() {
            return Ok(Some(batch(lane, Vec::new(), Positions::Gone)));
        }
        let unread = self.streams.iter().find(|(_, (page, pages))| page < pages);
        let Some((name, page)) = unread.map(|(name, (page, _))| (name.clone(), *page)) else {
            return self.end_of_run().await;
        };
        let records = (0..2).map(|n| self.record(&name, page, n)).collect();
        self.streams.get_mut(&name).unwrap().0 += 1;
        self.tell(&name, RunState::Running);
        let position = json!({"page": page + 1, "run": self.run, "at": {"token": "tok-secret"}});
        let position = Positions::After(Position(position.to_string().into()));
        Ok(Some(batch(Lane::new(name), records, position)))
    }
}

impl Reading {
    async fn end_of_run(&mut self) -> Result<Option<Batch>, Fault> {
        let names: Vec<String> = self.streams.keys().cloned().collect();
        names.iter().for_each(|name| self.tell(name, RunState::Done));
        let due = self.timetable.as_ref().filter(|_| !self.once);
        let Some(due) = due.and_then(|table| table.after(self.clock.now())) else {
            return Ok(None);
        };
        self.clock.sleep(Duration::from_millis(due.0 - self.clock.now().0)).await;
        self.run += 1;
        Box::pin(self.pull()).await
    }

    fn tell(&self, stream: &str, state: RunState) {
        let (page, pages) = self.streams[stream];
        let next_at = self.timetable.as_ref().and_then(|table| table.after(self.clock.now()));
        self.runs.tell(RunReport {
            stream: stream.to_owned(),
            run: self.run,
            state,
            next_at,
            windows_done: page,
            windows: pages,
            counts: RunCounts {
                pages: page,
                read: page * 3,
                outside: page,
                emitted: page * 2,
                requests: page,
                ..RunCounts::default()
            },
            ..RunReport::default()
        });
    }

    fn record(&self, stream: &str, page: u64, n: u64) -> Record {
        let id = RecordId::text(format!("{stream}/{page}/{n}"));
        let meta = Meta::new(id, Arc::clone(&self.source), self.clock.now());
        Record::new(Body::from_tree(json!({"stream": stream, "page": page, "n": n})), meta)
    }
}

fn batch(lane: Lane, records: Vec<Record>, positions: Positions) -> Batch {
    Batch { lane, records, positions, ack: Box::new(NoAck) }
}
