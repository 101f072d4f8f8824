//! What the core decided, carried out: each command by a task that answers with an event.

use std::sync::Arc;

use karez_api::{Fault, Record};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Conductor, Event};
use crate::core::{Command, SettledItem};
use crate::pipeline::Replayed;
use crate::reader;
use crate::settler::Notice;
use crate::worker::{self, Work};

impl Conductor {
    pub(super) fn carry_out(&mut self) {
        let commands = self.core.commands(Instant::now(), self.services.clock.now());
        for command in commands {
            match command {
                Command::Run { source, chunk, work } => self.run_chunk(source, chunk, work),
                Command::Attempt { sink, attempt, records, ledger } => {
                    self.attempt(sink, attempt, records, ledger);
                }
                Command::Bury(burials) => self.bury(burials),
                Command::Settle { source, items } => self.settle(source, items),
                Command::Fetch { source, sequences } => self.fetch(source, sequences),
                Command::Replayed { ticket, end } => {
                    if let Some(reply) = self.replays.remove(&ticket) {
                        // Whoever asked may be gone.
                        reply.send(end.map_or(Replayed::GivenBack, Replayed::Ended)).ok();
                    }
                }
                Command::Fail(fault) => self.failed = Some(fault),
            }
        }
    }

    fn run_chunk(&self, source: usize, chunk: u64, work: Vec<Work>) {
        let graph = Arc::clone(self.core.graph());
        let prepare = Arc::clone(&self.sources[source].prepare);
        let (events, generation) = (self.events.0.clone(), self.core.generation());
        let now = self.services.clock.now();
        let cores = Arc::clone(&self.sources[source].cores);
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

    fn fetch(&self, source: usize, sequences: Vec<u64>) {
        let (cx, events) = (self.sources[source].cx.clone(), self.events.0.clone());
        self.tasks.spawn(async move {
            let event = match reader::fetch(cx, sequences).await {
                Ok(from) => Event::Fetched(from),
                Err(error) => Event::Fatal(Fault::fatal(error).with_code("store")),
            };
            // A pipeline that is gone leaves them in the journal.
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

    fn settle(&self, source: usize, items: Vec<SettledItem>) {
        let Some(handle) = self.sources.get(source) else { return };
        let waiting = handle.cx.intake.requests.waiting();
        if !waiting.is_empty() {
            items.iter().for_each(|item| {
                if let Some(end) = item.end {
                    waiting.tell(&item.id.to_string(), end);
                }
            });
        }
        let notices = handle.cx.notices.clone();
        match notices.try_send(Notice::Items(items)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(notice)) => {
                // A slow store must not stop deliveries; order among settlements does not matter.
                self.tasks.spawn(async move { drop(notices.send(notice).await) });
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }
}
