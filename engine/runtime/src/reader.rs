//! The tasks that bring records in: one that asks the source, and one that reads the journal of
//! those that go through it. They wait where the pipeline has no room.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use karez_api::{
    Batch, Class, Clock, Entry, Events, Fault, Ingress, LARGEST_RECORD, Lane, Millis, Mount, Opened,
    Positions, Progress, Record, Source, SourceContext, SourceNode, StoreError, StreamName, Verdict,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::core::{Burial, From, Gate};
use crate::counters::End;
use crate::graph::{Refusal, explain};
use crate::intake::JournalIntake;
use crate::letters::DeadLetters;
use crate::planted;
use crate::prepare::Prepared;
use crate::settler::{self, Notice};
use crate::tasks::TaskGroup;

/// How much of a journal is read at a time.
const JOURNAL_RECORDS: usize = 512;
const JOURNAL_BYTES: usize = 1 << 20;
/// The wait before a store without room is asked again.
const STORE_AGAIN: Duration = Duration::from_millis(500);
/// How long a first opening may take before the pipeline starts without it; it goes on trying.
pub(crate) const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// A source that failed works again once it has yielded something, or has been silent for so long.
const SURE_AFTER: Duration = Duration::from_secs(5);
/// How often a source is tried in vain where the process is to end with its sources.
const MOST_TRIES: u32 = 8;

/// Records on their way into the pipeline.
pub(crate) struct FromSource {
    pub(crate) source: Arc<str>,
    pub(crate) lane: Lane,
    pub(crate) records: Vec<Record>,
    pub(crate) from: From,
}

/// What a reader tells the pipeline beside its records.
pub(crate) enum SourceEvent {
    /// It does not work at this moment; it is opened again at `until`, where that is known, once `resume` is answered.
    Down {
        source: Arc<str>,
        fault: Fault,
        until: Option<Millis>,
        resume: Option<oneshot::Sender<()>>,
    },
    /// It works (again).
    Up {
        source: Arc<str>,
    },
    /// It will never yield another record.
    Ended {
        source: Arc<str>,
    },
    StoreFailed(StoreError),
    /// It will not be tried again: this process ends with its sources.
    GivenUp(Fault),
}

/// Everything a source's tasks need.
#[derive(Clone)]
pub(crate) struct ReaderContext {
    pub(crate) node: Arc<SourceNode>,
    pub(crate) intake: Arc<JournalIntake>,
    pub(crate) events: Arc<dyn Events>,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) letters: Arc<DeadLetters>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ingress: Arc<dyn Ingress>,
    pub(crate) tasks: TaskGroup,
    pub(crate) shared: karez_api::Shared,
    /// The process ends with its sources.
    pub(crate) once: bool,
    pub(crate) notices: mpsc::Sender<Notice>,
    pub(crate) records: mpsc::Sender<FromSource>,
    pub(crate) reports: mpsc::Sender<SourceEvent>,
    pub(crate) batches: Arc<AtomicU64>,
    /// How often a record may come in.
    pub(crate) gate: Option<Arc<Mutex<Gate>>>,
    /// No more records are wanted.
    pub(crate) stop: CancellationToken,
    /// The last acknowledgement is through.
    pub(crate) close: CancellationToken,
}

impl ReaderContext {
    pub(crate) fn stream(&self) -> &StreamName {
        &self.intake.stream
    }

    /// Opens the source where it was left.
    ///
    /// # Errors
    /// What the source said, or the store.
    pub(crate) async fn open(&self) -> Result<Opened, Fault> {
        let positions = settler::positions(&*self.progress, self.stream())
            .await
            .map_err(|error| Fault::fatal(error).with_code("store"))?;
        let cx = SourceContext {
            pipeline: Arc::clone(&self.stream().pipeline),
            source: Arc::clone(&self.node.name),
            positions,
            clock: Arc::clone(&self.clock),
            tasks: Arc::new(self.tasks.clone()),
            shared: self.shared.clone(),
            ingress: Arc::clone(&self.ingress),
            intake: Arc::clone(&self.intake) as _,
            decode: self.node.decode,
            timetable: self.node.timetable.clone(),
            once: self.once,
            runs: self.intake.counters.runs(&self.node.name),
        };
        let slow = |_| Fault::connection(format_args!("not open within {:?}", self.node.timeout));
        tokio::time::timeout(self.node.timeout, self.node.plan.open(cx)).await.map_err(slow)?
    }

