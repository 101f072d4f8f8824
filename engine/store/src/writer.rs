//! The one thread that writes the log. Takes what waits, writes it as one group, syncs once, answers all.

mod apply;
mod group;
mod retire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use karez_api::StoreError;

use crate::counters::Counters;
use crate::dedup::{Key, Slices};
use crate::ledger;
use crate::planted;
use crate::queue::{Buffered, Request, Work};
use crate::segment::kind;
use crate::shared::Shared;
use crate::tape::{Tape, Trouble};
use apply::refuse;
use group::Group;

/// How long a disk with enough space is trusted to have it.
const TRUST: Duration = Duration::from_millis(100);

pub(crate) struct Writer {
    shared: Arc<Shared>,
    tape: Tape,
    slices: Slices,
    /// Keys in the current segment: they go to their slices when it is sealed.
    keys: Vec<Key>,
    progress: u64,
    /// When the disk was last seen to have enough space.
    seen_free: Option<Instant>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, tape: Tape, slices: Slices, progress: u64) -> Self {
        Self { shared, tape, slices, keys: Vec::new(), progress, seen_free: None }
    }

    /// Works until it is closed.
    pub(crate) fn run(mut self) {
        #[cfg(test)]
        self.note_synced();
        loop {
            let (mut requests, mut buffered) = self.shared.queue.take();
            loop {
                let rest = requests.split_off(share(&requests));
                let close = requests.iter().any(|request| matches!(request.work, Work::Close));
                self.serve(requests, std::mem::take(&mut buffered));
                if close {
                    return refuse(rest, &StoreError::Failed("the store is closed".into()));
                }
                if rest.is_empty() {
                    break;
                }
                requests = rest;
            }
        }
    }

    fn serve(&mut self, requests: Vec<Request>, buffered: Buffered) {
        #[cfg(test)]
        let shared = Arc::clone(&self.shared);
        #[cfg(test)]
        let _still = shared.still.lock();
        if let Some(failure) = self.shared.failure() {
            return refuse(requests, &failure);
        }
        let low = self.look_at_disk();
        if !requests.is_empty() || !buffered.is_empty() {
            self.serve_group(requests, buffered, low);
        }
        if self.shared.failure().is_none()
            && let Err(error) = self.tend()
        {
            self.shared.fail(error);
        }
    }

    fn look_at_disk(&mut self) -> Option<StoreError> {
        if self.seen_free.is_some_and(|at| at.elapsed() < TRUST) {
            return None;
        }
        let low = self.shared.look_at_disk();
        self.seen_free = low.is_none().then(Instant::now);
        low
    }

    fn serve_group(&mut self, requests: Vec<Request>, buffered: Buffered, low: Option<StoreError>) {
        let group = match self.write_group(&requests, &buffered, low) {
            Ok(group) => group,
            Err(Trouble::NoSpace(error)) => {
                let full = self.shared.run_out(error);
                self.seen_free = None;
                match self.write_group(&requests, &buffered, Some(full.clone())) {
                    Ok(group) => group,
                    Err(Trouble::NoSpace(_)) => {
                        self.shared.queue.buffer(|waiting| waiting.restore(buffered));
                        return refuse(requests, &full);
                    }
                    Err(Trouble::Fatal(error)) => return self.fail(requests, &error),
                }
            }
            Err(Trouble::Fatal(error)) => return self.fail(requests, &error),
        };
        self.apply(group, requests);
    }

    fn fail(&self, requests: Vec<Request>, error: &std::io::Error) {
        let failure = self.shared.fail(format!("writing the log failed: {error}; restart karez"));
        refuse(requests, &failure);
    }

    /// Stages and writes. `full`: why journal entries are not taken now.
    fn write_group(
        &mut self,
        requests: &[Request],
        buffered: &Buffered,
        full: Option<StoreError>,
    ) -> Result<Group, Trouble> {
        if planted::mark_before_entry() {
            self.plant_keys(requests)?;
        }
        let mut group = Group::new(full);
        self.tape.begin_group();
        self.stage_buffered(buffered);
        self.stage_requests(&mut group, requests);
        self.tape.write()?;
        if group.needs_sync && !self.tape.is_synced() {
            self.sync_group()?;
        }
        #[cfg(test)]
        self.note_synced();
        Counters::add(&self.shared.counters.groups, 1);
        self.progress = self.progress.max(buffered.progress.unwrap_or_default());
        Ok(group)
    }

    fn sync_group(&mut self) -> Result<(), Trouble> {
        fail::fail_point!("planted::ack_before_sync", |_| Ok(()));
        self.tape.sync()
    }

    #[cfg(test)]
    fn note_synced(&self) {
        if self.tape.is_synced() {
            *self.shared.synced.lock().unwrap() = (self.tape.number, self.tape.length());
        }
    }

    fn stage_buffered(&mut self, buffered: &Buffered) {
        for (stream, sequences) in &buffered.settled {
            let mut sorted = sequences.clone();
            sorted.sort_unstable();
            let mut payload = stream.to_le_bytes().to_vec();
            crate::codec::put_rising(&mut payload, &sorted);
            self.tape.push(kind::SETTLE, &payload);
        }
        for (sink, ids) in &buffered.forgotten {
            self.tape.push(kind::FORGET, &ledger::payload(*sink, ids, None));
        }
        if let Some(progress) = buffered.progress {
            self.tape.push(kind::PROGRESS, &progress.to_le_bytes());
        }
    }

    /// Everything that the head of a new segment repeats, so that the oldest can go.
    fn snapshot(&self) -> Vec<(u8, Vec<u8>)> {
        let names = self.shared.names().snapshot();
        let mut frames: Vec<_> = names.into_iter().map(|payload| (kind::NAME, payload)).collect();
        for (id, stream) in &self.shared.index().streams {
            let mut payload = id.to_le_bytes().to_vec();
            payload.extend_from_slice(&stream.next.to_le_bytes());
            frames.push((kind::NEXT, payload));
        }
        let marks = self.shared.ledger().marks();
        frames.extend(marks.into_iter().map(|payload| (kind::DELIVERED, payload)));
        frames.push((kind::PROGRESS, self.progress.to_le_bytes().to_vec()));
        frames
    }
}

/// How many requests may be one group: what changes the meaning of names stands alone.
fn share(requests: &[Request]) -> usize {
    let first = requests.iter().position(|request| request.work.is_structural());
    first.map_or(requests.len(), |first| first.max(1))
}
