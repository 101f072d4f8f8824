//! What callers hand to the writer: one bounded queue, one lock, one wake.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use karez_api::{Appended, Mark, Record, SinkName, StoreError, StreamName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::dedup::Hashed;

/// Bytes that may wait for the writer.
const WAITING: usize = 16 << 20;
/// The grain of that bound; every request costs at least one.
const GRAIN: usize = 1 << 10;
/// How long a settlement may wait for company.
const LINGER: Duration = Duration::from_millis(50);
/// How often the writer looks around when nothing is asked of it.
const IDLE: Duration = Duration::from_secs(1);

/// An entry, encoded by its caller but for stream and sequence.
pub(crate) struct Prepared {
    pub(crate) payload: Vec<u8>,
    pub(crate) dedup: Option<Hashed>,
    pub(crate) record: Record,
}

pub(crate) enum Work {
    Append { stream: StreamName, entries: Vec<Prepared> },
    Remember(Vec<Hashed>),
    Delivered { sink: SinkName, ids: Vec<u128>, mark: Option<Mark> },
    Remove(StreamName),
    Adopt { from: Arc<str>, to: Arc<str> },
    Flush,
    Close,
}

pub(crate) type Answer = Result<Vec<Appended>, StoreError>;

pub(crate) struct Request {
    pub(crate) work: Work,
    pub(crate) reply: oneshot::Sender<Answer>,
    _room: OwnedSemaphorePermit,
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
            waiting.requests.push(Request { work, reply, _room: room });
        }
        self.wake.notify_one();
        answer.await.map_err(|_| gone())?
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
    /// buffered, else after a while with nothing.
    pub(crate) fn take(&self) -> (Vec<Request>, Buffered) {
        let mut waiting = self.lock();
        let mut since = None;
        loop {
            if !waiting.requests.is_empty() {
                break;
            }
            let buffered = !waiting.buffered.is_empty();
            let patience = if buffered {
                LINGER.saturating_sub(since.get_or_insert_with(Instant::now).elapsed())
            } else {
                IDLE
            };
            if patience.is_zero() {
                break;
            }
            let (guard, slept) =
                self.wake.wait_timeout(waiting, patience).unwrap_or_else(PoisonError::into_inner);
            waiting = guard;
            if slept.timed_out() && waiting.requests.is_empty() && (buffered || waiting.buffered.is_empty()) {
                break;
            }
        }
        (std::mem::take(&mut waiting.requests), std::mem::take(&mut waiting.buffered))
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
