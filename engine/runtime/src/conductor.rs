//! The one task that owns a pipeline's core: it feeds it what happens and carries out what it
//! decides. Everything that waits (sources, deliveries, the store) waits in other tasks.

mod burial;
mod commands;
mod reload;
mod rewind;
mod stop;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use karez_api::{Fault, Opened, Origin, Outcome, Record, StoreError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Services;
use crate::assemble::{Parts, SourcePart, open_sinks};
use crate::core::{Core, Gate, Pulled};
use crate::delivery::SinkDriver;
use crate::pipeline::{Control, Replayed, Shared};
use crate::prepare::Prepare;
use crate::reader::{self, FromSource, ReaderContext, SourceEvent};
use crate::settler::{Notice, Report, Settler};
use crate::status::{Down, State};
use crate::tasks::TaskGroup;
use crate::worker::Ran;
use burial::Burying;

const EVENTS: usize = 256;
/// How long a reload waits for deliveries in progress.
const GRACE: Duration = Duration::from_secs(5);

/// What the pipeline's tasks report.
enum Event {
    Ran {
        source: usize,
        chunk: u64,
        generation: u64,
        ran: Ran,
    },
    Delivered {
        sink: usize,
        attempt: u64,
        generation: u64,
        outcomes: Vec<Outcome>,
    },
    Buried {
        origins: Vec<Origin>,
        generation: u64,
    },
    /// Parked records, read again: there was room for them when they were asked for.
    Fetched(FromSource),
    Fatal(Fault),
}

/// One source with its tasks.
struct SourceHandle {
    cx: ReaderContext,
    /// Prepares its records for the graph that runs now; the reader keeps the one it began with.
    prepare: Arc<Prepare>,
    /// Chunks of it in the steps at once.
    cores: Arc<Semaphore>,
    stop_journal: CancellationToken,
    reader: Option<JoinHandle<()>>,
    journal: Option<JoinHandle<()>>,
    settler: Option<JoinHandle<()>>,
    ended: bool,
}

pub(crate) struct Conductor {
    shared: Arc<Shared>,
    services: Services,
    tasks: TaskGroup,
    core: Core,
    sources: Vec<SourceHandle>,
    sinks: Vec<Arc<SinkDriver>>,
    attempts: HashMap<(usize, u64), tokio::task::AbortHandle>,
    replays: HashMap<u64, oneshot::Sender<Replayed>>,
    next_ticket: u64,
    batches: Arc<AtomicU64>,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    records: (mpsc::Sender<FromSource>, mpsc::Receiver<FromSource>),
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    source_events: (mpsc::Sender<SourceEvent>, mpsc::Receiver<SourceEvent>),
    /// Sources that wait for their records to be settled before they are opened again.
    resuming: Vec<(Arc<str>, oneshot::Sender<()>)>,
    burying: Burying,
    failed: Option<Fault>,
}

impl Conductor {
    /// Opens sinks and sources of a plan and yields the conductor that will run it.
    ///
    /// # Errors
    /// What the file can be blamed for.
    pub(crate) async fn start(
        parts: Parts,
        shared: Arc<Shared>,
        services: Services,
        tasks: TaskGroup,
    ) -> Result<Self, Fault> {
        open_sinks(&parts.sinks).await?;
        let settings = parts.sources.iter().map(SourcePart::settings).collect();
        let core = Core::new(
            Arc::clone(&services.events),
            Arc::clone(&parts.graph),
            settings,
            parts.sink_states(&services),
            parts.limit,
            Arc::clone(&shared.counters),
        );
        let mut conductor = Self {
            shared,
            services,
            tasks,
            core,
            sources: Vec::new(),
            sinks: parts.sinks,
            attempts: HashMap::new(),
            replays: HashMap::new(),
            next_ticket: 1,
            batches: Arc::new(AtomicU64::new(1)),
            events: mpsc::channel(EVENTS),
            records: mpsc::channel(1),
            reports: mpsc::channel(EVENTS),
            source_events: mpsc::channel(EVENTS),
            resuming: Vec::new(),
            burying: Burying::default(),
            failed: None,
        };
        let mut handles: Vec<(SourceHandle, Option<Opened>)> = Vec::new();
        for part in parts.sources {
            let handle = conductor.handle(part);
            let opened = handle.cx.first_open().await.map_err(|fault| {
                let message = format!("source {}: {fault}", handle.cx.node.name);
                fault.with_message(message)
            })?;
            conductor.shared.counters.recover(conductor.held(&handle));
            handles.push((handle, opened));
        }
        for (handle, opened) in handles {
            let index = conductor.sources.len();
            let handle = conductor.spawn_source(index, handle, opened);
            conductor.sources.push(handle);
        }
        Ok(conductor)
    }

