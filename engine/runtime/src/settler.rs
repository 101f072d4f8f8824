//! Tells one source what became of its records, in this order: dedup keys durable, then
//! positions saved or the broker told, then ledger entries forgotten. A crash between any
//! two of them repeats; the other order would skip.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use karez_api::{
    Ack, DedupKey, Events, Fault, Lane, Position, Positions, Progress, Settled, SinkName, StoreError,
    StreamName, Verdict, Write,
};
use tokio::sync::{mpsc, oneshot};

use crate::core::{Delivered, Lanes, Saves, SettledItem, Via};
use crate::planted;

/// Positions are saved at most this often; a crash repeats at most what was settled since.
const SAVE_EVERY: Duration = Duration::from_millis(100);
/// The wait before a source that could not be told is told again.
const AGAIN: Duration = Duration::from_millis(500);

/// What reaches a settler, in order.
pub(crate) enum Notice {
    /// A batch was pulled; its records are settled by its number.
    Batch {
        batch: u64,
        lane: Lane,
        positions: Positions,
        records: u32,
        ack: Box<dyn Ack>,
    },
    Items(Vec<SettledItem>),
    /// After a reload: the source's number and the sinks by number.
    Renumber {
        source: usize,
        sinks: Vec<SinkName>,
    },
    /// Everything before this is saved when it is answered.
    Flush(oneshot::Sender<()>),
}

/// What a settler tells the pipeline.
pub(crate) enum Report {
    Remembered(Vec<DedupKey>),
    /// The ledger has forgotten these deliveries, by sink.
    Forgotten(Vec<(u16, u128)>),
    /// A source could not be told: reopen it.
    AckFailed {
        source: usize,
        fault: Fault,
    },
    StoreFailed(StoreError),
}

struct Batch {
    lane: Lane,
    /// The number in its lane of the batch's first record, where positions are saved.
    numbers: Option<Vec<u64>>,
    open: u32,
    /// Its position is saved before it is acknowledged.
    saves_first: bool,
    ack: Box<dyn Ack>,
}

pub(crate) struct Settler {
    pub(crate) source: usize,
    pub(crate) stream: StreamName,
    pub(crate) sinks: Vec<SinkName>,
    pub(crate) events: Arc<dyn Events>,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) reports: mpsc::Sender<Report>,
    batches: HashMap<u64, Batch>,
    lanes: Lanes,
    saves: Saves,
    /// Ledger entries to forget after the next save.
    forget: Vec<Delivered>,
}

impl Settler {
    pub(crate) fn new(
        source: usize,
        stream: StreamName,
        sinks: Vec<SinkName>,
        events: Arc<dyn Events>,
        progress: Arc<dyn Progress>,
        reports: mpsc::Sender<Report>,
    ) -> Self {
        Self {
            source,
            stream,
            sinks,
            events,
            progress,
            reports,
            batches: HashMap::new(),
            lanes: Lanes::default(),
            saves: BTreeMap::new(),
            forget: Vec::new(),
        }
    }

    /// Runs until the pipeline drops its end.
    pub(crate) async fn run(mut self, mut notices: mpsc::Receiver<Notice>) {
        let mut due: Option<tokio::time::Instant> = None;
        loop {
            let notice = match due {
                None => notices.recv().await,
                Some(at) => match tokio::time::timeout_at(at, notices.recv()).await {
                    Ok(notice) => notice,
                    Err(_) => {
                        self.save().await;
                        due = None;
                        continue;
                    }
                },
            };
            match notice {
                Some(Notice::Batch { batch, lane, positions, records, ack }) => {
                    self.begin(batch, lane, positions, records, ack);
                }
                Some(Notice::Items(items)) => self.settle(items).await,
                Some(Notice::Renumber { source, sinks }) => {
                    let number =
                        |name: &SinkName| sinks.iter().position(|new| new == name).map(|at| at as u16);
                    let moved: Vec<Option<u16>> = self.sinks.iter().map(number).collect();
                    self.forget.extend(self.lanes.renumber(&moved));
                    // Entries to forget are under the old numbers.
                    self.save().await;
                    (self.source, self.sinks) = (source, sinks);
                }
                Some(Notice::Flush(done)) => {
                    self.save().await;
                    due = None;
                    // Nobody waits any more: fine.
                    done.send(()).ok();
                }
                None => break,
            }
            if due.is_none() && (!self.saves.is_empty() || !self.forget.is_empty()) {
                due = Some(tokio::time::Instant::now() + SAVE_EVERY);
            }
        }
        self.save().await;
    }

