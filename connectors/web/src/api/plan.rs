//! The source itself: a task that reads, and the engine's end of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{pending, try_join_all};
use karez_api::{
    Batch, Clock, Fault, Json, Lane, Millis, Opened, Position, Replay, Source, SourceContext, SourcePlan,
};
use tokio::sync::{mpsc, oneshot};

use super::live::{self, Live, Stop};
use super::outlet::Outlet;
use super::reading;
use super::state::RunState;
use super::stream::Streams;

/// The wall clock is looked at this often, since it may be set while we sleep.
const LOOK: Duration = Duration::from_secs(15);

/// A checked source.
pub(super) struct Plan(pub(super) Arc<Streams>);

#[async_trait]
impl SourcePlan for Plan {
    fn replay(&self) -> Replay {
        Replay::Yes
    }
    fn polls(&self) -> bool {
        true
    }
    fn explain(&self, known: &BTreeMap<Lane, Position>, now: Millis) -> Option<Json> {
        Some(super::explain::explain(&self.0, known, now))
    }
    async fn open(&self, cx: SourceContext) -> Result<Opened, Fault> {
        let connection = self.0.all[0].reading.ask.open(&cx.shared)?;
        let jobs = self.0.all.iter().filter_map(|stream| stream.reading.job.as_ref());
        let elsewhere = jobs.filter_map(|job| job.elsewhere.as_ref()).next();
        let elsewhere = elsewhere.map(|elsewhere| elsewhere.open(&cx.shared)).transpose()?;
        let (sender, batches) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let live = Live {
            streams: Arc::clone(&self.0),
            source: cx.source,
            connection,
            elsewhere,
            clock: cx.clock,
            runs: cx.runs,
            timetable: cx.timetable,
            once: cx.once,
            outlet: Outlet::new(sender),
            positions: Mutex::new(cx.positions),
        };
        // What is damaged is told before anything is asked for.
        for index in &self.0.emit {
            live.state(&Lane::new(&*self.0.all[*index].name))?;
        }
        let work = async move {
            tokio::select! {
                _ = stopped => {}
                () = work(live) => {}
            }
        };
        cx.tasks.spawn("api", Box::pin(work));
        Ok(Opened::Pull(Box::new(ApiSource { batches, stop: Some(stop) })))
    }
}

/// The engine's end.
struct ApiSource {
    batches: mpsc::Receiver<Result<Batch, Fault>>,
    /// Dropped, it ends the task.
    stop: Option<oneshot::Sender<()>>,
}

#[async_trait]
impl Source for ApiSource {
    async fn pull(&mut self) -> Result<Option<Batch>, Fault> {
        self.batches.recv().await.transpose()
    }
    async fn quiesce(&mut self) -> Result<(), Fault> {
        self.stop = None;
        Ok(())
    }
    async fn close(&mut self) -> Result<(), Fault> {
        self.stop = None;
        Ok(())
    }
}

async fn work(live: Live) {
    match rounds(&live).await {
        Ok(()) => {}
        Err(Stop::Fault(fault)) => live.outlet.fail(fault).await,
        // The engine is about to stop; a source that ended would be another thing.
        Err(Stop::Closed) => pending().await,
    }
}

/// Reads all streams, each by its own time; returns where there is nothing to come.
async fn rounds(live: &Live) -> Result<(), Stop> {
    try_join_all(live.streams.emit.iter().map(|index| again_and_again(live, *index))).await.map(drop)
}

async fn again_and_again(live: &Live, index: usize) -> Result<(), Stop> {
    let name = &*live.streams.all[index].name;
    let mut first = true;
    loop {
        let rewound = live.position(&live::rewind(name)).is_some();
        let run = live.state(&Lane::new(name))?.run;
        let Some(due) = due_at(live, run.as_ref().filter(|_| !rewound), first) else { return Ok(()) };
        first = false;
        wait(&*live.clock, due).await;
        reading::run(live, index).await?;
    }
}

/// When a stream is to be read next, after its last run; at once where it has none or somebody wants it read again.
fn due_at(live: &Live, run: Option<&RunState>, first: bool) -> Option<Millis> {
    match (run, &live.timetable) {
        (Some(run), _) if !run.done => Some(Millis(0)),
        (None, _) => Some(Millis(0)),
        (Some(_), _) if live.once => first.then_some(Millis(0)),
        (Some(run), Some(timetable)) => timetable.after(run.started),
        (Some(_), None) => None,
    }
}

async fn wait(clock: &dyn Clock, until: Millis) {
    loop {
        let now = clock.now();
        if now >= until {
            return;
        }
        clock.sleep(Duration::from_millis(until.0 - now.0).min(LOOK)).await;
    }
}
