//! The store as the daemon's parts hold it: its two halves, and what it takes.

use std::sync::Arc;

use karez_api::{Events, Progress, StoreError, StreamName, StreamStats};
use karez_runtime::{DeadLetters, Forgotten};
use karez_store::{Store, Usage};

/// An open store, shared.
#[derive(Clone)]
pub(crate) struct Memory {
    store: Arc<Store>,
    progress: Arc<dyn Progress>,
    events: Arc<dyn Events>,
}

impl Memory {
    pub(crate) fn new(store: Store) -> Self {
        let (progress, events) = (store.progress(), store.events());
        Self { store: Arc::new(store), progress, events }
    }

    pub(crate) fn progress(&self) -> &Arc<dyn Progress> {
        &self.progress
    }
    pub(crate) fn events(&self) -> &Arc<dyn Events> {
        &self.events
    }
    pub(crate) fn usage(&self) -> Usage {
        self.store.usage()
    }

    /// Bounds what the journal of one source may hold unsettled, in bytes.
    pub(crate) fn limit(&self, stream: &StreamName, max_bytes: u64) {
        self.store.set_limit(stream, max_bytes);
    }

    /// Journals with unsettled entries.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = (StreamName, StreamStats)> {
        let streams = self.events.streams().into_iter();
        let stats = streams.map(|stream| (self.events.stats(&stream), stream));
        stats.filter(|(stats, _)| stats.unsettled > 0).map(|(stats, stream)| (stream, stats))
    }

    /// Removes everything that is kept under a pipeline's name.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(crate) async fn forget(
        &self,
        pipeline: &str,
        letters: &DeadLetters,
    ) -> Result<Forgotten, StoreError> {
        let forgotten = karez_runtime::forget(pipeline, &*self.progress, &*self.events, letters).await?;
        self.events.flush().await?;
        Ok(forgotten)
    }

    /// See [`Store::close`].
    ///
    /// # Errors
    /// The last writes did not reach the disk.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}
