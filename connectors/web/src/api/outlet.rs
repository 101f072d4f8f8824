//! The way out: batches go to the engine, and what it makes of them comes back. A page is handed over only when the
//! one before it in its lane is delivered and its position saved, so that a crash repeats at most one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use karez_api::{Ack, Batch, Fault, Lane, NoAck, Position, Positions, Record, Settled, Verdict};
use tokio::sync::{Notify, mpsc};

/// A batch is a window's worth at most.
const LARGEST_BATCH: usize = 1_024;
const LARGEST_BATCH_BYTES: usize = 1 << 20;

/// Where batches go.
#[derive(Clone)]
pub(super) struct Outlet {
    sender: mpsc::Sender<Result<Batch, Fault>>,
}

/// The engine wants no more.
#[derive(Debug)]
pub(super) struct Closed;

/// A page on its way.
pub(super) struct Handed(Arc<Page>);

#[derive(Default)]
struct Page {
    open: AtomicUsize,
    returned: AtomicBool,
    settled: Notify,
}

impl Outlet {
    pub(super) fn new(sender: mpsc::Sender<Result<Batch, Fault>>) -> Self {
        Self { sender }
    }

    /// Hands over a page's records. Its position is saved once all of them are settled.
    ///
    /// # Errors
    /// Nobody takes them.
    pub(super) async fn page(
        &self,
        lane: &Lane,
        records: Vec<Record>,
        position: Position,
    ) -> Result<Handed, Closed> {
        let page = Arc::new(Page::default());
        page.open.store(records.len(), Ordering::SeqCst);
        let mut batches = cut(records);
        let last = batches.pop().unwrap_or_default();
        for records in batches {
            self.send(lane, records, Positions::Later, &page).await?;
        }
        if !last.is_empty() {
            self.send(lane, last, Positions::Now(position), &page).await?;
        }
        Ok(Handed(page))
    }

    /// A part of a page whose end has not come.
    ///
    /// # Errors
    /// As [`Outlet::page`].
    pub(super) async fn part(&self, lane: &Lane, records: Vec<Record>) -> Result<Handed, Closed> {
        let page = Arc::new(Page::default());
        page.open.store(records.len(), Ordering::SeqCst);
        for records in cut(records).into_iter().filter(|records| !records.is_empty()) {
            self.send(lane, records, Positions::Later, &page).await?;
        }
        Ok(Handed(page))
    }

    /// Saves a position by itself, at once: nothing of its lane may be on its way.
    ///
    /// # Errors
    /// As [`Outlet::page`].
    pub(super) async fn save(&self, lane: &Lane, position: Position) -> Result<(), Closed> {
        self.bare(lane, Positions::Now(position)).await
    }

    /// Takes a lane's position away.
    ///
    /// # Errors
    /// As [`Outlet::page`].
    pub(super) async fn forget(&self, lane: &Lane) -> Result<(), Closed> {
        self.bare(lane, Positions::Gone).await
    }

    async fn bare(&self, lane: &Lane, positions: Positions) -> Result<(), Closed> {
        let batch = Batch { lane: lane.clone(), records: Vec::new(), positions, ack: Box::new(NoAck) };
        self.sender.send(Ok(batch)).await.map_err(|_| Closed)
    }

    async fn send(
        &self,
        lane: &Lane,
        records: Vec<Record>,
        positions: Positions,
        page: &Arc<Page>,
    ) -> Result<(), Closed> {
        let ack = Box::new(PageAck(Arc::clone(page)));
        let batch = Batch { lane: lane.clone(), records, positions, ack };
        self.sender.send(Ok(batch)).await.map_err(|_| Closed)
    }

    pub(super) async fn fail(&self, fault: Fault) {
        // A source that is being closed needs no reasons.
        self.sender.send(Err(fault)).await.ok();
    }
}

impl Handed {
    /// Until all of it is settled and saved.
    ///
    /// # Errors
    /// Some of it came back.
    pub(super) async fn settled(self) -> Result<(), Closed> {
        loop {
            let woken = self.0.settled.notified();
            if self.0.returned.load(Ordering::SeqCst) {
                return Err(Closed);
            }
            if self.0.open.load(Ordering::SeqCst) == 0 {
                return Ok(());
            }
            woken.await;
        }
    }
}

struct PageAck(Arc<Page>);

#[async_trait]
impl Ack for PageAck {
    async fn settle(&mut self, part: &[(u32, Verdict)]) -> Result<Settled, Fault> {
        if part.iter().any(|(_, verdict)| matches!(verdict, Verdict::Returned)) {
            self.0.returned.store(true, Ordering::SeqCst);
        }
        self.0.open.fetch_sub(part.len(), Ordering::SeqCst);
        // One waits at most; it looks again when it is woken.
        self.0.settled.notify_one();
        Ok(Settled::Done)
    }
}

fn cut(records: Vec<Record>) -> Vec<Vec<Record>> {
    let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
    for record in records {
        let length = record.body().length();
        if !batch.is_empty() && (batch.len() == LARGEST_BATCH || bytes + length > LARGEST_BATCH_BYTES) {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += length;
        batch.push(record);
    }
    batches.push(batch);
    batches
}