    fn begin(&mut self, batch: u64, lane: Lane, positions: Positions, records: u32, ack: Box<dyn Ack>) {
        let saves_first = matches!(positions, Positions::Now(_) | Positions::Later);
        let numbers = match positions {
            Positions::None | Positions::Gone => None,
            Positions::Later => Some((0..records).map(|_| self.lanes.admit(&lane, None)).collect()),
            Positions::After(position) | Positions::Now(position) => {
                let mut numbers: Vec<u64> = (1..records).map(|_| self.lanes.admit(&lane, None)).collect();
                numbers.push(self.lanes.admit(&lane, Some(position)));
                Some(numbers)
            }
            Positions::Each(each) => {
                Some(each.into_iter().map(|position| self.lanes.admit(&lane, Some(position))).collect())
            }
        };
        if planted::checkpoint_ahead() {
            for number in numbers.iter().flatten() {
                self.lanes.settle(&lane, *number, Vec::new(), &mut self.saves);
            }
        }
        self.batches.insert(batch, Batch { lane, numbers, open: records, saves_first, ack });
    }

    async fn settle(&mut self, items: Vec<SettledItem>) {
        fail::fail_point!("crash::settled");
        self.remember(&items).await;
        fail::fail_point!("crash::remembered");
        let mut journal = Vec::new();
        let mut parts: BTreeMap<u64, Vec<(u32, Verdict)>> = BTreeMap::new();
        let mut delivered: BTreeMap<u64, Vec<Vec<Delivered>>> = BTreeMap::new();
        for item in items {
            match item.via {
                Via::Journal(sequence) => {
                    journal.push(sequence);
                    self.forget.extend(item.delivered);
                }
                Via::Batch { batch, index, .. } => {
                    parts.entry(batch).or_default().push((index, item.verdict));
                    delivered.entry(batch).or_default().push(item.delivered);
                }
                Via::Replay { .. } => self.forget.extend(item.delivered),
            }
        }
        if !journal.is_empty() {
            self.events.settle(&self.stream, journal);
        }
        for (batch, part) in parts {
            self.acknowledge(batch, part, delivered.remove(&batch).unwrap_or_default()).await;
        }
    }

