//! The one task that owns a pipeline's core: it feeds it what happens and carries out what it
//! decides. Everything that waits (sources, deliveries, the store) waits in other tasks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use karez_api::{Fault, Opened, Origin, Outcome, Record, StoreError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Services;
use crate::assemble::{Parts, SourcePart, kept, open_sinks};
use crate::core::{Burial, Command, Core, Pulled};
use crate::counters::End;
use crate::delivery::SinkDriver;
use crate::letters::{DeadLetter, KeptRecord, letter_id};
use crate::pipeline::{Control, Drain, Shared};
use crate::reader::{self, FromSource, ReaderContext, SourceEvent};
use crate::settler::{Notice, Report, Settler};
use crate::status::State;
use crate::tasks::TaskGroup;
use crate::worker::{self, Ran, Work};

const EVENTS: usize = 256;
/// How long a reload waits for deliveries in progress.
const RELOAD_GRACE: Duration = Duration::from_secs(5);
/// The wait before dead letters are written again that found no room.
const BURY_AGAIN: Duration = Duration::from_secs(1);

/// What the pipeline's tasks report.
enum Event {
    Ran { source: usize, chunk: u64, generation: u64, ran: Ran },
    Delivered { sink: usize, attempt: u64, generation: u64, outcomes: Vec<Outcome> },
    Buried { origins: Vec<Origin>, generation: u64 },
    Fatal(Fault),
}