    fn handle(&self, part: SourcePart) -> SourceHandle {
        // Replaced when its settler is spawned; until then nothing is sent.
        let (notices, _) = mpsc::channel(1);
        let gate = part.node.rate_limit.as_ref().map(|limit| Arc::new(Mutex::new(Gate::new(limit))));
        let cx = ReaderContext {
            node: part.node,
            intake: part.intake,
            events: Arc::clone(&self.services.events),
            progress: Arc::clone(&self.services.progress),
            letters: Arc::clone(&self.services.letters),
            clock: Arc::clone(&self.services.clock),
            ingress: Arc::clone(&self.services.ingress),
            tasks: self.tasks.clone(),
            shared: self.services.shared.clone(),
            once: self.services.once,
            notices,
            records: self.records.0.clone(),
            reports: self.source_events.0.clone(),
            batches: Arc::clone(&self.batches),
            gate,
            stop: CancellationToken::new(),
            close: CancellationToken::new(),
        };
        SourceHandle {
            prepare: Arc::clone(&cx.intake.prepare),
            cores: Arc::new(Semaphore::new(cx.node.concurrency.unwrap_or_else(cores))),
            cx,
            stop_journal: CancellationToken::new(),
            reader: None,
            journal: None,
            settler: None,
            ended: false,
        }
    }

    fn spawn_source(&self, index: usize, mut handle: SourceHandle, opened: Option<Opened>) -> SourceHandle {
        let (notices, receiver) = mpsc::channel(EVENTS);
        handle.cx.notices = notices;
        let settler = Settler::new(
            index,
            handle.cx.stream().clone(),
            self.sinks.iter().map(|driver| driver.name.clone()).collect(),
            Arc::clone(&self.services.events),
            Arc::clone(&self.services.progress),
            self.reports.0.clone(),
        );
        handle.settler = Some(self.tasks.spawn(settler.run(receiver)));
        handle.reader = Some(self.tasks.spawn(reader::read(handle.cx.clone(), opened)));
        // A journal that was switched off still delivers what it holds.
        if handle.journal.is_none() && (handle.cx.node.journal || self.held(&handle) > 0) {
            let read = reader::read_journal(handle.cx.clone(), handle.stop_journal.clone());
            handle.journal = Some(self.tasks.spawn(read));
        }
        handle
    }

    /// What a source's journal holds unsettled.
    fn held(&self, handle: &SourceHandle) -> u64 {
        self.services.events.stats(handle.cx.stream()).unsettled
    }

    /// Runs until stopped, ended or failed.
    pub(crate) async fn run(mut self, mut control: mpsc::Receiver<Control>) {
        let (state, replies) = self.conduct(&mut control).await;
        self.shut_down().await;
        self.shared.finish(state, self.failed.take());
        for reply in replies {
            // Nobody waits any more: fine.
            reply.send(()).ok();
        }
    }

    async fn conduct(&mut self, control: &mut mpsc::Receiver<Control>) -> (State, Vec<oneshot::Sender<()>>) {
        loop {
            self.carry_out();
            if let Some(fault) = &self.failed {
                tracing::error!(pipeline = %self.shared.name, error = %fault, "pipeline stopped");
                return (State::Failed, Vec::new());
            }
            self.resume_sources().await;
            if self.is_over() {
                return (State::Ended, Vec::new());
            }
            // A journal tells nobody that it is empty: once all sources ended, look again soon.
            let ended = self.sources.iter().all(|handle| handle.ended);
            let again = ended.then(|| Instant::now() + Duration::from_millis(50));
            let command = self.next(Some(control), true, again).await;
            match command {
                None => {}
                Some(Control::Stop(drain, reply)) => {
                    return (State::Stopped, self.drain(drain, reply, control).await);
                }
                Some(Control::Reload(parts, reply)) => {
                    self.shared.set_state(State::Reloading);
                    let outcome = self.reload(*parts).await;
                    self.shared.set_state(State::Running);
                    drop(reply.send(outcome));
                }
                Some(Control::Replay(record, node, reply)) => self.replay(record, node, reply),
                Some(Control::Rewind(rewind, sources, reply)) => {
                    let rewound = self.rewind(&rewind, &sources).await;
                    // Whoever asked may be gone.
                    drop(reply.send(rewound));
                }
                Some(Control::Unblock) => self.core.unblock(),
            }
        }
    }

    /// Waits for the next thing to happen and takes it in; control is handed back.
    async fn next(
        &mut self,
        control: Option<&mut mpsc::Receiver<Control>>,
        admit: bool,
        deadline: Option<Instant>,
    ) -> Option<Control> {
        let now = Instant::now();
        let wake = [self.core.next_change(now), deadline].into_iter().flatten().min();
        let admit = admit && self.core.has_room();
        tokio::select! {
            biased;
            command = receive(control) => return command,
            Some(event) = self.events.1.recv() => {
                self.take_in(event);
                // What came meanwhile is taken in with it: one round of commands for all.
                while let Ok(event) = self.events.1.try_recv() {
                    self.take_in(event);
                }
            }
            Some(report) = self.reports.1.recv() => self.reported(report),
            Some(event) = self.source_events.1.recv() => self.source_event(event),
            Some(records) = self.records.1.recv(), if admit => self.pulled(records),
            () = tokio::time::sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
        }
        None
    }

