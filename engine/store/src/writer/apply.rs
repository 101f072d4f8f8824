//! What changes once a group is on disk: everybody may know of it, and is told.

use karez_api::{Appended, StoreError};
use tokio::sync::oneshot;

use super::Writer;
use super::group::{Group, Outcome};
use crate::counters::Counters;
use crate::index::{Index, Room};
use crate::queue::{Answer, Request, Work};
use crate::stream::Place;

impl Writer {
    pub(super) fn apply(&mut self, group: Group, requests: Vec<Request>) {
        if group.names > 0 {
            self.shared.names_mut().written(group.names);
        }
        if !group.stored_keys.is_empty() {
            let mut dedup = self.shared.dedup_mut();
            for key in &group.stored_keys {
                dedup.insert(*key);
            }
        }
        self.keys.extend(group.stored_keys);
        let mut replies = Vec::with_capacity(requests.len());
        let mut index = self.shared.index();
        if let Some(segment) = index.segments.get_mut(&self.tape.number) {
            segment.bytes = self.tape.length();
        }
        let mut others = Vec::new();
        for (request, outcome) in requests.into_iter().zip(group.outcomes) {
            let Request { work, reply, .. } = request;
            let result = match outcome {
                Outcome::Refused(error) => Err(error),
                Outcome::Entries { stream, appended } => {
                    Ok(self.apply_entries(&mut index, stream, &appended, work))
                }
                Outcome::Done => {
                    others.push(work);
                    Ok(Vec::new())
                }
            };
            replies.push((reply, result));
        }
        for stream in group.streams.keys().filter_map(|id| index.streams.get(id)) {
            stream.arrived.notify_waiters();
        }
        drop(index);
        for work in others {
            self.apply_other(&work);
        }
        for (reply, result) in replies {
            answer(reply, result);
        }
    }

    fn apply_entries(
        &self,
        index: &mut Index,
        id: u64,
        appended: &[(Appended, Place)],
        work: Work,
    ) -> Vec<Appended> {
        let Work::Append { batch, .. } = work else {
            return Vec::new();
        };
        let most = self.shared.options.cache_bytes;
        let room = Room { stream: most, all: most.saturating_mul(4) };
        let mut stored = 0;
        for (entry, (appended, place)) in batch.entries.into_iter().zip(appended) {
            if let Appended::Stored(sequence) = appended {
                index.insert(id, *sequence, *place, entry.record.meta().received_at);
                index.keep_recent(id, *sequence, entry.record, room);
                stored += 1;
            }
        }
        Counters::add(&self.shared.counters.appended, stored);
        appended.iter().map(|(appended, _)| *appended).collect()
    }

    fn apply_other(&self, work: &Work) {
        match work {
            Work::Delivered { sink, ids, mark } => {
                let id = self.shared.names().sink(sink);
                if let Some(id) = id {
                    self.shared.ledger().deliver(id, ids, mark.clone(), self.tape.number);
                }
            }
            Work::Remove(pipeline) => {
                let (streams, sinks) = self.shared.names_mut().remove(pipeline);
                for id in streams {
                    self.shared.index().remove_stream(id);
                }
                for id in sinks {
                    self.shared.ledger().remove(id);
                }
            }
            Work::Adopt { from, to } => {
                self.shared.names_mut().adopt(from, to);
                // Whoever waits under one of the names now waits for another stream.
                self.shared.wake_readers();
            }
            Work::Append { .. } | Work::Remember(_) | Work::Flush | Work::Close => {}
        }
    }
}

pub(super) fn refuse(requests: Vec<Request>, error: &StoreError) {
    for request in requests {
        answer(request.reply, Err(error.clone()));
    }
}

/// Whoever asked may have gone: what was done stays done.
fn answer(reply: oneshot::Sender<Answer>, result: Answer) {
    drop(reply.send(result));
}