    /// Opens for the first time. What the file can be blamed for is an error; anything else passes or is tried again.
    ///
    /// # Errors
    /// Class validation or fatal.
    pub(crate) async fn first_open(&self) -> Result<Option<Opened>, Fault> {
        match tokio::time::timeout(OPEN_WITHIN, self.open()).await {
            Ok(Ok(opened)) => Ok(Some(opened)),
            Ok(Err(fault)) if !fault.class().is_transient() => Err(fault),
            Ok(Err(fault)) => {
                self.report(SourceEvent::Down { source: self.name(), fault, until: None, resume: None })
                    .await;
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    /// Waits until the source's rate limit lets records in, and yields how many, up to `most`; none if stopped meanwhile.
    async fn turns(&self, most: usize, stop: &CancellationToken) -> Option<usize> {
        let Some(gate) = &self.gate else { return Some(most) };
        loop {
            let opens = {
                let mut gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                let n = gate.free(now).min(most);
                if n > 0 {
                    gate.take(n, now);
                    return Some(n);
                }
                gate.opens(now)
            };
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep_until(opens) => {}
            }
        }
    }

    fn name(&self) -> Arc<str> {
        Arc::clone(&self.node.name)
    }

    async fn report(&self, event: SourceEvent) {
        // A pipeline that is gone needs no reports.
        drop(self.reports.send(event).await);
    }
}

/// Why a session with a source ended.
enum Over {
    Stopped,
    Ended,
    Failed(Fault),
}

/// Asks one source until it ends or is told to stop.
pub(crate) async fn read(cx: ReaderContext, mut opened: Option<Opened>) {
    let mut failures = 0;
    // Whether its positions are ours to save: then it is reopened only once all are saved.
    let mut positional = false;
    if !cx.node.journal && !journal_is_through(&cx).await {
        if let Some(Opened::Pull(mut source)) = opened {
            finish(&cx, &mut *source).await;
        }
        return;
    }
    loop {
        let fault = match opened.take() {
            Some(Opened::Push(mount)) => return hold(&cx, mount).await,
            Some(Opened::Pull(mut source)) => {
                let before = cx.batches.load(Relaxed);
                let over = session(&cx, &mut *source, &mut positional, failures > 0).await;
                if cx.batches.load(Relaxed) != before {
                    failures = 0;
                }
                match over {
                    Over::Failed(fault) => {
                        close(&cx, &mut *source).await;
                        fault
                    }
                    over => {
                        if matches!(over, Over::Ended) {
                            cx.report(SourceEvent::Ended { source: cx.name() }).await;
                        }
                        return finish(&cx, &mut *source).await;
                    }
                }
            }
            None => match reopen(&cx).await {
                Some(Ok(next)) => {
                    if matches!(next, Opened::Push(_)) {
                        cx.report(SourceEvent::Up { source: cx.name() }).await;
                    }
                    opened = Some(next);
                    continue;
                }
                Some(Err(fault)) => fault,
                None => return,
            },
        };
        failures += 1;
        let hopeless =
            !fault.class().is_transient() || (failures >= MOST_TRIES && fault.class() == Class::Service);
        if cx.once && hopeless {
            return cx.report(SourceEvent::GivenUp(fault)).await;
        }
        let wait = crate::core::source_wait(&cx.node.retry, &fault, failures);
        let (resume, resumed) = oneshot::channel();
        let until = Some(Millis(cx.clock.now().0.saturating_add(wait.as_millis() as u64)));
        let resume = positional.then_some(resume);
        cx.report(SourceEvent::Down { source: cx.name(), fault, until, resume }).await;
        tokio::select! {
            () = cx.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        if positional {
            tokio::select! {
                () = cx.stop.cancelled() => return,
                // A pipeline that is gone does not answer: its stop is on the way.
                _ = resumed => {}
            }
        }
    }
}

/// A journal that was switched off comes before what the source gives from now on; false if stopped meanwhile.
async fn journal_is_through(cx: &ReaderContext) -> bool {
    while cx.events.stats(cx.stream()).unsettled > 0 {
        tokio::select! {
            () = cx.stop.cancelled() => return false,
            // Nobody says when a journal is empty.
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    true
}

async fn reopen(cx: &ReaderContext) -> Option<Result<Opened, Fault>> {
    tokio::select! {
        () = cx.stop.cancelled() => None,
        opened = cx.open() => Some(opened),
    }
}

/// A push source calls by itself; its mount is all there is to hold.
async fn hold(cx: &ReaderContext, mount: Mount) {
    cx.stop.cancelled().await;
    drop(mount);
}

async fn session(
    cx: &ReaderContext,
    source: &mut dyn Source,
    positional: &mut bool,
    mut doubtful: bool,
) -> Over {
    loop {
        let pulled = {
            let mut pull = source.pull();
            loop {
                tokio::select! {
                    () = cx.stop.cancelled() => return Over::Stopped,
                    pulled = &mut pull => break pulled,
                    () = tokio::time::sleep(SURE_AFTER), if doubtful => {
                        doubtful = false;
                        cx.report(SourceEvent::Up { source: cx.name() }).await;
                    }
                }
            }
        };
        if doubtful && pulled.is_ok() {
            doubtful = false;
            cx.report(SourceEvent::Up { source: cx.name() }).await;
        }
        match pulled {
            Ok(Some(batch)) if batch.records.is_empty() => {
                if let Err(fault) = save(cx, &batch.lane, batch.positions).await {
                    return Over::Failed(fault);
                }
            }
            Ok(Some(batch)) => {
                *positional |= !cx.node.journal && !matches!(batch.positions, Positions::None);
                if cx.node.journal {
                    if let Err(fault) = journal(cx, batch).await {
                        return Over::Failed(fault);
                    }
                } else if !store_has_room(cx).await || pass_on(cx, batch).await.is_err() {
                    return Over::Stopped;
                }
            }
            Ok(None) => return Over::Ended,
            Err(fault) => return Over::Failed(fault),
        }
    }
}

/// Waits while the store has no room: what is read on would eat what settling needs. False if stopped meanwhile.
async fn store_has_room(cx: &ReaderContext) -> bool {
    let mut told = false;
    while let Some(error) = cx.events.unavailable() {
        if !told {
            let fault = Fault::service(error).with_code("store_full");
            cx.report(SourceEvent::Down { source: cx.name(), fault, until: None, resume: None }).await;
            told = true;
        }
        tokio::select! {
            () = cx.stop.cancelled() => return false,
            () = tokio::time::sleep(STORE_AGAIN) => {}
        }
    }
    if told {
        cx.report(SourceEvent::Up { source: cx.name() }).await;
    }
    true
}

/// Gives a batch to the pipeline; what finds it gone goes back to its source.
async fn pass_on(cx: &ReaderContext, batch: Batch) -> Result<(), ()> {
    let n = batch.records.len() as u64;
    hand_over(cx, batch).await.map_err(|left| cx.intake.counters.give_back(left.min(n)))
}

/// The settler learns of a batch first.
///
/// # Errors
/// How many records were not taken.
async fn hand_over(cx: &ReaderContext, batch: Batch) -> Result<(), u64> {
    let Batch { lane, records, positions, ack } = batch;
    let number = cx.batches.fetch_add(1, Relaxed);
    cx.intake.counters.accept(records.len());
    let notice =
        Notice::Batch { batch: number, lane: lane.clone(), positions, records: records.len() as u32, ack };
    let mut left = records.len() as u64;
    cx.notices.send(notice).await.map_err(|_| left)?;
    let (mut rest, mut first) = (records, 0);
    while !rest.is_empty() {
        let n = cx.turns(rest.len(), &cx.stop).await.ok_or(left)?;
        let behind = rest.split_off(n);
        let records = std::mem::replace(&mut rest, behind);
        let from = From::Batch { number, first };
        let message = FromSource { source: Arc::clone(&cx.node.name), lane: lane.clone(), records, from };
        if cx.records.capacity() == 0 && planted::drop_when_full() {
            return Ok(());
        }
        cx.records.send(message).await.map_err(|_| left)?;
        first += n as u32;
        left -= n as u64;
    }
    Ok(())
}

/// Journals a batch of a source that cannot replay, then acknowledges it there.
async fn journal(cx: &ReaderContext, batch: Batch) -> Result<(), Fault> {
    let Batch { lane, records, positions, mut ack } = batch;
    let n = records.len() as u32;
    let mut prepared = Vec::with_capacity(records.len());
    for record in records {
        if record.body().bytes().len() > LARGEST_RECORD {
            too_large(cx, record).await?;
            continue;
        }
        // What cannot be prepared is journaled with the reason, and refused when it is read again.
        match cx.intake.prepare.records(record.clone()) {
            Ok(parts) => prepared.extend(parts),
            Err(fault) => {
                let record = explain(record, &cx.node.name, &fault, 0, cx.clock.now());
                prepared.push(Prepared { record, dedup: None });
            }
        }
    }
    let mut waiting = Some(prepared);
    while let Some(prepared) = waiting.take() {
        if cx.events.unavailable().is_none() {
            match cx.intake.append(prepared).await {
                Ok(_) => break,
                // The entries went with the call; the source gives them again after a reopen.
                Err(StoreError::Full(reason)) => {
                    return Err(Fault::service(reason).with_code("store_full"));
                }
                Err(error) => {
                    cx.report(SourceEvent::StoreFailed(error.clone())).await;
                    return Err(Fault::fatal(error));
                }
            }
        }
        waiting = Some(prepared);
        tokio::select! {
            () = cx.stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(STORE_AGAIN) => {}
        }
    }
    let verdicts: Vec<(u32, Verdict)> = (0..n).map(|index| (index, Verdict::Durable)).collect();
    ack.settle(&verdicts).await?;
    save(cx, &lane, positions).await
}

/// Saves the last position, if there is one, at once.
async fn save(cx: &ReaderContext, lane: &Lane, positions: Positions) -> Result<(), Fault> {
    let position = match positions {
        Positions::None | Positions::Later => return Ok(()),
        Positions::After(position) | Positions::Now(position) => Some(position),
        Positions::Each(each) => each.into_iter().next_back(),
        Positions::Gone => None,
    };
    let saved = settler::save(&*cx.progress, cx.stream(), lane, position).await;
    saved.map_err(|error| Fault::service(error).with_code("store"))
}

/// What no journal entry can hold becomes a dead letter at once.
async fn too_large(cx: &ReaderContext, record: Record) -> Result<(), Fault> {
    let length = record.body().bytes().len();
    let message = format!("a journaled record may have {LARGEST_RECORD} bytes, this one has {length}");
    let fault = Fault::validation("too_large", message);
    let refusal = Refusal { node: cx.name(), record: record.clone(), fault, attempts: 0 };
    let burial = Burial { refusal, origin: record, at: cx.clock.now() };
    cx.letters
        .bury(&cx.stream().pipeline, &[burial])
        .await
        .map_err(|error| Fault::service(error).with_code("store"))?;
    cx.intake.counters.pass(End::DeadLettered);
    Ok(())
}

/// Stops fetching, waits for the last acknowledgement, closes.
async fn finish(cx: &ReaderContext, source: &mut dyn Source) {
    if let Err(error) = source.quiesce().await {
        tracing::warn!(source = %cx.stream(), %error, "source did not stop fetching cleanly");
    }
    cx.close.cancelled().await;
    close(cx, source).await;
}

async fn close(cx: &ReaderContext, source: &mut dyn Source) {
    match tokio::time::timeout(Duration::from_secs(5), source.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(source = %cx.stream(), %error, "source did not close cleanly")
        }
        Err(_) => tracing::warn!(source = %cx.stream(), "source did not close in time"),
    }
}

/// Reads a journal into the pipeline until told to stop.
pub(crate) async fn read_journal(cx: ReaderContext, stop: CancellationToken) {
    let lane = Lane::new("journal");
    let mut after = 0;
    loop {
        let read = tokio::select! {
            () = stop.cancelled() => return,
            read = cx.events.read(cx.stream(), after, JOURNAL_RECORDS, JOURNAL_BYTES) => read,
        };
        let entries = match read {
            Ok(entries) => entries,
            Err(error) => return cx.report(SourceEvent::StoreFailed(error)).await,
        };
        if let Some(last) = entries.last() {
            after = last.sequence;
        }
        fail::fail_point!("crash::read_back");
        let mut rest = entries;
        while !rest.is_empty() {
            let Some(n) = cx.turns(rest.len(), &stop).await else { return };
            let behind = rest.split_off(n);
            let entries = std::mem::replace(&mut rest, behind);
            let message = journaled(&cx, lane.clone(), entries, |sequences| From::Journal { sequences });
            if cx.records.capacity() == 0 && planted::drop_when_full() {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                sent = cx.records.send(message) => if sent.is_err() { return },
            }
        }
    }
}

/// Reads parked entries again, by number.
///
/// # Errors
/// The store cannot be read.
pub(crate) async fn fetch(cx: ReaderContext, sequences: Vec<u64>) -> Result<FromSource, StoreError> {
    let entries = cx.events.fetch(cx.stream(), &sequences).await?;
    let lane = Lane::new("journal");
    Ok(journaled(&cx, lane, entries, |found| From::Parked { sequences: found, asked: sequences }))
}

fn journaled(
    cx: &ReaderContext,
    lane: Lane,
    entries: Vec<Entry>,
    from: impl FnOnce(Vec<u64>) -> From,
) -> FromSource {
    let sequences = entries.iter().map(|entry| entry.sequence).collect();
    FromSource {
        source: Arc::clone(&cx.node.name),
        lane,
        records: entries.into_iter().map(|entry| entry.record).collect(),
        from: from(sequences),
    }
}
