//! The store as the daemon's parts hold it: its two halves, the vault in it, and what it takes.

use std::sync::Arc;

use karez_api::{Events, Progress, StoreError, StreamName, StreamStats};
use karez_runtime::{DeadLetters, Forgotten, SystemClock};
use karez_store::{EncryptedVault, Keys, Store, Usage};

/// An open store, shared.
#[derive(Clone)]
pub(crate) struct Memory {
    store: Arc<Store>,
    progress: Arc<dyn Progress>,
    events: Arc<dyn Events>,
    vault: Arc<EncryptedVault>,
}

impl Memory {
    /// Without `keys`, of the vault only names can be read.
    pub(crate) fn new(store: Store, keys: Keys) -> Self {
        let (progress, events) = (store.progress(), store.events());
        let vault = EncryptedVault::new(store.progress(), store.id(), Arc::new(SystemClock), keys);
        Self { store: Arc::new(store), progress, events, vault: Arc::new(vault) }
    }

    pub(crate) fn progress(&self) -> &Arc<dyn Progress> {
        &self.progress
    }
    pub(crate) fn events(&self) -> &Arc<dyn Events> {
        &self.events
    }
    /// Secrets and what connections keep; an `Arc<dyn Vault>` for whoever needs no more.
    pub(crate) fn vault(&self) -> &Arc<EncryptedVault> {
        &self.vault
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
