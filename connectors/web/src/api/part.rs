//! Reads one partition: window after window, page after page. The next page is fetched and sorted while one is
//! delivered; it is handed over once that one is saved.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join;
use http::HeaderMap;
use karez_api::{Body, Fault, Json, JsonMap, Lane, Position, Record};
use tracing::warn;

use super::ask::Context;
use super::cursor::Point;
use super::fetch::{Fetch, Fetched, Long, NoPage, Page};
use super::live::{Live, Stop};
use super::outlet::Handed;
use super::records::{Common, Sorted, Window};
use super::spec::Order;
use super::state::{Mark, Open, PartState, RunState, State, Token};
use super::stream::{Reading, Stream};
use super::tracker::Tracker;

/// Positions of pages that bring nothing are saved this often.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Rows of a long answer that go out together, and how many such parts are on their way at most.
const TOGETHER: usize = 1_000;
const TOGETHER_BYTES: usize = 4 << 20;
const PARTS: usize = 2;

/// One partition of a stream that is read.
pub(super) struct Part<'a> {
    pub(super) live: &'a Live,
    pub(super) stream: &'a Stream,
    pub(super) tracker: &'a Tracker,
    pub(super) run: &'a Mutex<RunState>,
    /// Empty for a stream without parent, whose lane holds the run, too.
    pub(super) name: String,
    pub(super) lane: Lane,
    pub(super) parent: Option<Json>,
    /// `@meta.parent`.
    pub(super) shown_parent: Option<Json>,
    pub(super) state: PartState,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Read,
    Skipped,
}

/// What a page comes to.
#[derive(Default)]
struct Step {
    sorted: Sorted,
    next: Option<Token>,
    read: u64,
}

/// What came of asking for a page.
enum Got {
    Step(Step),
    Long(Box<Long>),
    Skip(String),
}

