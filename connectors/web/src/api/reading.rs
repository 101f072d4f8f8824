//! One run of one stream: its partitions, several at once, and what the run comes to.

use std::collections::{BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use karez_api::{Fault, Lane, Millis, Position, RunState as Stage};
use tracing::warn;

use super::cursor::Point;
use super::live::{self, Live, Stop};
use super::parents::{Found, Meant, Parents};
use super::part::{Ended, Part};
use super::state::{Level, Open, PartState, RunState, State, lane};
use super::stream::{Parent, Stream};
use super::tracker::Tracker;

/// How often the place among the parents is saved.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Reads what is new in a stream, or goes on with a run that was cut off.
///
/// # Errors
/// It cannot be read on now.
pub(super) async fn run(live: &Live, index: usize) -> Result<(), Stop> {
    let stream = &live.streams.all[index];
    let own = Lane::new(&*stream.name);
    let known = live.state(&own)?;
    let now = live.clock.now();
    let (mut run, mut resumed) = next_run(known.run, now);
    let rewind = live::rewind(&stream.name);
    let mut refused = None;
    if let Some(asked) = live.position(&rewind) {
        match rewound(&asked, stream) {
            Ok(Some(to)) => {
                (run, resumed) = (run.rewound(to, resumed, now), false);
                live.save(&own, State::new(Some(run.clone()), known.part.clone()).position()).await?;
            }
            Ok(None) => {}
            Err(why) => {
                warn!(stream = %stream.name, why, "a stream is not read again");
                refused = Some(why);
            }
        }
        live.outlet.forget(&rewind).await?;
        live.forget(&rewind);
    }
    let tracker = Tracker::new(std::sync::Arc::clone(&live.runs), &stream.name, &run, resumed);
    if let Some(why) = refused {
        tracker.anomaly("rewind_refused", format!("it is not read again: {why}"));
    }
    let part = known.part.unwrap_or_default();
    let state = Mutex::new(run);
    let reading = Reading { live, stream, index, own: &own, tracker: &tracker, run: &state };
    let part = match stream.parent {
        Parent::None => reading.whole(part).await?,
        _ => reading.partitions(part).await?,
    };
    reading.end(part).await
}

/// The run that goes on or begins, and whether it goes on.
pub(super) fn next_run(known: Option<RunState>, now: Millis) -> (RunState, bool) {
    match known {
        Some(run) if !run.done => (run, true),
        run => (run.unwrap_or_default().next(now, Some(Point::end_of(now))), false),
    }
}

/// Where somebody asked to go back to. A stream without a cursor is read whole by any run.
///
/// # Errors
/// Why that cannot be followed: asking for what is no place of a stream must not stop it.
pub(super) fn rewound(asked: &Position, stream: &Stream) -> Result<Option<Point>, &'static str> {
    let Some(incremental) = &stream.reading.incremental else { return Ok(None) };
    let asked: karez_api::Json = serde_json::from_slice(&asked.0).map_err(|_| "what was asked is damaged")?;
    let point = incremental.format.point(&asked["to"]);
    point.map(Some).ok_or("its cursor is no time; without a time, everything is read again")
}

struct Reading<'a> {
    live: &'a Live,
    stream: &'a Stream,
    index: usize,
    own: &'a Lane,
    tracker: &'a Tracker,
    run: &'a Mutex<RunState>,
}