    /// The keys of what is settled become durable before anything is acknowledged.
    async fn remember(&mut self, items: &[SettledItem]) {
        let keys: Vec<DedupKey> = items.iter().flat_map(|item| item.dedup.iter().cloned()).collect();
        if keys.is_empty() {
            return;
        }
        while let Err(error) = self.events.remember(keys.clone()).await {
            if !matches!(error, StoreError::Full(_)) {
                return self.report(Report::StoreFailed(error)).await;
            }
            // A pipeline that has ended waits no longer: what is not saved is repeated.
            if self.reports.is_closed() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.report(Report::Remembered(keys)).await;
    }

    /// Tells the source. What it will give again all the same the ledger must still know then: that is forgotten
    /// once the source has heard of it and, where positions are saved, once one has passed it.
    async fn acknowledge(&mut self, number: u64, part: Vec<(u32, Verdict)>, delivered: Vec<Vec<Delivered>>) {
        let Some(batch) = self.batches.get_mut(&number) else { return };
        batch.open -= part.len() as u32;
        let mut through = Vec::new();
        for ((index, verdict), delivered) in part.iter().zip(delivered) {
            match &batch.numbers {
                None => through.extend(delivered),
                Some(_) if matches!(verdict, Verdict::Returned) => {}
                Some(numbers) => {
                    let number = numbers[*index as usize];
                    through.extend(self.lanes.settle(&batch.lane, number, delivered, &mut self.saves));
                }
            }
        }
        if batch.saves_first && batch.open == 0 && !self.save_positions().await {
            return;
        }
        let Some(batch) = self.batches.get_mut(&number) else { return };
        fail::fail_point!("crash::before_ack");
        let answer = batch.ack.settle(&part).await;
        fail::fail_point!("crash::after_ack");
        if batch.open == 0 {
            self.batches.remove(&number);
        }
        match answer {
            Ok(Settled::Done) => self.forget.extend(through),
            Ok(Settled::Stale) => {}
            Err(fault) => self.report(Report::AckFailed { source: self.source, fault }).await,
        }
    }

    /// False where they could not be saved: then the store has failed or the pipeline has ended.
    async fn save_positions(&mut self) -> bool {
        if !self.saves.is_empty() {
            let writes: Vec<Write> = self
                .saves
                .iter()
                .map(|(lane, position)| Write::put(position_key(&self.stream, lane), position.0.clone()))
                .collect();
            fail::fail_point!("crash::before_save");
            while let Err(error) = self.progress.write(writes.clone()).await {
                if !matches!(error, StoreError::Full(_)) {
                    self.report(Report::StoreFailed(error)).await;
                    return false;
                }
                // A pipeline that has ended waits no longer: what is not saved is repeated.
                if self.reports.is_closed() {
                    return false;
                }
                tokio::time::sleep(AGAIN).await;
            }
            fail::fail_point!("crash::after_save");
            self.saves.clear();
        }
        true
    }

    /// Saves positions, then lets the ledger forget what cannot come again.
    async fn save(&mut self) {
        if !self.save_positions().await || self.forget.is_empty() {
            return;
        }
        let forget = std::mem::take(&mut self.forget);
        let mut by_sink: BTreeMap<u16, Vec<u128>> = BTreeMap::new();
        for (sink, hash) in &forget {
            by_sink.entry(*sink).or_default().push(*hash);
        }
        for (sink, hashes) in by_sink {
            if let Some(name) = self.sinks.get(sink as usize) {
                self.events.forget(name, hashes);
            }
        }
        self.report(Report::Forgotten(forget)).await;
    }

    async fn report(&mut self, report: Report) {
        // A pipeline that is gone needs no reports.
        drop(self.reports.send(report).await);
    }
}

/// What the keys of all positions of a pipeline begin with.
pub(crate) fn all_positions(pipeline: &str) -> String {
    format!("positions/{pipeline}/")
}

fn position_prefix(stream: &StreamName) -> String {
    format!("positions/{stream}/")
}

pub(crate) fn position_key(stream: &StreamName, lane: &Lane) -> String {
    format!("{}{}", position_prefix(stream), lane.0)
}

/// Saves where a lane is to be resumed; forgets it without a position.
///
/// # Errors
/// The store cannot be written.
pub(crate) async fn save(
    progress: &dyn Progress,
    stream: &StreamName,
    lane: &Lane,
    position: Option<Position>,
) -> Result<(), StoreError> {
    let key = position_key(stream, lane);
    let write = match position {
        Some(position) => Write::put(key, position.0),
        None => Write::remove(key),
    };
    progress.write(vec![write]).await
}

/// Where each lane of a source was left.
///
/// # Errors
/// The store cannot be read.
pub(crate) async fn positions(
    progress: &dyn Progress,
    stream: &StreamName,
) -> Result<BTreeMap<Lane, Position>, StoreError> {
    let prefix = position_prefix(stream);
    let mut positions = BTreeMap::new();
    let mut after: Option<String> = None;
    loop {
        let page = progress.list(&prefix, after.as_deref(), 1_000).await?;
        let Some((last, _)) = page.last() else {
            return Ok(positions);
        };
        after = Some(last.clone());
        for (key, stored) in page {
            positions.insert(Lane::new(&key[prefix.len()..]), Position(stored.value));
        }
    }
}

/// Moves the positions of one pipeline to another name.
///
/// # Errors
/// The store cannot be read or written.
pub(crate) async fn adopt(progress: &dyn Progress, old: &str, new: &str) -> Result<(), StoreError> {
    let prefix = all_positions(old);
    loop {
        let page = progress.list(&prefix, None, 500).await?;
        if page.is_empty() {
            return Ok(());
        }
        let moves = page.into_iter().flat_map(|(key, stored)| {
            let moved = format!("positions/{new}/{}", &key[prefix.len()..]);
            [Write::put(moved, stored.value), Write::remove(key)]
        });
        progress.write(moves.collect()).await?;
    }
}
