//! Keyed state in sled, behind a thread of our own: what callers hold.

mod keeper;
mod open;
mod value;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use async_trait::async_trait;
use karez_api::{Progress, StoreError, Stored, Write};
use tokio::sync::{mpsc, oneshot};

use crate::shared::Shared;
use keeper::{Keeper, Reply, Work};
use open::{CALLERS, damaged};
pub(crate) use open::{each, head, open};

/// Requests that may wait for the thread.
const WAITING: usize = 1024;

/// The front that callers hold.
pub(crate) struct Keyed {
    /// Absent once it was released.
    tree: RwLock<Option<sled::Db>>,
    path: PathBuf,
    failed: Arc<OnceLock<String>>,
    requests: mpsc::Sender<Work>,
}

fn key_of(key: &str) -> Vec<u8> {
    [&[CALLERS], key.as_bytes()].concat()
}

impl Keyed {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// `Failed` where the system has no thread or file to give.
    pub(crate) fn start(
        tree: sled::Db,
        shared: Arc<Shared>,
    ) -> Result<(Self, std::thread::JoinHandle<()>), StoreError> {
        let path = shared.paths.progress.clone();
        let failed = Arc::new(OnceLock::new());
        let (requests, waiting) = mpsc::channel(WAITING);
        let cannot = |error: io::Error| StoreError::Failed(format!("progress cannot be started: {error}"));
        let file = File::open(path.join("db")).map_err(cannot)?;
        let head = head(&tree);
        let failure = Arc::clone(&failed);
        let keeper =
            Keeper { tree: tree.clone(), file, blobs: path.join("blobs"), head, shared, failed: failure };
        let thread = std::thread::Builder::new()
            .name("karez-progress".into())
            .spawn(move || keeper.run(waiting))
            .map_err(cannot)?;
        Ok((Self { tree: RwLock::new(Some(tree)), path, failed, requests }, thread))
    }

    /// Writes what waits and ends the thread.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        self.ask(Work::Close).await
    }

    /// Has the thread write what waits and end, without waiting for it. Where too much waits, it ends once nobody
    /// can ask any more.
    pub(crate) fn end(&self) {
        let (reply, _) = oneshot::channel();
        drop(self.requests.try_send(Work::Close(reply)));
    }

    /// Lets go of sled, which gives its own lock back with its last holder.
    pub(crate) fn release(&self) {
        drop(self.tree.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    async fn ask(&self, work: impl FnOnce(Reply) -> Work) -> Result<(), StoreError> {
        let gone = || {
            let why = self.failed.get().map_or("the store is closed", String::as_str);
            StoreError::Failed(why.into())
        };
        let (reply, answer) = oneshot::channel();
        self.requests.send(work(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&sled::Db) -> sled::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner).clone();
        let tree = tree.ok_or_else(|| StoreError::Failed("the store is closed".into()))?;
        let read = tokio::task::spawn_blocking(move || read(&tree)).await;
        match read {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(damaged(&self.path, &error)),
            Err(error) => Err(damaged(&self.path, &error)),
        }
    }

    fn decode(&self, key: &[u8], bytes: &[u8]) -> Result<Stored, StoreError> {
        value::decode(key, bytes).ok_or_else(|| {
            let name = String::from_utf8_lossy(key.get(1..).unwrap_or_default());
            damaged(&self.path, &format_args!("the value of {name:?} does not fit its checksum"))
        })
    }
}

#[async_trait]
impl Progress for Keyed {
    async fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        let key = key_of(key);
        let wanted = key.clone();
        let found = self.blocking(move |tree| tree.get(wanted)).await?;
        found.map(|bytes| self.decode(&key, &bytes)).transpose()
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.ask(|reply| Work::Write(writes, reply)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Stored)>, StoreError> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let prefix = key_of(prefix);
        let start = match after.map(key_of) {
            Some(after) if after >= prefix => Excluded(after),
            _ => Included(prefix.clone()),
        };
        let page = move |tree: &sled::Db| {
            let range = tree.range::<Vec<u8>, _>((start, Unbounded));
            let ours = |item: &sled::Result<(sled::IVec, _)>| {
                item.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix))
            };
            range.take_while(ours).take(limit).collect::<sled::Result<Vec<_>>>()
        };
        let found = self.blocking(page).await?;
        let named = |(key, bytes): (sled::IVec, sled::IVec)| {
            let stored = self.decode(&key, &bytes)?;
            Ok((String::from_utf8_lossy(&key[1..]).into_owned(), stored))
        };
        found.into_iter().map(named).collect()
    }
}
