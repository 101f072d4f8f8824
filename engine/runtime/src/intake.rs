//! The way into the journal: for push sources one delivery at a time, for pulled sources that
//! cannot replay (or ask for it) batch by batch.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use karez_api::{Accepted, Appended, Events, Fault, Incoming, Intake, NewEntry, StoreError, StreamName};
use tokio::sync::RwLock;

use crate::counters::{Counters, End};
use crate::prepare::{Prepare, Prepared};

/// What a sender is told to wait when there is no room.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The journal's door of one source.
pub(crate) struct JournalIntake {
    pub(crate) prepare: Arc<Prepare>,
    pub(crate) stream: StreamName,
    pub(crate) events: Arc<dyn Events>,
    pub(crate) counters: Arc<Counters>,
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
            return Accepted::Stored { id, duplicate: false, filtered: true };
        }
        let id = if wanted.len() == 1 { wanted[0].record.id().clone() } else { id };
        fail::fail_point!("crash::received");
        let appended = self.append(wanted).await;
        fail::fail_point!("crash::before_answer");
        match appended {
            Ok(stored) => {
                rest.iter().for_each(|_| self.counters.pass(End::Filtered));
                Accepted::Stored { id, duplicate: stored == 0, filtered: false }
            }
            Err(error) => full(&error),
        }
    }

    fn refused(&self, reason: &'static str) {
        self.counters.refuse(reason);
    }

    fn answered(&self, kind: &'static str) {
        self.counters.answer(kind);
    }
}

impl JournalIntake {
    /// Lets nothing in any more, and returns once nothing is half-way through: a request may outlive its mount,
    /// and what it brought in after the journal was found empty would stay there.
    pub(crate) async fn close(&self) {
        *self.closed.write().await = true;
    }

    /// Appends prepared records, counts them, and says how many were new. Durable when it returns.
    ///
    /// # Errors
    /// What the store says; nothing was written.
    pub(crate) async fn append(&self, prepared: Vec<Prepared>) -> Result<usize, StoreError> {
        let total = prepared.len();
        let entries =
            prepared.into_iter().map(|part| NewEntry { record: part.record, dedup: part.dedup }).collect();
        // Counted before they are there: the reader may be faster than this task.
        self.counters.accept(total);
        match self.events.append(&self.stream, entries).await {
            Ok(appended) => {
                let stored = appended.iter().filter(|new| matches!(new, Appended::Stored(_))).count();
                (stored..total).for_each(|_| self.counters.end(End::Duplicate));
                Ok(stored)
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
