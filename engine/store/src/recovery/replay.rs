//! What the frames of the log add up to, taken in order.

use super::Read;
use crate::codec::Reader;
use crate::dedup::Key;
use crate::outline::Item;
use crate::segment::kind;
use crate::shared::Held;
use crate::stream::Place;
use crate::{entry, frame, ledger};

/// Takes in frames in order.
#[derive(Default)]
pub(crate) struct Replay {
    pub(crate) held: Held,
    pub(crate) progress: u64,
    /// Keys found in the segment at hand.
    pub(super) keys: Vec<Key>,
}

impl Replay {
    /// `None` where a frame that was written whole does not say what its kind should.
    pub(crate) fn take(&mut self, place: Place, kind: u8, payload: &[u8]) -> Option<()> {
        let mut reader = Reader::new(payload);
        match kind {
            kind::NAME => self.held.names.recover(payload)?,
            kind::ENTRY => {
                let (head, _) = entry::head(payload)?;
                self.held.index.insert(head.stream, head.sequence, place, head.time);
                self.keys.extend(head.key);
            }
            kind::SETTLE => {
                let stream = reader.u64()?;
                self.held.index.settle(stream, reader.rising()?);
            }
            kind::KEYS => self.keys.extend(std::iter::from_fn(|| Key::take(&mut reader))),
            kind::DELIVERED => {
                let (sink, ids, mark) = ledger::read(payload)?;
                self.held.ledger.deliver(sink, &ids, mark, place.segment);
            }
            kind::FORGET => {
                let (sink, ids, _) = ledger::read(payload)?;
                self.held.ledger.forget(sink, ids);
            }
            kind::REMOVE => {
                let (streams, sinks) = self.held.names.remove(reader.text()?);
                streams.into_iter().for_each(|id| self.held.index.remove_stream(id));
                sinks.into_iter().for_each(|id| self.held.ledger.remove(id));
            }
            kind::ADOPT => {
                let (from, to) = (reader.text()?, reader.text()?);
                self.held.names.adopt(from, &to.into());
            }
            kind::PROGRESS => self.progress = self.progress.max(reader.u64()?),
            kind::NEXT => {
                let stream = self.held.index.streams.entry(reader.u64()?).or_default();
                stream.next = stream.next.max(reader.u64()?);
            }
            kind::GROUP | kind::CLOSED | kind::TEAR => {}
            _ => return None,
        }
        Some(())
    }

    pub(super) fn take_all(&mut self, number: u32, read: &Read) {
        for (offset, kind, range) in &read.frames {
            let place = Place::new(number, *offset, frame::HEAD + range.len());
            self.take_or_skip(place, *kind, &read.bytes[range.clone()]);
        }
    }

    pub(super) fn take_outline(&mut self, number: u32, bytes: &[u8], items: &[Item]) {
        for item in items {
            let place = Place::new(number, item.offset, item.length);
            self.take_or_skip(place, item.kind, &bytes[item.payload.clone()]);
        }
    }

    fn take_or_skip(&mut self, place: Place, kind: u8, payload: &[u8]) {
        if self.take(place, kind, payload).is_none() {
            let Place { segment, offset, .. } = place;
            tracing::error!(segment, offset, "a frame of the log says nothing known, skipped");
            self.held.damage += 1;
        }
    }
}
