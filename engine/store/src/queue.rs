//! What callers hand to the writer: one bounded queue, one lock, one wake.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use karez_api::{Appended, Mark, Record, SinkName, StoreError, StreamName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::dedup::Hashed;

/// Bytes that may wait for the writer.
const WAITING: usize = 16 << 20;
/// The grain of that bound; every request costs at least one.
const GRAIN: usize = 1 << 10;
/// A group of this many requests means load; the next one waits a moment for company.
const CROWD: usize = 8;
const COMPANY: Duration = Duration::from_micros(200);
/// How long a settlement may wait for company; tests of power cuts want it on its way.
const LINGER: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_millis(50) };

/// Entries, encoded by their caller but for stream and sequence.
#[derive(Default)]
pub(crate) struct Batch {
    /// All of them, one behind the other.
    pub(crate) bytes: Vec<u8>,
    pub(crate) entries: Vec<Prepared>,
}

pub(crate) struct Prepared {
    /// Where it stands in the batch's bytes.
    pub(crate) range: Range<usize>,
    pub(crate) dedup: Option<Hashed>,
    pub(crate) record: Record,
}

pub(crate) enum Work {
    Append { stream: StreamName, batch: Batch },
    Remember(Vec<Hashed>),
    Delivered { sink: SinkName, ids: Vec<u128>, mark: Option<Mark> },
    Remove(Arc<str>),
    Adopt { from: Arc<str>, to: Arc<str> },
    Flush,
    Close,
}

impl Work {
    /// Whether it changes what names mean, so that nothing may share a group with it.
    pub(crate) fn is_structural(&self) -> bool {
        matches!(self, Self::Remove(_) | Self::Adopt { .. } | Self::Close)
    }
}

pub(crate) type Answer = Result<Vec<Appended>, StoreError>;

pub(crate) struct Request {
    pub(crate) work: Work,
    pub(crate) reply: oneshot::Sender<Answer>,
    _room: Option<OwnedSemaphorePermit>,
}

/// What needs no answer and no sync of its own.
#[derive(Debug, Default)]
pub(crate) struct Buffered {
    pub(crate) settled: HashMap<u64, Vec<u64>>,
    pub(crate) forgotten: HashMap<u64, Vec<u128>>,
    pub(crate) progress: Option<u64>,
}

impl Buffered {
    pub(crate) fn is_empty(&self) -> bool {
        self.settled.is_empty() && self.forgotten.is_empty() && self.progress.is_none()
    }

    /// Puts back what could not be written, in front of what came since.
    pub(crate) fn restore(&mut self, earlier: Self) {
        for (stream, sequences) in earlier.settled {
            self.settled.entry(stream).or_default().extend(sequences);
        }
        for (sink, ids) in earlier.forgotten {
            self.forgotten.entry(sink).or_default().extend(ids);
        }
        self.progress = self.progress.max(earlier.progress);
    }
}

#[derive(Default)]
struct Waiting {
    requests: Vec<Request>,
    buffered: Buffered,
    /// How many requests the writer took last.
    last_group: usize,
    closed: bool,
}

pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    room: Arc<Semaphore>,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            room: Arc::new(Semaphore::new(WAITING / GRAIN)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands work of about `bytes` to the writer and waits for its answer.
    pub(crate) async fn ask(&self, work: Work, bytes: usize) -> Answer {
        let gone = || StoreError::Failed("the store is closed".into());
        let grains = (1 + bytes / GRAIN).min(WAITING / GRAIN);
        let grains = u32::try_from(grains).unwrap_or(1);
        let room = Arc::clone(&self.room).acquire_many_owned(grains).await.map_err(|_| gone())?;
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.lock();
            if waiting.closed {
                return Err(gone());
            }
            waiting.requests.push(Request { work, reply, _room: Some(room) });
            // A writer that is busy or waits for company looks by itself.
            if waiting.requests.len() == 1 {
                self.wake.notify_one();
            }
        }
        answer.await.map_err(|_| gone())?
    }

    /// Has the writer write what waits and end, without waiting for it.
    pub(crate) fn end(&self) {
        let (reply, _) = oneshot::channel();
        self.lock().requests.push(Request { work: Work::Close, reply, _room: None });
        self.wake.notify_one();
    }

    /// Adds to what is written soon.
    pub(crate) fn buffer(&self, add: impl FnOnce(&mut Buffered)) {
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        let first = waiting.buffered.is_empty();
        add(&mut waiting.buffered);
        drop(waiting);
        if first {
            self.wake.notify_one();
        }
    }

    /// Everything that waits. Returns at once where somebody waits for an answer, soon where something is
    /// buffered; sleeps until then.
    pub(crate) fn take(&self) -> (Vec<Request>, Buffered) {
        let mut waiting = self.lock();
        let mut since = None;
        while waiting.requests.is_empty() {
            if waiting.buffered.is_empty() {
                waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let patience = LINGER.saturating_sub(since.get_or_insert_with(Instant::now).elapsed());
            if patience.is_zero() {
                break;
            }
            let woken = self.wake.wait_timeout(waiting, patience).unwrap_or_else(PoisonError::into_inner);
            waiting = woken.0;
        }
        if waiting.last_group >= CROWD {
            // Under load the next ones are close behind: a sync for twice as many costs half as much each.
            drop(waiting);
            std::thread::sleep(COMPANY);
            waiting = self.lock();
        }
        waiting.last_group = waiting.requests.len();
        (std::mem::take(&mut waiting.requests), std::mem::take(&mut waiting.buffered))
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let waiting = self.lock();
        waiting.requests.is_empty() && waiting.buffered.is_empty()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Takes nothing more; what waits learns that the store is closed.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.requests.clear();
        drop(waiting);
        self.room.close();
    }
}