    fn take_in(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Ran { source, chunk, generation, ran } => {
                self.core.ran(source, chunk, generation, ran, now);
            }
            Event::Delivered { sink, attempt, generation, outcomes } => {
                if generation == self.core.generation() {
                    self.attempts.remove(&(sink, attempt));
                }
                self.core.delivered(sink, attempt, generation, outcomes, now);
            }
            Event::Buried { origins, generation } => self.core.buried(&origins, generation),
            Event::Fetched(from) => self.pulled(from),
            Event::Fatal(fault) => self.failed = Some(fault),
        }
    }

    fn reported(&mut self, report: Report) {
        match report {
            Report::Remembered(keys) => self.core.remembered(&keys),
            Report::Forgotten(deliveries) => self.core.forgotten(&deliveries),
            Report::AckFailed { source, fault } => {
                let name = self.sources.get(source).map(|handle| &handle.cx.node.name);
                tracing::warn!(source = ?name, error = %fault, "acknowledgement failed, expecting redelivery");
            }
            Report::StoreFailed(error) => self.store_failed(&error),
        }
    }

    fn source_event(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Down { source, fault, until, resume } => {
                let down = Down { reason: told(&fault), resumes_at: until };
                let first = self.shared.source_down(&source, Some(down));
                if first {
                    tracing::warn!(%source, error = %fault, class = fault.class().name(), "source failed, will reopen");
                }
                self.resuming.extend(resume.map(|resume| (source, resume)));
            }
            SourceEvent::Up { source } => {
                self.shared.source_down(&source, None);
            }
            SourceEvent::Ended { source } => {
                if let Some(handle) = self.sources.iter_mut().find(|handle| handle.cx.node.name == source) {
                    handle.ended = true;
                }
            }
            SourceEvent::StoreFailed(error) => self.store_failed(&error),
            SourceEvent::GivenUp(fault) => self.failed = Some(fault),
        }
    }

    fn store_failed(&mut self, error: &StoreError) {
        self.failed = Some(Fault::fatal(error).with_code("store"));
    }

    fn index(&self, source: &str) -> Option<usize> {
        self.sources.iter().position(|handle| &*handle.cx.node.name == source)
    }

    fn pulled(&mut self, from: FromSource) {
        let FromSource { source, lane, records, from } = from;
        let Some(index) = self.index(&source) else {
            return;
        };
        self.shared.note_source(&source, records.len() as u64);
        self.core.pulled(Pulled { source: index, lane, records, from });
    }

    fn replay(&mut self, record: Record, node: Option<String>, reply: oneshot::Sender<Replayed>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        // Where it entered matters only to a record that goes through its source again.
        let known = self.index(&record.meta().source).or(node.as_ref().map(|_| 0));
        match known {
            Some(source) if self.core.replay(record, source, node.as_deref(), ticket) => {
                self.replays.insert(ticket, reply);
            }
            // Whoever asked may be gone.
            _ => drop(reply.send(Replayed::UnknownNode)),
        }
    }

    /// Sources that save positions are opened again only where nothing of theirs is on its way.
    async fn resume_sources(&mut self) {
        let mut waiting = Vec::new();
        for (source, resume) in std::mem::take(&mut self.resuming) {
            match self.index(&source) {
                Some(index) if self.core.holds_records_of(index) || !self.records.1.is_empty() => {
                    waiting.push((source, resume));
                }
                Some(index) => {
                    self.flush(index).await;
                    resume.send(()).ok();
                }
                None => {}
            }
        }
        self.resuming = waiting;
    }

    /// Everything settled so far is saved when this returns.
    async fn flush(&mut self, source: usize) {
        let (done, saved) = oneshot::channel();
        let notices = self.sources[source].cx.notices.clone();
        self.hearing(async move {
            // A settler that is gone has nothing to save.
            if notices.send(Notice::Flush(done)).await.is_ok() {
                drop(saved.await);
            }
        })
        .await;
    }

    /// Waits for what needs a settler, and hears meanwhile what settlers report: none must wait for whoever waits for it.
    async fn hearing<T>(&mut self, waiting: impl Future<Output = T>) -> T {
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                done = &mut waiting => return done,
                Some(report) = self.reports.1.recv() => self.reported(report),
            }
        }
    }

    /// Whether all sources came to their end and nothing is left of their records.
    fn is_over(&self) -> bool {
        !self.sources.is_empty()
            && self.sources.iter().all(|handle| handle.ended)
            && self.core.is_idle()
            && self.records.1.is_empty()
            && self.journals_are_empty()
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

async fn receive(control: Option<&mut mpsc::Receiver<Control>>) -> Option<Control> {
    match control {
        // A pipeline whose handle is gone goes on: its owner is the process.
        Some(control) => match control.recv().await {
            Some(command) => Some(command),
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// A fault for people: what its class does not say already.
fn told(fault: &Fault) -> String {
    match fault.code() == fault.class().name() {
        true => fault.to_string(),
        false => format!("{fault} [{}]", fault.code()),
    }
}
