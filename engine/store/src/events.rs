//! The log as callers see it: encodes and hashes on their side, asks the writer, reads what is on disk.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use karez_api::{
    Appended, DedupKey, Entry, Events, Mark, NewEntry, SinkName, StoreError, StreamName, StreamStats,
};

use crate::dedup::{self, Hashed};
use crate::index::Found;
use crate::queue::{Answer, Batch, Prepared, Work};
use crate::shared::Shared;
use crate::stream::Place;
use crate::{entry, frame, segment};

pub(crate) struct Log(pub(crate) Arc<Shared>);

impl Log {
    async fn ask(&self, work: Work, bytes: usize) -> Answer {
        if let Some(failure) = self.0.failure() {
            return Err(failure);
        }
        let answer = self.0.queue.ask(work, bytes).await;
        // A writer that died takes its queue with it; why it died is the better answer.
        answer.map_err(|error| self.0.failure().unwrap_or(error))
    }

    /// Hashes a key under its scope's numbers, and gives the scope one where it has none.
    fn hash(&self, key: &DedupKey) -> Option<Hashed> {
        let hasher = self.0.hasher;
        if let Some(scope) = self.0.names().scope(&key.scope) {
            return dedup::hashed(hasher, scope, key);
        }
        let mut names = self.0.names_mut();
        names.add_scope(&key.scope);
        names.scope(&key.scope).and_then(|scope| dedup::hashed(hasher, scope, key))
    }

    fn prepare(&self, entries: Vec<NewEntry>) -> Result<Batch, StoreError> {
        let mut batch = Batch::default();
        batch.entries.reserve_exact(entries.len());
        for new in entries {
            let dedup = new.dedup.as_ref().and_then(|key| self.hash(key));
            let start = batch.bytes.len();
            entry::encode(&mut batch.bytes, &new.record, dedup.as_ref().map(|hashed| hashed.key));
            let range = start..batch.bytes.len();
            if range.len() > frame::MAX_PAYLOAD - entry::PLACE {
                let (id, length, most) = (new.record.id(), range.len(), frame::MAX_PAYLOAD);
                return Err(StoreError::Refused(format!(
                    "record {id} takes {length} bytes in the journal, the most is {most}"
                )));
            }
            batch.entries.push(Prepared { range, dedup, record: new.record });
        }
        Ok(batch)
    }

    /// Loads what is not in memory. Entries that cannot be read are given up, loudly.
    async fn load(&self, stream: u64, found: Vec<Found>) -> Result<Vec<Entry>, StoreError> {
        if found.iter().all(|found| matches!(found, Found::Memory(_))) {
            return Ok(found.into_iter().filter_map(in_memory).collect());
        }
        let shared = Arc::clone(&self.0);
        let load = move || found.into_iter().filter_map(|found| shared.load(stream, found)).collect();
        let loaded: Result<Vec<Entry>, _> = tokio::task::spawn_blocking(load)
            .await
            .map_err(|error| StoreError::Failed(format!("reading the log was cut short: {error}")))?;
        loaded
    }
}

fn in_memory(found: Found) -> Option<Entry> {
    match found {
        Found::Memory(entry) => Some(entry),
        Found::Disk { .. } => None,
    }
}