/// One source with its tasks.
struct SourceHandle {
    cx: ReaderContext,
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
    replays: HashMap<u64, oneshot::Sender<Option<End>>>,
    next_ticket: u64,
    batches: Arc<AtomicU64>,
    /// Chunks in the steps at once: one a core, so that a slow pipeline takes no more than that.
    cores: Arc<Semaphore>,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    records: (mpsc::Sender<FromSource>, mpsc::Receiver<FromSource>),
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    source_events: (mpsc::Sender<SourceEvent>, mpsc::Receiver<SourceEvent>),
    /// Sources that wait for their records to be settled before they are opened again.
    resuming: Vec<(Arc<str>, oneshot::Sender<()>)>,
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
            cores: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from))),
            events: mpsc::channel(EVENTS),
            records: mpsc::channel(1),
            reports: mpsc::channel(EVENTS),
            source_events: mpsc::channel(EVENTS),
            resuming: Vec::new(),
            failed: None,
        };
        let mut handles: Vec<(SourceHandle, Option<Opened>)> = Vec::new();
        for part in parts.sources {
            let handle = conductor.handle(part);
            let opened = handle.cx.first_open().await.map_err(|fault| {
                let message = format!("source {}: {fault}", handle.cx.node.name);
                fault.with_message(message)
            })?;
            let held = conductor.services.events.stats(handle.cx.stream()).unsettled;
            conductor.shared.counters.recover(held);
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
        let cx = ReaderContext {
            node: part.node,
            intake: part.intake,
            events: Arc::clone(&self.services.events),
            progress: Arc::clone(&self.services.progress),
            clock: Arc::clone(&self.services.clock),
            ingress: Arc::clone(&self.services.ingress),
            tasks: self.tasks.clone(),
            notices,
            records: self.records.0.clone(),
            reports: self.source_events.0.clone(),
            batches: Arc::clone(&self.batches),
            stop: CancellationToken::new(),
            close: CancellationToken::new(),
        };
        SourceHandle {
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
        let held = self.services.events.stats(handle.cx.stream()).unsettled;
        if handle.journal.is_none() && (handle.cx.node.journal || held > 0) {
            let read = reader::read_journal(handle.cx.clone(), handle.stop_journal.clone());
            handle.journal = Some(self.tasks.spawn(read));
        }
        handle
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
            let command = self.next(Some(control), true, None).await;
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
                self.attempts.remove(&(sink, attempt));
                self.core.delivered(sink, attempt, generation, outcomes, now);
            }
            Event::Buried { origins, generation } => self.core.buried(&origins, generation),
            Event::Fatal(fault) => self.failed = Some(fault),
        }
    }

    fn reported(&mut self, report: Report) {
        match report {
            Report::Remembered { source, keys } => self.core.remembered(source, &keys),
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
            SourceEvent::Down { source, fault, resume } => {
                let first = self.shared.source_down(&source, Some(fault.to_string()));
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

    fn carry_out(&mut self) {
        let commands = self.core.commands(Instant::now(), self.services.clock.now());
        for command in commands {
            match command {
                Command::Run { source, chunk, work } => self.run_chunk(source, chunk, work),
                Command::Attempt { sink, attempt, records, ledger } => {
                    self.attempt(sink, attempt, records, ledger);
                }
                Command::Bury(burials) => self.bury(burials),
                Command::Settle { source, items } => self.settle(source, items),
                Command::Fetch { source, sequences } => {
                    let cx = self.sources[source].cx.clone();
                    self.tasks.spawn(reader::fetch(cx, sequences));
                }
                Command::Replayed { ticket, end } => {
                    if let Some(reply) = self.replays.remove(&ticket) {
                        // Whoever asked may be gone.
                        reply.send(end).ok();
                    }
                }
                Command::Fail(fault) => self.failed = Some(fault),
            }
        }
    }

    fn run_chunk(&self, source: usize, chunk: u64, work: Vec<Work>) {
        let graph = Arc::clone(self.core.graph());
        let prepare = Arc::clone(&self.sources[source].cx.intake.prepare);
        let (events, generation) = (self.events.0.clone(), self.core.generation());
        let now = self.services.clock.now();
        let cores = Arc::clone(&self.cores);
        self.tasks.spawn(async move {
            // The semaphore is never closed.
            let _core = cores.acquire_owned().await;
            let run = move || worker::run(&graph, &prepare, source, work, now);
            let event = match tokio::task::spawn_blocking(run).await {
                Ok(ran) => Event::Ran { source, chunk, generation, ran },
                Err(error) => Event::Fatal(Fault::fatal(format_args!("a step broke down: {error}"))),
            };
            drop(events.send(event).await);
        });
    }

    fn attempt(&mut self, sink: usize, attempt: u64, records: Vec<Record>, ledger: Vec<Option<u128>>) {
        let driver = Arc::clone(&self.sinks[sink]);
        let (events, generation) = (self.events.0.clone(), self.core.generation());
        let task = self.tasks.spawn(async move {
            let event = match driver.attempt(&records, &ledger).await {
                Ok(outcomes) => Event::Delivered { sink, attempt, generation, outcomes },
                Err(error) => Event::Fatal(Fault::fatal(error).with_code("store")),
            };
            drop(events.send(event).await);
        });
        self.attempts.insert((sink, attempt), task.abort_handle());
    }

    /// Writes dead letters; what waits for them is settled when they are durable.
    fn bury(&self, burials: Vec<Burial>) {
        let origins: Vec<Origin> = burials.iter().map(|burial| burial.refusal.record.origin()).collect();
        let letters: Vec<DeadLetter> =
            burials.into_iter().map(|burial| letter(&self.shared.name, burial)).collect();
        let store = Arc::clone(&self.services.letters);
        let (events, generation) = (self.events.0.clone(), self.core.generation());
        self.tasks.spawn(async move {
            let event = loop {
                match store.bury(&letters).await {
                    Ok(()) => {
                        break Event::Buried { origins, generation };
                    }
                    Err(StoreError::Full(reason)) => {
                        tracing::warn!(%reason, "no room for dead letters, their records wait");
                        if events.is_closed() {
                            return;
                        }
                        tokio::time::sleep(BURY_AGAIN).await;
                    }
                    Err(error) => break Event::Fatal(Fault::fatal(error).with_code("store")),
                }
            };
            drop(events.send(event).await);
        });
    }

    fn settle(&self, source: usize, items: Vec<crate::core::SettledItem>) {
        let notices = self.sources[source].cx.notices.clone();
        match notices.try_send(Notice::Items(items)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(notice)) => {
                // A slow store must not stop deliveries; order among settlements does not matter.
                self.tasks.spawn(async move { drop(notices.send(notice).await) });
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }

    fn replay(&mut self, record: Record, node: Option<String>, reply: oneshot::Sender<Option<End>>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let source = self.index(&record.meta().source).unwrap_or(0);
        if self.core.replay(record, source, node.as_deref(), ticket) {
            self.replays.insert(ticket, reply);
        }
    }

    /// Sources that save positions are opened again only where nothing of theirs is on its way.
    async fn resume_sources(&mut self) {
        let mut waiting = Vec::new();
        for (source, resume) in std::mem::take(&mut self.resuming) {
            match self.index(&source) {
                Some(index) if self.core.holds_records_of(index) => waiting.push((source, resume)),
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
        let (done, mut saved) = oneshot::channel();
        let notices = self.sources[source].cx.notices.clone();
        let told = async move { notices.send(Notice::Flush(done)).await.is_ok() };
        tokio::pin!(told);
        let mut sent = false;
        // The settler reports meanwhile: it must not wait for whoever waits for it.
        loop {
            tokio::select! {
                ok = &mut told, if !sent => match ok {
                    true => sent = true,
                    // A settler that is gone has nothing to save.
                    false => return,
                },
                _ = &mut saved, if sent => return,
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
            && self.sources.iter().all(|handle| {
                !handle.cx.node.journal || self.services.events.stats(handle.cx.stream()).unsettled == 0
            })
    }

    /// Stops reading and lets what is on its way come to its end, until the deadline or a second stop.
    async fn drain(
        &mut self,
        drain: Drain,
        reply: oneshot::Sender<()>,
        control: &mut mpsc::Receiver<Control>,
    ) -> Vec<oneshot::Sender<()>> {
        self.shared.set_state(State::Draining);
        let mut replies = vec![reply];
        let (within, journals) = match drain {
            Drain::Now => return replies,
            Drain::Window(within) => (within, false),
            Drain::Everything(within) => (within, true),
        };
        let deadline = Instant::now() + within;
        for handle in &self.sources {
            handle.cx.stop.cancel();
            if !journals {
                handle.stop_journal.cancel();
            }
        }
        self.core.drain();
        loop {
            self.carry_out();
            let done =
                self.core.is_idle() && self.records.1.is_empty() && (!journals || self.journals_are_empty());
            if done || self.failed.is_some() || Instant::now() >= deadline {
                return replies;
            }
            // Journals tell nobody that they are empty: look again soon.
            let again = deadline.min(Instant::now() + Duration::from_millis(100));
            match self.next(Some(control), true, Some(again)).await {
                Some(Control::Stop(Drain::Now, reply)) => {
                    replies.push(reply);
                    return replies;
                }
                Some(Control::Stop(_, reply)) => replies.push(reply),
                Some(Control::Reload(_, reply)) => {
                    let fault = Fault::service("the pipeline is stopping").with_code("stopping");
                    drop(reply.send(Err(fault)));
                }
                Some(Control::Replay(..) | Control::Unblock) | None => {}
            }
        }
    }

    fn journals_are_empty(&self) -> bool {
        let empty = |handle: &SourceHandle| self.services.events.stats(handle.cx.stream()).unsettled == 0;
        self.sources.iter().all(empty)
    }

    /// Gives back what is not settled, saves what is, closes everything.
    async fn shut_down(&mut self) {
        for handle in &self.sources {
            handle.cx.stop.cancel();
            handle.stop_journal.cancel();
        }
        // Records that wait at the door were never admitted.
        self.records.1.close();
        while let Ok(from) = self.records.1.try_recv() {
            self.pulled(from);
        }
        self.core.pause();
        self.core.give_back();
        self.attempts.drain().for_each(|(_, attempt)| attempt.abort());
        self.carry_out();
        for index in 0..self.sources.len() {
            self.close_source(index).await;
        }
        for driver in &self.sinks {
            driver.close().await;
        }
        self.events.1.close();
        self.reports.1.close();
        self.source_events.1.close();
        // Settlers end when nobody can tell them anything any more.
        self.sources.clear();
        if let Err(error) = self.services.events.flush().await {
            tracing::error!(pipeline = %self.shared.name, %error, "the store did not flush");
        }
        self.tasks.finish().await;
    }

    /// Ends a source's tasks in order: reader quiet, verdicts told, positions saved, source closed.
    async fn close_source(&mut self, index: usize) {
        let failed = self.failed.is_some();
        let handle = &self.sources[index];
        handle.cx.stop.cancel();
        handle.stop_journal.cancel();
        if !failed {
            // Settlements that found the queue full go first; a store that hangs must not hold the stop for ever.
            drop(tokio::time::timeout(RELOAD_GRACE, self.flush(index)).await);
        }
        let handle = &mut self.sources[index];
        handle.cx.close.cancel();
        if let Some(journal) = handle.journal.take() {
            drop(journal.await);
        }
        if let Some(reader) = handle.reader.take() {
            drop(tokio::time::timeout(Duration::from_secs(10), reader).await);
        }
    }

    async fn reload(&mut self, parts: Parts) -> Result<(), Fault> {
        let keep = kept(&self.sinks, &parts.sinks);
        self.core.pause();
        self.settle_attempts().await;
        if let Some(fault) = self.failed.clone() {
            return Err(fault);
        }
        if let Err(fault) = self.exchange_sinks(&parts, &keep).await {
            self.core.resume();
            return Err(fault);
        }
        let opened = match self.exchange_sources(&parts).await {
            Ok(opened) => opened,
            Err(fault) => {
                self.restore_sinks(&parts.sinks, &keep).await;
                self.core.resume();
                return Err(fault);
            }
        };
        self.swap(parts, opened).await;
        self.shared.counters.reloads.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Lets deliveries in progress end, for as long as a reload may take; the rest is dropped and tried again.
    async fn settle_attempts(&mut self) {
        let deadline = Instant::now() + RELOAD_GRACE;
        self.carry_out();
        while self.core.attempts_in_progress() > 0 && Instant::now() < deadline && self.failed.is_none() {
            drop(self.next(None, false, Some(deadline)).await);
            self.carry_out();
        }
        self.attempts.drain().for_each(|(_, attempt)| attempt.abort());
    }

    /// Sinks that stay the same go over open; others are opened new, after those whose place they take are closed.
    async fn exchange_sinks(
        &self,
        parts: &Parts,
        keep: &std::collections::HashSet<Arc<str>>,
    ) -> Result<(), Fault> {
        let (mut fresh, mut clashing) = (Vec::new(), Vec::new());
        for driver in &parts.sinks {
            if keep.contains(&driver.node.name) {
                continue;
            }
            let claims = driver.node.plan.claims();
            let clash = self.sinks.iter().any(|old| {
                old.node.name == driver.node.name
                    || old.node.plan.claims().iter().any(|claim| claims.contains(claim))
            });
            if clash { clashing.push(Arc::clone(driver)) } else { fresh.push(Arc::clone(driver)) }
        }
        open_sinks(&fresh).await?;
        for old in self.sinks.iter().filter(|old| !keep.contains(&old.node.name)) {
            old.close().await;
        }
        if let Err(fault) = open_sinks(&clashing).await {
            for driver in fresh.iter().chain(&clashing) {
                driver.close().await;
            }
            // The old ones open again with their next delivery.
            return Err(fault);
        }
        for driver in parts.sinks.iter().filter(|driver| keep.contains(&driver.node.name)) {
            if let Some(old) = self.sinks.iter().find(|old| old.node.name == driver.node.name) {
                driver.take_over(old).await;
            }
        }
        Ok(())
    }

    async fn restore_sinks(&self, new: &[Arc<SinkDriver>], keep: &std::collections::HashSet<Arc<str>>) {
        for driver in new {
            let old = self.sinks.iter().find(|old| old.node.name == driver.node.name);
            match old {
                Some(old) if keep.contains(&driver.node.name) => old.take_over(driver).await,
                _ => driver.close().await,
            }
        }
    }

    /// Sources that stay the same go on standing; others are stopped and their successors opened. Yields what was opened.
    async fn exchange_sources(
        &mut self,
        parts: &Parts,
    ) -> Result<HashMap<Arc<str>, (SourceHandle, Option<Opened>)>, Fault> {
        let mut opened = HashMap::new();
        for part in &parts.sources {
            let old = self.index(&part.node.name);
            if old.is_some_and(|old| self.sources[old].cx.node.fingerprint == part.node.fingerprint) {
                continue;
            }
            let part = SourcePart { node: Arc::clone(&part.node), intake: Arc::clone(&part.intake) };
            let name = Arc::clone(&part.node.name);
            let handle = self.handle(part);
            // A push source takes the place of the old one without a gap; one that is asked must let go first.
            let push = handle
                .cx
                .node
                .plan
                .claims()
                .iter()
                .any(|claim| matches!(claim, karez_api::Claim::IngressPath(_)));
            if let Some(old) = old.filter(|_| !push) {
                self.let_go(old).await;
            }
            match handle.cx.first_open().await {
                Ok(source) => {
                    opened.insert(name, (handle, source));
                }
                Err(fault) => {
                    if let Some(old) = old.filter(|_| !push) {
                        self.stand_again(old);
                    }
                    return Err(fault.clone().with_message(format!("source {name}: {fault}")));
                }
            }
        }
        Ok(opened)
    }

    /// Stops a source that is asked, and gives back what of it is not settled.
    async fn let_go(&mut self, index: usize) {
        self.sources[index].cx.stop.cancel();
        self.core.return_source(index);
        self.carry_out();
        self.flush(index).await;
        self.sources[index].cx.close.cancel();
        if let Some(reader) = self.sources[index].reader.take() {
            let mut reader = reader;
            let deadline = Instant::now() + RELOAD_GRACE;
            // Its last batch may wait at the door: it goes back too.
            loop {
                tokio::select! {
                    _ = &mut reader => break,
                    Some(from) = self.records.1.recv() => self.pulled(from),
                    () = tokio::time::sleep_until(deadline) => break,
                }
                self.core.return_source(index);
                self.carry_out();
            }
        }
    }

    /// A source that had let go reads again, where it was left.
    fn stand_again(&mut self, index: usize) {
        let old = &self.sources[index].cx;
        let part = SourcePart { node: Arc::clone(&old.node), intake: Arc::clone(&old.intake) };
        let mut handle = self.handle(part);
        handle.cx.notices = self.sources[index].cx.notices.clone();
        let handle_cx = handle.cx.clone();
        self.sources[index].reader = Some(self.tasks.spawn(reader::read(handle_cx, None)));
        self.sources[index].cx = handle.cx;
    }

    async fn swap(&mut self, parts: Parts, mut opened: HashMap<Arc<str>, (SourceHandle, Option<Opened>)>) {
        // What waits at the door belongs to the old numbering of sources.
        let mut at_door = Vec::new();
        while let Ok(from) = self.records.1.try_recv() {
            at_door.push(from);
        }
        let settings = parts.sources.iter().map(SourcePart::settings).collect();
        let states = parts.sink_states(&self.services);
        let old_sources = std::mem::take(&mut self.sources);
        self.core.swap(Arc::clone(&parts.graph), settings, states, parts.limit);
        self.sinks = parts.sinks;
        let mut old: HashMap<Arc<str>, SourceHandle> =
            old_sources.into_iter().map(|handle| (Arc::clone(&handle.cx.node.name), handle)).collect();
        for (index, part) in parts.sources.into_iter().enumerate() {
            let name = Arc::clone(&part.node.name);
            let handle = match (opened.remove(&name), old.remove(&name)) {
                (Some((mut handle, source)), Some(mut before)) => {
                    // Its reader knows what of the journal is on its way already.
                    handle.journal = before.journal.take();
                    handle.stop_journal = std::mem::take(&mut before.stop_journal);
                    self.retire(before);
                    self.spawn_source(index, handle, source)
                }
                (Some((handle, source)), None) => {
                    let held = self.services.events.stats(handle.cx.stream()).unsettled;
                    self.shared.counters.recover(held);
                    self.spawn_source(index, handle, source)
                }
                (None, Some(before)) => self.keep_source(index, before, part).await,
                (None, None) => continue,
            };
            self.sources.push(handle);
        }
        old.into_values().for_each(|gone| self.retire(gone));
        for from in at_door {
            self.pulled(from);
        }
    }

    /// A standing source under its new number, with the new plan's preparation.
    async fn keep_source(
        &mut self,
        index: usize,
        mut handle: SourceHandle,
        part: SourcePart,
    ) -> SourceHandle {
        let sinks = self.sinks.iter().map(|driver| driver.name.clone()).collect();
        // The settler knows sinks and sources by number.
        drop(handle.cx.notices.send(Notice::Renumber { source: index, sinks }).await);
        handle.cx.intake = part.intake;
        handle
    }

    /// Ends the tasks of a source that is no longer there; its settler goes on until it is through.
    fn retire(&self, handle: SourceHandle) {
        handle.cx.stop.cancel();
        handle.stop_journal.cancel();
        handle.cx.close.cancel();
    }
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

fn letter(pipeline: &Arc<str>, burial: Burial) -> DeadLetter {
    let Burial { refusal, origin, at } = burial;
    let hash = crate::graph::hash_id(refusal.record.id());
    DeadLetter {
        id: letter_id(at, hash, pipeline),
        pipeline: pipeline.to_string(),
        node: refusal.node.to_string(),
        class: refusal.fault.class(),
        code: refusal.fault.code().to_owned(),
        message: refusal.fault.message().to_owned(),
        attempts: refusal.attempts,
        at: at.0,
        origin: KeptRecord::keep(&origin),
        record: KeptRecord::keep(&refusal.record),
    }
}
