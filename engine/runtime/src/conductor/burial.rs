//! Dead letters on their way to the store. What waits for them is settled when they are durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use karez_api::{Fault, StoreError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Conductor, Event};
use crate::core::Burial;

/// Dead letters in one write, and the bytes of their records.
const LETTERS: usize = 64;
const BYTES: usize = 4 << 20;
/// The wait before dead letters are written again that found no room.
const AGAIN: Duration = Duration::from_secs(1);

/// Tasks that write dead letters; each yields what it did not write.
#[derive(Default)]
pub(super) struct Burying {
    tasks: Vec<JoinHandle<Vec<Burial>>>,
    /// Who waits for room waits no longer.
    give_up: CancellationToken,
}

impl Conductor {
    /// Writes dead letters, a page at a time.
    pub(super) fn bury(&mut self, burials: Vec<Burial>) {
        if burials.is_empty() {
            return;
        }
        let (store, name) = (Arc::clone(&self.services.letters), Arc::clone(&self.shared.name));
        let (events, generation) = (self.events.0.clone(), self.core.generation());
        let give_up = self.burying.give_up.clone();
        let task = self.tasks.spawn(async move {
            let mut rest = VecDeque::from(burials);
            while !rest.is_empty() {
                let page: Vec<Burial> = rest.drain(..page(&rest)).collect();
                let event = loop {
                    match store.bury(&name, &page).await {
                        Ok(()) => {
                            let origins = page.iter().map(|burial| burial.refusal.record.origin()).collect();
                            break Event::Buried { origins, generation };
                        }
                        Err(StoreError::Full(reason)) => {
                            tracing::warn!(%reason, "no room for dead letters, their records wait");
                            tokio::select! {
                                () = give_up.cancelled() => return page.into_iter().chain(rest).collect(),
                                () = events.closed() => return Vec::new(),
                                () = tokio::time::sleep(AGAIN) => {}
                            }
                        }
                        Err(error) => break Event::Fatal(Fault::fatal(error).with_code("store")),
                    }
                };
                drop(events.send(event).await);
            }
            Vec::new()
        });
        self.burying.tasks.retain(|task| !task.is_finished());
        self.burying.tasks.push(task);
    }

    /// Lets what is being written end, and yields what found no room: its records may fare better in another graph.
    pub(super) async fn end_burials(&mut self) -> Vec<Burial> {
        let Burying { tasks, give_up } = std::mem::take(&mut self.burying);
        give_up.cancel();
        let mut ended = join_all(tasks);
        let left = loop {
            tokio::select! {
                left = &mut ended => break left,
                Some(event) = self.events.1.recv() => self.take_in(event),
            }
        };
        while let Ok(event) = self.events.1.try_recv() {
            self.take_in(event);
        }
        left.into_iter().flatten().flatten().collect()
    }
}

/// How many go in the next write.
fn page(burials: &VecDeque<Burial>) -> usize {
    let mut bytes = 0;
    let fit = burials.iter().take(LETTERS).take_while(|burial| {
        bytes += burial.refusal.record.body().bytes().len();
        bytes <= BYTES
    });
    fit.count().max(1)
}
