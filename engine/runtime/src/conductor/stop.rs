//! The end of a pipeline: what is on its way comes to its end or goes back, and everything is
//! closed in the order in which nothing is lost.

use std::time::Duration;

use karez_api::Fault;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Conductor, GRACE};
use crate::pipeline::{Control, Drain, Replayed};
use crate::status::State;

/// How long a stop hopes for records that only wait to be tried again.
const CHANCE: Duration = Duration::from_secs(1);

impl Conductor {
    /// Stops reading and lets what is on its way come to its end, until the deadline or a second stop.
    pub(super) async fn drain(
        &mut self,
        drain: Drain,
        reply: oneshot::Sender<()>,
        control: &mut mpsc::Receiver<Control>,
    ) -> Vec<oneshot::Sender<()>> {
        self.shared.set_state(State::Draining);
        let mut replies = vec![reply];
        let (within, mut journals) = match drain {
            Drain::Now => return replies,
            Drain::Window(within) => (within, false),
            Drain::Everything(within) => (within, true),
        };
        let (begun, mut deadline) = (Instant::now(), Instant::now() + within);
        for handle in &self.sources {
            handle.cx.stop.cancel();
            if !journals {
                handle.stop_journal.cancel();
            }
            handle.cx.intake.close().await;
        }
        self.core.drain();
        loop {
            self.carry_out();
            let idle = self.core.is_idle() && self.records.1.is_empty();
            // An outage may last for days; what waits for its end is kept where it came from.
            let hopeless = !journals && begun.elapsed() >= CHANCE && self.only_waits();
            let done = hopeless || idle && (!journals || self.journals_are_empty());
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
                Some(Control::Stop(Drain::Window(within), reply)) => {
                    // The process ends: its journals need not be empty any more.
                    journals = false;
                    self.sources.iter().for_each(|handle| handle.stop_journal.cancel());
                    deadline = deadline.min(Instant::now() + within);
                    replies.push(reply);
                }
                Some(Control::Stop(Drain::Everything(_), reply)) => replies.push(reply),
                Some(Control::Reload(_, reply)) => {
                    let fault = Fault::service("the pipeline is stopping").with_code("stopping");
                    drop(reply.send(Err(fault)));
                }
                Some(Control::Replay(.., reply)) => drop(reply.send(Replayed::GivenBack)),
                Some(Control::Rewind(.., reply)) => {
                    let fault = Fault::service("the pipeline is stopping").with_code("stopping");
                    drop(reply.send(Err(fault)));
                }
                Some(Control::Unblock) | None => {}
            }
        }
    }

    fn only_waits(&self) -> bool {
        let at_door = !self.records.1.is_empty() && self.core.has_room();
        !at_door && self.core.only_waits(Instant::now())
    }

    pub(super) fn journals_are_empty(&self) -> bool {
        self.sources.iter().all(|handle| self.held(handle) == 0)
    }

    /// Gives back what is not settled, saves what is, closes everything.
    pub(super) async fn shut_down(&mut self) {
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
            drop(tokio::time::timeout(GRACE, self.flush(index)).await);
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
}
