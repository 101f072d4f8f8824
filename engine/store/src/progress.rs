//! Keyed state in sled. sled's own `flush` promises nothing after a power cut, so one thread of ours flushes
//! synchronously and then syncs sled's file, once for all writes that wait.

mod value;

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use karez_api::{Expect, Progress, StoreError, Stored, Write};
use tokio::sync::{mpsc, oneshot};

use crate::folder::{FORMAT, Identity, newer, refused, sync_folder};
use crate::shared::Shared;

/// sled's page cache.
const CACHE: u64 = 16 << 20;
/// Requests that may wait for the thread.
const WAITING: usize = 1024;
/// Keys of callers stand behind this byte, our own before it.
const CALLERS: u8 = b'k';
const IDENTITY: &[u8] = b"\0store";
const HEAD: &[u8] = b"\0head";

type Reply = oneshot::Sender<Result<(), StoreError>>;

enum Work {
    Write(Vec<Write>, Reply),
    Close(Reply),
}

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

/// Opens sled in `path`; damage in it can panic there, which becomes a refusal here.
///
/// # Errors
/// `Refused`: damaged, of another store, newer, or missing although the store was in use.
pub(crate) fn open(path: &Path, identity: &Identity) -> Result<sled::Db, StoreError> {
    if identity.ready && !path.join("db").exists() {
        return Err(refused(
            path,
            "progress is missing, although the store was in use; restore it from a backup",
        ));
    }
    let config = sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(None);
    let opened = open_patiently(&config);
    let tree = match opened {
        Ok(Ok(tree)) => tree,
        Ok(Err(error)) => return Err(damaged(path, &error)),
        Err(_) => return Err(damaged(path, &"sled cannot read it")),
    };
    let said = tree.get(IDENTITY).map_err(|error| damaged(path, &error))?;
    let ours = format!("{FORMAT} {}", identity.id);
    match said {
        Some(said) => check_identity(path, &said, identity)?,
        None if identity.ready => {
            return Err(damaged(path, &"it does not say which store it belongs to"));
        }
        None => drop(tree.insert(IDENTITY, ours.as_bytes()).map_err(|error| damaged(path, &error))?),
    }
    tree.flush().map_err(|error| damaged(path, &error))?;
    sync_all(path).map_err(|error| refused(path, format_args!("cannot be synced: {error}")))?;
    Ok(tree)
}

/// sled's own threads may hold a database for a moment after it was closed; the folder's lock is ours by now.
fn open_patiently(config: &sled::Config) -> std::thread::Result<sled::Result<sled::Db>> {
    let mut patience = 200;
    loop {
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        let held = matches!(&opened, Ok(Err(sled::Error::Io(error))) if error.to_string().contains("lock"));
        if !held || patience == 0 {
            return opened;
        }
        patience -= 1;
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn damaged(path: &Path, what: &dyn std::fmt::Display) -> StoreError {
    refused(
        path,
        format_args!(
            "progress is damaged: {what}; see `karez store verify`, restore the folder from a backup, or move the store away to begin anew"
        ),
    )
}

fn check_identity(path: &Path, said: &[u8], identity: &Identity) -> Result<(), StoreError> {
    let said = String::from_utf8_lossy(said);
    let (format, id) = said.split_once(' ').unwrap_or_default();
    match format.parse::<u32>() {
        Ok(format) if format > FORMAT => Err(newer(path, format)),
        Ok(_) if id == identity.id => Ok(()),
        _ => Err(refused(
            path,
            format_args!(
                "progress belongs to store {id}, not to {}; restore the folder as a whole",
                identity.id
            ),
        )),
    }
}

fn sync_all(folder: &Path) -> io::Result<()> {
    for item in fs::read_dir(folder)? {
        let item = item?;
        if item.file_type()?.is_dir() {
            sync_all(&item.path())?;
        } else {
            File::open(item.path())?.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// How many writes progress has seen.
pub(crate) fn head(tree: &sled::Db) -> u64 {
    let head = tree.get(HEAD).ok().flatten();
    head.and_then(|head| Some(u64::from_le_bytes(head.as_ref().try_into().ok()?))).unwrap_or_default()
}

/// Every value of callers, or why it cannot be read.
pub(crate) fn each(tree: &sled::Db) -> impl Iterator<Item = Result<(String, Stored), String>> {
    tree.range([CALLERS]..[CALLERS + 1]).map(|item| {
        let (key, bytes) = item.map_err(|error| error.to_string())?;
        let name = String::from_utf8_lossy(&key[1..]).into_owned();
        match value::decode(&key, &bytes) {
            Some(stored) => Ok((name, stored)),
            None => Err(name),
        }
    })
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

/// The thread that owns all writes.
struct Keeper {
    tree: sled::Db,
    file: File,
    blobs: PathBuf,
    head: u64,
    shared: Arc<Shared>,
    failed: Arc<OnceLock<String>>,
}

impl Keeper {
    fn run(mut self, mut waiting: mpsc::Receiver<Work>) {
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
