//! The other end of the log: full segments are sealed, the oldest are unlinked, what is still live in them is
//! written again first.
//!
//! Segments go strictly oldest first. So whatever ends an earlier frame (a settlement, a removal) never goes
//! before it, and an ended thing cannot come back.

use std::fs;
use std::io;

use super::Writer;
use crate::folder::sync_folder;
use crate::frame::{self, Part};
use crate::segment::{self, kind};
use crate::stream::Place;
use crate::tape::{Trouble, is_no_space};
use crate::{entry, ledger, outline};

/// Segments that may lie idle before live entries are moved to free them.
const SLACK: u64 = 3;

/// An entry that was written again: stream, sequence, place, time.
type Moved = (u64, u64, Place, karez_api::Millis);

impl Writer {
    /// Seals and retires as far as there is something to do.
    pub(super) fn tend(&mut self) -> Result<(), String> {
        if self.tape.length() >= self.shared.options.segment_bytes && !self.seal()? {
            return Ok(());
        }
        while let Some(oldest) = self.retirable() {
            match self.retire(oldest) {
                Ok(()) => {}
                // Until there is space again the old segment simply stays.
                Err(Trouble::NoSpace(error)) => {
                    self.try_later(&error);
                    return Ok(());
                }
                Err(Trouble::Fatal(error)) => return Err(failed("retiring a segment", &error)),
            }
        }
        Ok(())
    }

    /// Begins the next segment; false where the disk has no room for it.
    fn seal(&mut self) -> Result<bool, String> {
        if !self.tape.is_synced()
            && let Err(Trouble::Fatal(error) | Trouble::NoSpace(error)) = self.tape.sync()
        {
            return Err(failed("syncing a segment", &error));
        }
        // In their slices before the next segment exists: its existence says that they are.
        match self.slices.append(&self.keys, &self.shared.dedup) {
            Ok(()) => self.keys.clear(),
            Err(error) if is_no_space(&error) => return Ok(self.try_later(&error)),
            Err(error) => return Err(failed("writing dedup keys", &error)),
        }
        let budget = self.shared.options.dedup_memory;
        if let Err(error) = self.slices.tend(&self.shared.dedup, budget) {
            tracing::warn!(%error, "dedup slices could not be tended, will try again");
        }
        if let Err(error) = self.tape.write_outline() {
            tracing::debug!(%error, "a segment's outline could not be written, a start reads the segment instead");
        }
        fail::fail_point!("crash::keys_sealed");
        match self.tape.roll(&self.snapshot()) {
            Ok(tape) => self.tape = tape,
            Err(Trouble::NoSpace(error)) => return Ok(self.try_later(&error)),
            Err(Trouble::Fatal(error)) => return Err(failed("beginning a segment", &error)),
        }
        fail::fail_point!("crash::rolled");
        let segment = self.tape.segment();
        self.shared.index().segments.insert(self.tape.number, segment);
        #[cfg(test)]
        self.note_synced();
        Ok(true)
    }

    /// Without space the segment goes on growing; false, since none was begun.
    fn try_later(&mut self, error: &io::Error) -> bool {
        drop(self.shared.run_out(error));
        self.seen_free = None;
        false
    }

    fn retirable(&self) -> Option<u32> {
        let index = self.shared.index();
        let (number, oldest) = index.segments.first_key_value()?;
        if *number == self.tape.number {
            return None;
        }
        let worth = index.live_bytes().div_ceil(self.shared.options.segment_bytes);
        let crowded = index.segments.len() as u64 > SLACK + 2 * worth;
        (oldest.live_entries == 0 || crowded).then_some(*number)
    }

    fn retire(&mut self, number: u32) -> Result<(), Trouble> {
        let moved = self.write_again(number)?;
        let mut index = self.shared.index();
        for (stream, sequence, place, time) in moved {
            // One that settled meanwhile is settled: its settlement is written behind the copy.
            if index.streams.get(&stream).is_some_and(|stream| stream.get(sequence).is_some()) {
                index.insert(stream, sequence, place, time);
            }
        }
        let segment = index.segments.remove(&number);
        drop(index);
        let damaged = segment.is_some_and(|segment| segment.damaged);
        self.unlink(number, damaged).map_err(Trouble::Fatal)
    }

    /// Writes again, durably, what only this segment says.
    fn write_again(&mut self, number: u32) -> Result<Vec<Moved>, Trouble> {
        let confirmed = self.shared.ledger().within(number);
        let live = self.shared.index().segments.get(&number).map_or(0, |segment| segment.live_entries);
        if live == 0 && confirmed.is_empty() {
            return Ok(Vec::new());
        }
        self.tape.begin_group();
        let moved = if live > 0 { self.copy_entries(number).map_err(Trouble::Fatal)? } else { Vec::new() };
        for (sink, ids) in &confirmed {
            self.tape.push(kind::DELIVERED, &ledger::payload(*sink, ids, None));
        }
        self.tape.write()?;
        self.tape.sync()?;
        #[cfg(test)]
        self.note_synced();
        let mut ledger = self.shared.ledger();
        for (sink, ids) in confirmed {
            ledger.move_to(sink, &ids, self.tape.number);
        }
        Ok(moved)
    }

    fn copy_entries(&mut self, number: u32) -> io::Result<Vec<Moved>> {
        let file = segment::path(&self.shared.paths.log, number);
        let bytes = fs::read(file)?;
        let seed = self.shared.identity.seed(&segment::name(number));
        let mut moved = Vec::new();
        for part in frame::scan(&bytes, 0, segment::body(&bytes), seed) {
            let Part::Frame { offset, frame } = part else {
                continue;
            };
            let Some((head, _)) = entry::head(frame.payload).filter(|_| frame.kind == kind::ENTRY) else {
                continue;
            };
            let here = Place::new(number, offset, frame.length());
            let known = self.shared.index().streams.get(&head.stream).and_then(|s| s.get(head.sequence));
            if known.is_some_and(|place| place.is(&here)) {
                let to = self.tape.push(kind::ENTRY, frame.payload);
                let place = Place::new(self.tape.number, to, frame.length());
                moved.push((head.stream, head.sequence, place, head.time));
            }
        }
        Ok(moved)
    }

    /// A damaged file is kept under another name: it may hold what somebody can still mend.
    fn unlink(&self, number: u32, damaged: bool) -> io::Result<()> {
        fail::fail_point!("store::before_unlink", |_| Err(io::Error::other("failpoint")));
        outline::remove(&self.shared.paths.log, number)?;
        let path = segment::path(&self.shared.paths.log, number);
        if damaged {
            fs::rename(&path, path.with_extension("damaged"))?;
        } else {
            fs::remove_file(&path)?;
        }
        fail::fail_point!("crash::unlinked");
        sync_folder(&self.shared.paths.log)
    }
}

fn failed(doing: &str, error: &io::Error) -> String {
    format!("{doing} failed: {error}; restart karez")
}
