//! The log without keyed state. For tests, fuzzing and benches of the log: opening sled takes longer than all of them do.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use karez_api::{Events, StoreError};

use crate::events::Log;
use crate::folder::{self, Paths, refused};
use crate::queue::Work;
use crate::recovery;
use crate::shared::Shared;
use crate::store::{Options, start_log};
use crate::usage::Usage;

/// An open log in a folder of its own. The folder is no whole store: [`crate::Store::open`] refuses it.
pub struct LogAlone {
    pub(crate) shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl LogAlone {
    /// Opens the log in `folder`, which is made where it is missing. Blocks while it is read.
    ///
    /// # Errors
    /// As [`crate::Store::open`].
    pub fn open(folder: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let paths = Paths::new(folder.as_ref());
        let made = |path: &Path| {
            fs::create_dir_all(path).map_err(|error| refused(path, format_args!("cannot be made: {error}")))
        };
        made(&paths.root)?;
        let lock = folder::lock(&paths)?;
        let mut identity = folder::identify(&paths)?;
        made(&paths.log)?;
        made(&paths.dedup)?;
        let recovered = recovery::recover(&paths, &identity, options.dedup_memory)?;
        if !identity.ready {
            folder::mark_ready(&paths, &mut identity)?;
        }
        let (shared, thread) = start_log(options, paths, identity, recovered, lock)?;
        Ok(Self { shared, thread })
    }

    /// Journal, dedup keys, sink ledger.
    #[must_use]
    pub fn events(&self) -> Arc<dyn Events> {
        Arc::new(Log(Arc::clone(&self.shared)))
    }

    /// What the log takes and has done.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage::of(&self.shared)
    }

    /// Makes everything durable, ends the thread and gives the lock back.
    ///
    /// # Errors
    /// [`StoreError::Failed`] where the last writes did not reach the disk.
    pub async fn close(self) -> Result<(), StoreError> {
        let closed = self.shared.queue.ask(Work::Close, 0).await.map(drop);
        self.shared.queue.close();
        let ended = self.thread.join().map_err(|_| StoreError::Failed("the log's thread panicked".into()));
        closed.and(ended)
    }
}