/// `None` where what stands there is not an entry.
fn read_entry(file: &File, place: Place, seed: u32) -> io::Result<Option<Entry>> {
    let mut bytes = vec![0; place.length as usize];
    let offset = u64::from(place.offset);
    match file.read_exact_at(&mut bytes, offset) {
        // Somebody cut the file.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let bytes = Bytes::from(bytes);
    Ok(frame::read(&bytes, offset, seed).and_then(|_| entry::decode(&bytes.slice(frame::HEAD..))))
}

impl Shared {
    fn load(&self, stream: u64, found: Found) -> Option<Result<Entry, StoreError>> {
        let (sequence, place, file, seed) = match found {
            Found::Memory(entry) => return Some(Ok(entry)),
            Found::Disk { sequence, place, file, seed } => (sequence, place, file, seed),
        };
        match read_entry(&file, place, seed) {
            Ok(Some(entry)) if entry.sequence == sequence => Some(Ok(entry)),
            Ok(_) => {
                self.give_up(stream, sequence, place);
                None
            }
            Err(error) => Some(Err(StoreError::Failed(format!(
                "segment {} cannot be read: {error}",
                segment::name(place.segment)
            )))),
        }
    }

    fn give_up(&self, stream: u64, sequence: u64, place: Place) {
        tracing::error!(
            file = segment::name(place.segment),
            offset = place.offset,
            sequence,
            "a journal entry is damaged and lost; the file is kept"
        );
        self.note_damage();
        if let Some(segment) = self.index().segments.get_mut(&place.segment) {
            segment.damaged = true;
        }
        self.settle(stream, vec![sequence]);
    }

    fn settle(&self, stream: u64, sequences: Vec<u64>) {
        let settled = self.index().settle(stream, sequences);
        if !settled.is_empty() {
            self.queue.buffer(|waiting| waiting.settled.entry(stream).or_default().extend(settled));
        }
    }
}

#[async_trait]
impl Events for Log {
    async fn append(&self, stream: &StreamName, entries: Vec<NewEntry>) -> Result<Vec<Appended>, StoreError> {
        let batch = self.prepare(entries)?;
        let bytes = batch.bytes.len();
        self.ask(Work::Append { stream: stream.clone(), batch }, bytes).await
    }

    async fn read(
        &self,
        stream: &StreamName,
        after: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        loop {
            // The number is looked up each time: an adopted stream may take over the name.
            let known = self.0.names().stream(stream);
            let id = known.unwrap_or_else(|| self.0.names_mut().add_stream(stream));
            let arrived = Arc::clone(&self.0.index().streams.entry(id).or_default().arrived);
            let arrived = arrived.notified();
            let found = self.0.index().next(id, after, max_records, max_bytes);
            if found.is_empty() {
                if let Some(failure) = self.0.failure() {
                    return Err(failure);
                }
                if self.0.queue.is_closed() {
                    return Err(StoreError::Failed("the store is closed".into()));
                }
                arrived.await;
                continue;
            }
            let entries = self.load(id, found).await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
    }

    async fn fetch(&self, stream: &StreamName, sequences: &[u64]) -> Result<Vec<Entry>, StoreError> {
        let Some(id) = self.0.names().stream(stream) else {
            return Ok(Vec::new());
        };
        let found = self.0.index().these(id, sequences);
        self.load(id, found).await
    }

    fn settle(&self, stream: &StreamName, sequences: Vec<u64>) {
        let id = self.0.names().stream(stream);
        if let Some(id) = id {
            self.0.settle(id, sequences);
        }
    }

    fn knows(&self, key: &DedupKey) -> bool {
        let names = self.0.names();
        let hashed = names.scope(&key.scope).and_then(|scope| dedup::hashed(self.0.hasher, scope, key));
        drop(names);
        hashed.is_some_and(|hashed| self.0.dedup().knows(&hashed))
    }

    async fn remember(&self, keys: Vec<DedupKey>) -> Result<(), StoreError> {
        let keys: Vec<Hashed> = keys.iter().filter_map(|key| self.hash(key)).collect();
        let bytes = keys.len() * dedup::Key::BYTES;
        self.ask(Work::Remember(keys), bytes).await.map(drop)
    }

    async fn delivered(&self, sink: &SinkName, ids: Vec<u128>, mark: Option<Mark>) -> Result<(), StoreError> {
        let bytes = ids.len() * 16;
        self.ask(Work::Delivered { sink: sink.clone(), ids, mark }, bytes).await.map(drop)
    }

    fn ledger(&self, sink: &SinkName) -> (HashSet<u128>, Option<Mark>) {
        let id = self.0.names().sink(sink);
        id.map(|id| self.0.ledger().get(id)).unwrap_or_default()
    }

    fn forget(&self, sink: &SinkName, ids: Vec<u128>) {
        let id = self.0.names().sink(sink);
        let Some(id) = id else { return };
        let forgotten = self.0.ledger().forget(id, ids);
        if !forgotten.is_empty() {
            self.0.queue.buffer(|waiting| waiting.forgotten.entry(id).or_default().extend(forgotten));
        }
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.ask(Work::Flush, 0).await.map(drop)
    }

    fn stats(&self, stream: &StreamName) -> StreamStats {
        let empty = StreamStats { next: 1, ..StreamStats::default() };
        let id = self.0.names().stream(stream);
        id.and_then(|id| Some(self.0.index().streams.get(&id)?.stats())).unwrap_or(empty)
    }

    fn streams(&self) -> Vec<StreamName> {
        let names = self.0.names();
        let index = self.0.index();
        let holds = |id| index.streams.get(&id).is_some_and(|stream| !stream.is_empty());
        let mut held: Vec<_> =
            names.streams().filter(|(_, id)| holds(*id)).map(|(name, _)| name.clone()).collect();
        held.sort_unstable();
        held
    }

    async fn remove(&self, pipeline: &str) -> Result<(), StoreError> {
        self.ask(Work::Remove(pipeline.into()), 0).await.map(drop)
    }

    async fn adopt(&self, from: &str, to: &str) -> Result<(), StoreError> {
        self.ask(Work::Adopt { from: from.into(), to: to.into() }, 0).await.map(drop)
    }

    fn unavailable(&self) -> Option<StoreError> {
        let failure = self.0.failure();
        // The writer looks at the disk with every group; only while it was low is it asked again here.
        failure.or_else(|| self.0.disk_is_low().then(|| self.0.look_at_disk()).flatten())
    }
}
