//! The way into the journal: for push sources one delivery at a time, for pulled sources that
//! cannot replay (or ask for it) batch by batch.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use karez_api::{
    Accepted, Appended, Clock, Diagnosis, Events, Fate, Fault, Incoming, Intake, NewEntry, Signature,
    StoreError, StreamName,
};
use tokio::sync::{RwLock, oneshot};
use tokio::time::Instant;

use crate::counters::{Counters, End};
use crate::prepare::{Prepare, Prepared};
use crate::requests::{self, Requests, Waiting};

/// What a sender is told to wait when there is no room.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The journal's door of one source.
pub(crate) struct JournalIntake {
    pub(crate) prepare: Arc<Prepare>,
    pub(crate) stream: StreamName,
    pub(crate) events: Arc<dyn Events>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) requests: Arc<Requests>,
    /// Whether it is closed; held for reading while a delivery goes through.
    pub(crate) closed: RwLock<bool>,
}

#[async_trait]
impl Intake for JournalIntake {
    async fn accept(&self, incoming: Incoming) -> Accepted {
        let closed = self.closed.read().await;
        if *closed {
            return Accepted::Full { retry_after: RETRY_AFTER, reason: "stopping" };
        }
        if let Some(error) = self.events.unavailable() {
            return full(&error);
        }
        let id = incoming.record.id().clone();
        let prepared = match self.prepare.records(incoming.record) {
            Ok(prepared) => prepared,
            Err(fault) => return Accepted::Undecodable(fault),
        };
        let (wanted, rest): (Vec<_>, Vec<_>) =
            prepared.into_iter().partition(|part| incoming.wanted.wants(&part.record));
        if wanted.is_empty() {
            rest.iter().for_each(|_| self.counters.pass(End::Filtered));
            return Accepted::Stored { id, fate: Fate::Filtered };
        }
        let id = if wanted.len() == 1 { wanted[0].record.id().clone() } else { id };
        let waiters = incoming.wait.map(|time| Waiters::enter(&self.requests, time, &wanted));
        fail::fail_point!("crash::received");
        let appended = self.append(wanted).await;
        fail::fail_point!("crash::before_answer");
        drop(closed);
        let appended = match appended {
            Ok(appended) => appended,
            Err(error) => return full(&error),
        };
        rest.iter().for_each(|_| self.counters.pass(End::Filtered));
        if !appended.iter().any(|new| matches!(new, Appended::Stored(_))) {
            self.requests.duplicate();
            return Accepted::Stored { id, fate: Fate::Duplicate };
        }
        let fate = match waiters {
            Some(waiters) => waiters.wait(&appended).await,
            None => Fate::Accepted,
        };
        Accepted::Stored { id, fate }
    }

    fn refused(&self, reason: &'static str) {
        self.requests.refuse(reason);
    }

    fn answered(&self, kind: &'static str) {
        self.requests.answer(kind);
    }

    fn verified(&self, signature: &Signature) {
        self.requests.verify(signature, self.clock.now());
    }

    fn took(&self, time: Duration) {
        self.requests.took(time);
    }

    fn diagnosed(&self, diagnosis: Diagnosis) {
        let (pipeline, source) = (&self.stream.pipeline, &self.stream.source);
        let Diagnosis { message: why, hint, refused, .. } = &diagnosis;
        tracing::warn!(%pipeline, %source, refused, why, hint, "requests are turned away");
        self.requests.diagnose(diagnosis);
    }
}

/// A sender that waits to hear how its records end.
struct Waiters<'r> {
    waiting: &'r Waiting,
    until: Instant,
    each: Vec<(String, oneshot::Receiver<End>)>,
}

impl<'r> Waiters<'r> {
    /// Before the records are stored: they may be faster than this task.
    fn enter(requests: &'r Requests, time: Duration, records: &[Prepared]) -> Self {
        let waiting = requests.waiting();
        let enter = |part: &Prepared| {
            let id = part.record.id().to_string();
            (id.clone(), waiting.enter(id))
        };
        Self { waiting, until: Instant::now() + time, each: records.iter().map(enter).collect() }
    }

    /// The gravest end; those that did not come to one in time are accepted, and go on.
    async fn wait(mut self, appended: &[Appended]) -> Fate {
        let mut gravest = Fate::Filtered;
        for ((_, receiver), new) in self.each.iter_mut().zip(appended) {
            let fate = match new {
                Appended::Stored(_) => match tokio::time::timeout_at(self.until, receiver).await {
                    Ok(Ok(end)) => requests::fate(end),
                    _ => Fate::Accepted,
                },
                Appended::Duplicate => Fate::Duplicate,
            };
            gravest = gravest.max(fate);
        }
        gravest
    }
}

impl Drop for Waiters<'_> {
    fn drop(&mut self) {
        for (id, receiver) in self.each.drain(..) {
            drop(receiver);
            self.waiting.leave(&id);
        }
    }
}

impl JournalIntake {
    /// Lets nothing in any more, and returns once nothing is half-way through: a request may outlive its mount,
    /// and what it brought in after the journal was found empty would stay there.
    pub(crate) async fn close(&self) {
        *self.closed.write().await = true;
        self.requests.waiting().give_up();
    }

    /// Appends prepared records, counts them, and says which were new. Durable when it returns.
    ///
    /// # Errors
    /// What the store says; nothing was written.
    pub(crate) async fn append(&self, prepared: Vec<Prepared>) -> Result<Vec<Appended>, StoreError> {
        let total = prepared.len();
        let entries =
            prepared.into_iter().map(|part| NewEntry { record: part.record, dedup: part.dedup }).collect();
        // Counted before they are there: the reader may be faster than this task.
        self.counters.accept(total);
        match self.events.append(&self.stream, entries).await {
            Ok(appended) => {
                let stored = appended.iter().filter(|new| matches!(new, Appended::Stored(_))).count();
                (stored..total).for_each(|_| self.counters.end(End::Duplicate));
                Ok(appended)
            }
            Err(error) => {
                self.counters.withdraw(total);
                Err(error)
            }
        }
    }
}

fn full(error: &StoreError) -> Accepted {
    if let StoreError::Refused(reason) = error {
        return Accepted::Undecodable(Fault::validation("too_large", reason));
    }
    let reason = match error {
        StoreError::Full(_) => "full",
        _ => "store",
    };
    Accepted::Full { retry_after: RETRY_AFTER, reason }
}
