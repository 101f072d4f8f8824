//! The thread that owns all writes. sled's own `flush` promises nothing after a power cut, so this one flushes
//! synchronously and then syncs sled's file, once for all writes that wait.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use karez_api::{Expect, StoreError, Write};
use tokio::sync::{mpsc, oneshot};

use super::open::HEAD;
use super::{WAITING, key_of, value};
use crate::folder::sync_folder;
use crate::shared::Shared;

pub(super) type Reply = oneshot::Sender<Result<(), StoreError>>;

pub(super) enum Work {
    Write(Vec<Write>, Reply),
    Close(Reply),
}

pub(super) struct Keeper {
    pub(super) tree: sled::Db,
    pub(super) file: File,
    pub(super) blobs: PathBuf,
    pub(super) head: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) failed: Arc<OnceLock<String>>,
}

impl Keeper {
    pub(super) fn run(mut self, mut waiting: mpsc::Receiver<Work>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut all = vec![first];
            while all.len() < WAITING
                && let Ok(next) = waiting.try_recv()
            {
                all.push(next);
            }
            // sled panics on some damage; whoever waits must still be told.
            let served = catch_unwind(AssertUnwindSafe(|| self.serve(all)));
            match served {
                Ok(End::GoOn) => {}
                Ok(End::Close) => return,
                Err(_) => drop(self.fail(&"sled panicked")),
            }
        }
    }

    fn fail(&self, why: &dyn std::fmt::Display) -> StoreError {
        let why = self.failed.get_or_init(|| format!("writing progress failed: {why}; restart karez"));
        self.shared.fail(why.clone())
    }

    /// Applies each request or none of it, then makes all of them durable at once.
    fn serve(&mut self, all: Vec<Work>) -> End {
        let mut end = End::GoOn;
        let mut replies = Vec::with_capacity(all.len());
        let before = self.head;
        for work in all {
            match work {
                Work::Write(writes, reply) => replies.push((reply, self.apply(&writes))),
                Work::Close(reply) => {
                    end = End::Close;
                    replies.push((reply, Ok(())));
                }
            }
        }
        let synced = if self.head == before { Ok(()) } else { self.sync() };
        for (reply, applied) in replies {
            drop(reply.send(applied.and_then(|()| synced.clone())));
        }
        end
    }

    fn apply(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if let Some(failure) = self.failed.get() {
            return Err(StoreError::Failed(failure.clone()));
        }
        // One part that failed stops the other: positions must not run ahead of a journal that is gone.
        if let Some(failure) = self.shared.failure() {
            return Err(failure);
        }
        let bytes = writes.iter().map(|write| write.key.len() + write.value.as_ref().map_or(0, |v| v.len()));
        if let Some(full) = self.shared.no_space_for(bytes.sum::<usize>() as u64) {
            return Err(full);
        }
        let mut batch = sled::Batch::default();
        for write in writes {
            let key = key_of(&write.key);
            let found = self.tree.get(&key).map_err(|error| self.fail(&error))?;
            let generation = found.as_ref().and_then(|bytes| Some(value::decode(&key, bytes)?.generation));
            let met = match write.expect {
                Expect::Anything => true,
                Expect::Absent => found.is_none(),
                Expect::Generation(wanted) => generation == Some(wanted),
            };
            if !met {
                return Err(StoreError::Conflict { key: write.key.clone() });
            }
            match &write.value {
                Some(bytes) => {
                    let bytes = value::encode(&key, generation.unwrap_or_default() + 1, bytes);
                    batch.insert(key, bytes);
                }
                None => batch.remove(key),
            }
        }
        self.head += 1;
        batch.insert(HEAD, &self.head.to_le_bytes());
        self.tree.apply_batch(batch).map_err(|error| self.fail(&error))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.sync_files().map_err(|error| self.fail(&error))?;
        // Only what is on disk may be told to the log: it is what progress is held against at the next start.
        self.shared.queue.buffer(|waiting| waiting.progress = Some(self.head));
        Ok(())
    }

    fn sync_files(&self) -> io::Result<()> {
        fail::fail_point!("progress::before_flush", |_| Err(io::Error::other("failpoint")));
        self.tree.flush().map_err(io::Error::other)?;
        self.file.sync_data()?;
        fail::fail_point!("crash::progress_synced");
        // Large values lie in files of their own; sled names them once and never changes them.
        match fs::read_dir(&self.blobs) {
            Ok(items) => self.sync_blobs(items),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn sync_blobs(&self, items: fs::ReadDir) -> io::Result<()> {
        let mut any = false;
        for item in items {
            // One that sled has just removed needs no sync.
            if let Ok(file) = File::open(item?.path()) {
                file.sync_data()?;
                any = true;
            }
        }
        if any { sync_folder(&self.blobs) } else { Ok(()) }
    }
}

enum End {
    GoOn,
    Close,
}