impl Part<'_> {
    fn reading(&self) -> &Reading {
        &self.stream.reading
    }

    fn run(&self) -> RunState {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// # Errors
    /// It cannot be read on now, or need not be.
    pub(super) async fn read(mut self) -> Result<Ended, Stop> {
        let run = self.run();
        if self.state.run == run.number && self.state.open.is_none() {
            return Ok(Ended::Read);
        }
        let mark = self.fresh(self.state.mark(&run), &run);
        let first = self.reading().paging.first();
        let resumed = self.state.open.take().filter(|_| self.state.run == run.number);
        let mut expires = resumed.as_ref().is_some_and(|open| {
            // Once for each page, or it would go on for ever with one that is never known.
            let kept = open.token != first || open.job.is_some();
            kept && open.restarted.is_none_or(|restarted| open.pages > restarted)
        });
        let counted = resumed.is_some() && self.tracker.continued;
        let mut open = resumed.unwrap_or_else(|| self.reading().begin(mark.as_ref(), &run));
        if !counted {
            let windows = self.reading().windows(&open, &run);
            self.tracker.tell(|report| report.windows += windows);
        }
        let common = self.common();
        let fetch = self.live.fetch(self.reading(), &self.tracker.tally);
        let mut used = HashSet::new();
        let mut saved: Option<Instant> = None;
        let mut got = self.got(&fetch, &mut open, &common, &run, mark.as_ref()).await?;
        loop {
            let step = match got {
                Err(none) if expires && none.is_unknown() => {
                    let fault = none.fault;
                    let note = format!(
                        "the saved page is not known there any more, so its window begins anew: {fault}"
                    );
                    warn!(stream = %self.lane.0, %fault, "a saved page has expired, its window begins anew");
                    self.tracker.anomaly("page_expired", note);
                    self.again(&mut open);
                    expires = false;
                    got = self.got(&fetch, &mut open, &common, &run, mark.as_ref()).await?;
                    continue;
                }
                Err(NoPage { fault, .. }) => return Err(fault.into()),
                Ok(Got::Skip(why)) => {
                    self.tracker.tell(|report| {
                        report.partitions_skipped += 1;
                        report.note = Some(why);
                    });
                    return Ok(Ended::Skipped);
                }
                Ok(Got::Step(step)) => step,
                Ok(Got::Long(long)) => self.long(*long, &mut open, &common, mark.as_ref(), &run).await?,
            };
            expires = false;
            let finished = match self.advance(&mut open, step.next, &run, &mut used) {
                Ok(finished) => finished,
                Err(fault) => {
                    self.goes_round(open.cycle).await?;
                    return Err(fault.into());
                }
            };
            let position = self.position(&open, mark.as_ref(), finished, step.read);
            let mut sorted = step.sorted;
            let records = std::mem::take(&mut sorted.records);
            let emitted = records.len() as u64;
            let handed = self.hand_over(records, &position, finished, &mut saved).await?;
            // Told once it is on its way: where another partition fails, it may never be.
            self.tracker.page(step.read, &sorted, emitted);
            if finished {
                settled(handed).await?;
                self.live.keep(&self.lane, position);
                return Ok(Ended::Read);
            }
            // Fetched while that page is delivered; but how far a report is is saved, and nothing may be on its way then.
            let next = self.got(&fetch, &mut open, &common, &run, mark.as_ref());
            let (next, delivered) = match self.reading().job.is_some() {
                true => {
                    settled(handed).await?;
                    (next.await, Ok(()))
                }
                false => join(next, settled(handed)).await,
            };
            delivered?;
            self.live.keep(&self.lane, position);
            got = next?;
        }
    }

    /// A mark that the far end still knows.
    fn fresh(&self, mark: Option<Mark>, run: &RunState) -> Option<Mark> {
        let incremental = self.reading().incremental.as_ref()?;
        let mark = mark?;
        if !incremental.forgets(&mark, run) {
            return Some(mark);
        }
        let note = format!("{} is older than what the API keeps, so everything is read again", mark.at);
        warn!(stream = %self.lane.0, mark = %mark.at, "older than what the API keeps: everything is read again");
        self.tracker.anomaly("full_resync", note);
        None
    }

    /// The same window from its beginning, or from what is surely behind us.
    fn again(&self, open: &mut Open) {
        let ascending = self.reading().incremental.as_ref().is_some_and(|each| each.order == Order::Asc);
        if ascending && !open.disordered && open.seen > open.from {
            open.from.clone_from(&open.seen);
        }
        open.restarted = Some(open.pages);
        open.token = self.reading().paging.first();
        open.pages = 0;
        open.job = None;
    }

    fn common(&self) -> Common {
        let mut extra = JsonMap::new();
        extra.insert("stream".into(), Json::from(&*self.stream.name));
        extra.extend(self.shown_parent.clone().map(|parent| ("parent".to_owned(), parent)));
        let base = match self.name.as_str() {
            "" => format!("{}/", self.stream.name),
            name => format!("{}/{name}/", self.stream.name),
        };
        Common { source: std::sync::Arc::clone(&self.live.source), base, extra: extra.into() }
    }

    pub(super) fn context(&self, open: &Open) -> Context {
        self.reading().context(open, self.parent.clone())
    }

    /// The page that is next, sorted.
    async fn got(
        &self,
        fetch: &Fetch<'_>,
        open: &mut Open,
        common: &Common,
        run: &RunState,
        mark: Option<&Mark>,
    ) -> Result<Result<Got, NoPage>, Stop> {
        Ok(match self.fetched(fetch, open, run, mark).await? {
            Err(none) => Err(none),
            Ok(Fetched::Page(page)) => {
                let step = self.step(fetch, *page, open, common, mark, run);
                step.map(Got::Step).map_err(NoPage::from)
            }
            Ok(Fetched::Long(long)) => Ok(Got::Long(long)),
            Ok(Fetched::Nothing) => Ok(Got::Step(Step::default())),
            Ok(Fetched::Skip(why)) => Ok(Got::Skip(why)),
        })
    }

    /// The page that is next; where a report has to be made first, that comes before.
    async fn fetched(
        &self,
        fetch: &Fetch<'_>,
        open: &mut Open,
        run: &RunState,
        mark: Option<&Mark>,
    ) -> Result<Result<Fetched, NoPage>, Stop> {
        if let Some(job) = &self.reading().job
            && open.job.as_ref().is_none_or(|job| !job.ready)
        {
            job.made(self, fetch, open, run, mark).await?;
        }
        let context = self.context(open);
        let asked = open.size;
        let fetched = fetch.page(&context, &open.token, &mut open.size).await;
        if asked != open.size {
            let size = open.size.unwrap_or_default();
            self.tracker.anomaly(
                "page_halved",
                format!("pages of {size}: the far end takes too long with larger ones"),
            );
        }
        Ok(fetched)
    }

    fn step(
        &self,
        fetch: &Fetch<'_>,
        page: Page,
        open: &mut Open,
        common: &Common,
        mark: Option<&Mark>,
        run: &RunState,
    ) -> Result<Step, Fault> {
        let now = self.live.clock.now();
        let read = page.records.len() as u64;
        if page.partial > 0 {
            self.tracker.count("graphql_errors", page.partial);
        }
        let mut next = fetch.next(&open.token, &page)?;
        self.cap(open, &page.headers, run);
        let window = self.window(mark);
        let sorted = self.reading().identity.sort(page.records, common, &window, open, now)?;
        if window.order == Order::Desc && window.filters && sorted.before_window {
            next = None;
        }
        Ok(Step { sorted, next, read })
    }

    /// An answer without end in sight: its rows go out while they come. Its place is saved with the last of them.
    async fn long(
        &self,
        mut long: Long,
        open: &mut Open,
        common: &Common,
        mark: Option<&Mark>,
        run: &RunState,
    ) -> Result<Step, Stop> {
        self.cap(open, long.headers(), run);
        let window = self.window(mark);
        let mut handed = VecDeque::new();
        let (mut items, mut length) = (Vec::new(), 0);
        while let Some(rows) = long.next().await? {
            length += rows.iter().map(Body::length).sum::<usize>();
            items.extend(rows);
            if items.len() < TOGETHER && length < TOGETHER_BYTES {
                continue;
            }
            length = 0;
            let read = items.len() as u64;
            let now = self.live.clock.now();
            let mut part =
                self.reading().identity.sort(std::mem::take(&mut items), common, &window, open, now)?;
            let records = std::mem::take(&mut part.records);
            let emitted = records.len() as u64;
            handed.push_back(self.live.outlet.part(&self.lane, records).await?);
            self.tracker.part(read, &part, emitted);
            self.run.lock().unwrap_or_else(PoisonError::into_inner).read += read;
            if handed.len() > PARTS
                && let Some(first) = handed.pop_front()
            {
                first.settled().await?;
            }
        }
        let read = items.len() as u64;
        let sorted = self.reading().identity.sort(items, common, &window, open, self.live.clock.now())?;
        for part in handed {
            part.settled().await?;
        }
        Ok(Step { sorted, next: None, read })
    }

    /// The mark may not pass what may still be joined by something earlier. Clocks differ: what counts is what time it
    /// was there.
    fn cap(&self, open: &mut Open, headers: &HeaderMap, run: &RunState) {
        let incremental = self.reading().incremental.as_ref().filter(|each| each.format.is_time());
        if let (Some(incremental), None) = (incremental, &open.cap) {
            let there = Point::time(karez_net::answered_at(headers, self.live.clock.now()));
            open.cap = run.to.clone().map(|to| to.min(there).minus(incremental.safety_lag));
        }
    }

    fn window<'m>(&self, mark: Option<&'m Mark>) -> Window<'m> {
        let incremental = self.reading().incremental.as_ref();
        Window {
            mark,
            order: incremental.map_or(Order::None, |incremental| incremental.order),
            filters: incremental.is_some_and(|incremental| incremental.filters),
            lookback: self.reading().lookback(),
        }
    }

    /// Goes on to the next page or window; whether that was the last.
    fn advance(
        &self,
        open: &mut Open,
        next: Option<Token>,
        run: &RunState,
        used: &mut HashSet<u64>,
    ) -> Result<bool, Fault> {
        if let Some(token) = next {
            open.pages += 1;
            if open.pages >= self.reading().max_pages {
                let message = format!("{} has more than {} pages (`max_pages`)", self.lane.0, open.pages);
                return Err(Fault::service(message).with_code("max_pages"));
            }
            used.insert(open.token.hash());
            let named = token.hash();
            if !used.insert(named) || open.cycle == Some(named) {
                open.cycle = Some(named);
                let message = format!(
                    "{}: the answer to page {} names a page that was read already, so reading would never end",
                    self.lane.0, open.pages
                );
                return Err(Fault::service(message).with_code("page_cycle"));
            }
            open.cycle = None;
            open.token = token;
            return Ok(false);
        }
        self.tracker.tell(|report| report.windows_done += 1);
        let Some(incremental) = &self.reading().incremental else { return Ok(true) };
        let more = open.to.as_ref().zip(run.to.as_ref()).is_some_and(|(to, end)| to < end);
        if !more {
            return Ok(true);
        }
        used.clear();
        (open.cycle, open.restarted) = (None, None);
        open.from = open.to.take();
        open.to = incremental.end_of(open.from.as_ref(), run);
        open.token = self.reading().paging.first();
        open.pages = 0;
        open.job = None;
        let window =
            [&open.from, &open.to].map(|point| point.as_ref().map(Point::to_string).unwrap_or_default());
        self.tracker.tell(|report| report.window = Some(window));
        Ok(false)
    }

    /// What is saved once the page is through.
    fn position(&self, open: &Open, mark: Option<&Mark>, finished: bool, read: u64) -> Position {
        let run = {
            let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
            run.read += read;
            run.clone()
        };
        let part = match finished {
            false => self.unfinished(open, mark, &run),
            true => self.finished(open, mark, &run),
        };
        self.saved(part, &run)
    }

    fn unfinished(&self, open: &Open, mark: Option<&Mark>, run: &RunState) -> PartState {
        PartState { run: run.number, mark: mark.cloned(), before: None, open: Some(open.clone()) }
    }

    /// Saves how far it is where no page is on its way.
    ///
    /// # Errors
    /// Nobody takes it.
    pub(super) async fn note(&self, open: &Open, mark: Option<&Mark>, run: &RunState) -> Result<(), Stop> {
        let position = self.saved(self.unfinished(open, mark, run), run);
        Ok(self.live.save(&self.lane, position).await?)
    }

    /// Saves that the page which is next names this one, which was read already. That alone: what it brought is noted
    /// as seen in what is open now, and was not given out.
    ///
    /// # Errors
    /// Nobody takes it, or what was saved is damaged.
    async fn goes_round(&self, cycle: Option<u64>) -> Result<(), Stop> {
        let mut state = self.live.state(&self.lane)?;
        let Some(open) = state.part.as_mut().and_then(|part| part.open.as_mut()) else { return Ok(()) };
        if open.cycle != cycle {
            open.cycle = cycle;
            self.live.save(&self.lane, state.position()).await?;
        }
        Ok(())
    }

    fn saved(&self, part: PartState, run: &RunState) -> Position {
        let run = self.name.is_empty().then(|| run.clone());
        State::new(run, Some(part)).position()
    }

    fn finished(&self, open: &Open, mark: Option<&Mark>, run: &RunState) -> PartState {
        let reached = self
            .reading()
            .incremental
            .as_ref()
            .and_then(|incremental| open.clone().mark(mark.cloned(), incremental.lookback));
        // Until the run is known to be good.
        let before = self.reading().expect.is_some().then(|| mark.cloned()).flatten();
        PartState { run: run.number, mark: reached, before, open: None }
    }

    async fn hand_over(
        &self,
        records: Vec<Record>,
        position: &Position,
        finished: bool,
        saved: &mut Option<Instant>,
    ) -> Result<Option<Handed>, Stop> {
        let now = self.live.clock.instant();
        if !records.is_empty() {
            *saved = Some(now);
            return Ok(Some(self.live.outlet.page(&self.lane, records, position.clone()).await?));
        }
        // Where nothing came and nothing is to be kept, nothing is saved.
        let keeps = self.reading().incremental.is_some() || saved.is_some() || self.name.is_empty();
        let due = saved.is_none_or(|saved| now.duration_since(saved) >= SAVE_EVERY);
        if (finished && keeps) || (!finished && due) {
            self.live.outlet.save(&self.lane, position.clone()).await?;
            *saved = Some(now);
        }
        Ok(None)
    }
}

async fn settled(handed: Option<Handed>) -> Result<(), Stop> {
    match handed {
        Some(handed) => Ok(handed.settled().await?),
        None => Ok(()),
    }
}