impl Reading<'_> {
    /// A stream without parent.
    async fn whole(&self, state: PartState) -> Result<PartState, Stop> {
        let part = Part {
            live: self.live,
            stream: self.stream,
            tracker: self.tracker,
            run: self.run,
            name: String::new(),
            lane: self.own.clone(),
            parent: None,
            shown_parent: None,
            state,
        };
        part.read().await?;
        Ok(self.live.state(self.own)?.part.unwrap_or_default())
    }

    /// A stream that is read for each of its parents. `parents` is how far those are read themselves.
    async fn partitions(&self, parents: PartState) -> Result<PartState, Stop> {
        let run = self.with_run(|run| run.clone());
        let meant = self.meant(&parents);
        let mut found = Parents::new(self.live, self.tracker, self.index, &run, meant);
        let mut running = FuturesUnordered::new();
        let mut through: VecDeque<Result<(String, Ended), Stop>> = VecDeque::new();
        // In the order in which they were found, each with the place where it would be found again.
        let mut open: VecDeque<(String, Vec<Level>, bool)> = VecDeque::new();
        let mut names = BTreeSet::new();
        let mut saved: Option<Instant> = None;
        // Those that an error rule left out: they are there, though this run does not say so.
        let mut skipped = BTreeSet::new();
        let whole = self.with_run(|run| run.place.is_empty()) && found.meant.is_none();
        let mut exhausted = false;
        loop {
            while !exhausted && running.len() + through.len() < self.live.streams.parallel {
                match beside(found.next(), &mut running, &mut through).await? {
                    None => exhausted = true,
                    Some(next) if !names.insert(next.name.clone()) => {
                        self.tracker.anomaly("duplicate_parent", format!("{} was listed twice", next.name));
                    }
                    Some(next) => {
                        open.push_back((next.name.clone(), next.place.clone(), false));
                        running.push(self.partition(next)?);
                    }
                }
            }
            let ended = match through.pop_front() {
                None => running.next().await,
                ended => ended,
            };
            let Some(ended) = ended else { break };
            let (name, ended) = ended?;
            match ended {
                Ended::Read => self.tracker.tell(|report| report.partitions_done += 1),
                Ended::Skipped => drop(skipped.insert(lane(&self.stream.name, &name))),
            }
            names.remove(&name);
            if let Some(entry) = open.iter_mut().find(|(known, ..)| *known == name) {
                entry.2 = true;
            }
            while open.front().is_some_and(|(_, _, read)| *read) {
                open.pop_front();
            }
            let now = self.live.clock.instant();
            if saved.is_none_or(|saved| now.duration_since(saved) >= SAVE_EVERY)
                && let Some((_, place, _)) = open.front()
            {
                let run = self.with_run(|run| {
                    run.place.clone_from(place);
                    run.clone()
                });
                let position = State::new(Some(run), Some(parents.clone())).position();
                beside(self.live.save(self.own, position), &mut running, &mut through).await?;
                saved = Some(now);
            }
        }
        if whole && !found.left_out {
            self.forget_gone(&skipped).await?;
        }
        Ok(self.parents_read(parents, found.into_meant()))
    }

    /// Partitions whose parent was not there any more.
    async fn forget_gone(&self, skipped: &BTreeSet<Lane>) -> Result<(), Stop> {
        let number = self.with_run(|run| run.number);
        for lane in self.live.lanes_of(&self.stream.name) {
            let read = self.live.state(&lane)?.part.is_some_and(|part| part.run == number);
            if !read && !skipped.contains(&lane) {
                self.live.outlet.forget(&lane).await?;
                self.live.forget(&lane);
            }
        }
        Ok(())
    }

    fn partition<'s>(
        &'s self,
        found: Found,
    ) -> Result<impl Future<Output = Result<(String, Ended), Stop>> + use<'s>, Fault> {
        let Found { name, parent, shown, .. } = found;
        let lane = lane(&self.stream.name, &name);
        let part = Part {
            live: self.live,
            stream: self.stream,
            tracker: self.tracker,
            run: self.run,
            state: self.live.state(&lane)?.part.unwrap_or_default(),
            name: name.clone(),
            lane,
            parent: Some(parent),
            shown_parent: Some(shown),
        };
        Ok(async move { part.read().await.map(|ended| (name, ended)) })
    }

    /// Which parents changed, where only those are meant.
    fn meant(&self, state: &PartState) -> Option<Meant> {
        let Parent::Stream { index, changed_only: true, .. } = &self.stream.parent else { return None };
        let incremental = self.live.streams.all[*index].reading.incremental.as_ref()?;
        let run = self.with_run(|run| run.clone());
        let mark = state.mark(&run);
        let from = incremental.from(mark.as_ref(), &run);
        let to = run.to.filter(|_| incremental.format.is_time());
        let cap = to.as_ref().map(|to| to.minus(incremental.safety_lag));
        Some(Meant { open: Open { from, to, cap, ..Open::default() }, mark })
    }

    fn parents_read(&self, before: PartState, meant: Option<Meant>) -> PartState {
        let Some(meant) = meant else { return before };
        let Parent::Stream { index, .. } = &self.stream.parent else { return before };
        let lookback = self.live.streams.all[*index].reading.lookback();
        let run = self.with_run(|run| run.number);
        PartState { run, mark: meant.open.mark(meant.mark.clone(), lookback), before: meant.mark, open: None }
    }

    /// The run has read everything: is it what the file expects?
    async fn end(&self, part: PartState) -> Result<(), Stop> {
        let wrong = self.with_run(|run| self.wrong(run));
        let run = self.with_run(|run| {
            if wrong.is_none() {
                run.is_good();
            }
            run.done = true;
            run.place.clear();
            run.clone()
        });
        self.live.save(self.own, State::new(Some(run.clone()), Some(part)).position()).await?;
        if let Some(wrong) = &wrong {
            warn!(stream = %self.stream.name, run = run.number, %wrong, "a suspicious run: the next one begins where it began");
            self.tracker.anomaly("suspicious", wrong.clone());
        }
        let next = self.live.timetable.as_ref().filter(|_| !self.live.once);
        let next = next.and_then(|timetable| timetable.after(run.started));
        let stage = if wrong.is_some() { Stage::Suspicious } else { Stage::Done };
        self.tracker.end(stage, self.live.clock.now(), next);
        Ok(())
    }

    /// What of a run is not as expected.
    fn wrong(&self, run: &RunState) -> Option<String> {
        let expect = self.stream.reading.expect.as_ref()?;
        if run.read < expect.min_records {
            return Some(format!(
                "{} records were read, at least {} are expected",
                run.read, expect.min_records
            ));
        }
        let (most, usual) = (expect.max_drop_pct?, run.usual()?);
        let least = usual.saturating_mul(u64::from(100 - most.min(100))) / 100;
        (run.read < least).then(|| {
            format!("{} records were read, which is more than {most} % below the usual {usual}", run.read)
        })
    }

    fn with_run<T>(&self, with: impl FnOnce(&mut RunState) -> T) -> T {
        with(&mut self.run.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What `awaited` comes to, while the partitions go on: it may have to wait for one of them, for its turn in the way out
/// or at the far end. Those that end meanwhile are `through`.
async fn beside<T, F: Future>(
    awaited: impl Future<Output = T>,
    running: &mut FuturesUnordered<F>,
    through: &mut VecDeque<F::Output>,
) -> T {
    let mut awaited = pin!(awaited);
    while !running.is_empty() {
        match select(awaited.as_mut(), running.next()).await {
            Either::Left((done, _)) => return done,
            Either::Right((ended, _)) => through.extend(ended),
        }
    }
    awaited.await
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn what_is_awaited_beside_partitions_may_wait_for_one_of_them() {
        let (sender, receiver) = oneshot::channel();
        let mut running = FuturesUnordered::new();
        running.push(async move { sender.send(7).is_ok() });
        let mut through = VecDeque::new();
        let awaited = beside(receiver, &mut running, &mut through).now_or_never();
        assert_eq!(awaited, Some(Ok(7)));
        assert_eq!(through, [true]);
    }
}
