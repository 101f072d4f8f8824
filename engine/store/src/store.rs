//! Opens and closes a store's folder.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use karez_api::{Events, Progress, StoreError, StreamName};

use crate::events::Log;
use crate::folder::{self, Identity, Lock, Paths, refused};
use crate::progress::{self, Keyed};
use crate::queue::Work;
use crate::recovery::{self, Recovered};
use crate::shared::Shared;
use crate::usage::Usage;
use crate::writer::Writer;

/// Bounds of a store, in bytes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Unsettled entries of one stream; beyond it an append is answered `Full`.
    pub max_bytes: u64,
    /// Free space of the disk below which no journal entry is taken.
    pub disk_floor: u64,
    /// When a segment of the log is full.
    pub segment_bytes: u64,
    /// Recent records kept in memory for one stream; four times as much for all.
    pub cache_bytes: usize,
    /// Dedup keys kept in memory, at 29 bytes each; beyond it they are looked up on disk, behind a filter of one
    /// byte each.
    pub dedup_memory: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            disk_floor: 32 << 20,
            segment_bytes: 16 << 20,
            cache_bytes: 8 << 20,
            dedup_memory: 64 << 20,
        }
    }
}

/// An open store. It holds the folder's lock until it is closed. Dropping it ends it soon after what waits was
/// written, but nobody learns whether that worked.
pub struct Store {
    shared: Arc<Shared>,
    progress: Arc<Keyed>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// Opens the store in `folder`, which is made where it is missing. Blocks while the log is read.
    ///
    /// # Errors
    /// [`StoreError::Refused`], naming the file and what to do: in use, damaged, incomplete, newer, of another store.
    pub fn open(folder: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let paths = Paths::new(folder.as_ref());
        fs::create_dir_all(&paths.root)
            .map_err(|error| refused(&paths.root, format_args!("cannot be made: {error}")))?;
        let lock = folder::lock(&paths)?;
        let mut identity = folder::identify(&paths)?;
        prepare(&paths, &identity)?;
        let tree = progress::open(&paths.progress, &identity)?;
        let recovered = recovery::recover(&paths, &identity, options.dedup_memory)?;
        warn_if_behind(progress::head(&tree), recovered.progress);
        if !identity.ready {
            folder::mark_ready(&paths, &mut identity)?;
        }
        let (shared, log) = start_log(options, paths, identity, recovered, lock)?;
        let (progress, keeper) = Keyed::start(tree, Arc::clone(&shared))?;
        Ok(Self { shared, progress: Arc::new(progress), threads: Mutex::new(vec![log, keeper]) })
    }

    /// Keyed state: checkpoints, cursors, tokens, dead letters.
    #[must_use]
    pub fn progress(&self) -> Arc<dyn Progress> {
        Arc::clone(&self.progress) as Arc<dyn Progress>
    }

    /// By what this store is known: a vault binds its secrets to it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.identity.id
    }

    /// Journal, dedup keys, sink ledger.
    #[must_use]
    pub fn events(&self) -> Arc<dyn Events> {
        Arc::new(Log(Arc::clone(&self.shared)))
    }

    /// Bounds the unsettled entries of one stream, in bytes, from now on.
    pub fn set_limit(&self, stream: &StreamName, max_bytes: u64) {
        let id = self.shared.names_mut().add_stream(stream);
        self.shared.index().limits.insert(id, max_bytes);
    }

    /// What the store takes and has done. Cheap enough to be asked every second.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage::of(&self.shared)
    }

    /// Makes everything durable, ends the threads and gives the lock back. Later calls answer `Failed`.
    ///
    /// # Errors
    /// [`StoreError::Failed`] where the last writes did not reach the disk.
    pub async fn close(&self) -> Result<(), StoreError> {
        let progress = self.progress.close().await;
        let log = self.shared.queue.ask(Work::Close, 0).await.map(drop);
        self.shared.queue.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
        let joined = tokio::task::spawn_blocking(join).await;
        self.progress.release();
        joined.map_err(|error| StoreError::Failed(error.to_string()))?;
        progress.and(log)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Without effect after `close`. Nothing is waited for: the threads end by themselves.
        self.progress.end();
        self.shared.queue.end();
    }
}

fn prepare(paths: &Paths, identity: &Identity) -> Result<(), StoreError> {
    for folder in [&paths.log, &paths.dedup, &paths.progress] {
        if identity.ready {
            if !folder.is_dir() {
                return Err(refused(
                    folder,
                    "is missing, although the store was in use; restore it from a backup",
                ));
            }
            continue;
        }
        fs::create_dir_all(folder)
            .and_then(|()| folder::sync_folder(&paths.root))
            .map_err(|error| refused(folder, format_args!("cannot be made: {error}")))?;
    }
    Ok(())
}

fn warn_if_behind(progress: u64, log: u64) {
    if progress < log {
        tracing::warn!(progress, log, "progress is behind the log, so records since then may come again");
    }
}

/// Starts the log's thread. It holds the folder's lock until nothing writes any more, whatever becomes of the store.
pub(crate) fn start_log(
    options: Options,
    paths: Paths,
    identity: Identity,
    recovered: Recovered,
    lock: Lock,
) -> Result<(Arc<Shared>, JoinHandle<()>), StoreError> {
    let Recovered { held, tape, slices, progress } = recovered;
    let shared = Arc::new(Shared::new(options, paths, identity, held));
    drop(shared.look_at_disk());
    let writer = Writer::new(Arc::clone(&shared), tape, slices, progress);
    let at_end = Arc::clone(&shared);
    let run = move || {
        // Callers wait for answers: a writer that dies must not leave them waiting.
        if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
            at_end.fail("the writer of the log ended unexpectedly; restart karez".into());
        }
        at_end.queue.close();
        at_end.wake_readers();
        drop(lock);
    };
    let thread = std::thread::Builder::new()
        .name("karez-log".into())
        .spawn(run)
        .map_err(|error| StoreError::Failed(format!("the log's thread cannot be started: {error}")))?;
    Ok((shared, thread))
}
