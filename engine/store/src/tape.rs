//! The end of the log: the segment that is written to. Writes whole groups, syncs, cuts back, and begins the next one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Instant;

use crate::counters::Counters;
use crate::folder::{Paths, sync_folder};
use crate::index::Segment;
use crate::outline::Outline;
use crate::segment::{self, kind};
use crate::{entry, folder::Identity, frame, planted};

pub(crate) struct Tape {
    paths: Paths,
    identity: Identity,
    pub(crate) number: u32,
    pub(crate) file: Arc<File>,
    seed: u32,
    /// Where the next group goes.
    end: u64,
    /// Everything below is on disk.
    synced: u64,
    buffer: Vec<u8>,
    outline: Outline,
    counters: Arc<Counters>,
}

/// What a failed write left behind.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// No space; the file is as it was.
    NoSpace(io::Error),
    /// The file's content is unknown: nothing may be written any more.
    Fatal(io::Error),
}

/// Whether what failed did nothing, and may go well later: no space, or no descriptor to open a file with.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    let none_left =
        [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || none_left.contains(&error.raw_os_error())
}

impl Tape {
    /// Begins segment `number` with a head and `frames`, durably.
    pub(crate) fn begin(
        paths: &Paths,
        identity: &Identity,
        counters: &Arc<Counters>,
        number: u32,
        frames: &[(u8, Vec<u8>)],
    ) -> Result<Self, Trouble> {
        let file = Self::create(paths, number).map_err(trouble)?;
        let seed = identity.seed(&segment::name(number));
        let buffer = segment::header(identity, number);
        let mut tape = Self {
            paths: paths.clone(),
            identity: identity.clone(),
            number,
            file: Arc::new(file),
            seed,
            end: 0,
            synced: 0,
            buffer,
            outline: Outline::default(),
            counters: Arc::clone(counters),
        };
        tape.mark_group();
        for (kind, payload) in frames {
            tape.push(*kind, payload);
        }
        let made = tape.write().and_then(|()| tape.sync());
        let made = made.and_then(|()| sync_folder(&paths.log).map_err(trouble));
        if let Err(trouble) = made {
            // Nothing refers to it yet: an unfinished segment is no loss, a leftover would be in the way.
            fs::remove_file(segment::path(&paths.log, number)).map_err(Trouble::Fatal)?;
            return Err(trouble);
        }
        if planted::rename_without_folder_sync() {
            planted::name_last(&segment::path(&paths.log, number)).map_err(Trouble::Fatal)?;
        }
        Ok(tape)
    }

    fn create(paths: &Paths, number: u32) -> io::Result<File> {
        fail::fail_point!("store::roll", |_| Err(io::Error::other("failpoint")));
        segment::create(&paths.log, number)
    }

    /// The next segment.
    pub(crate) fn roll(&self, frames: &[(u8, Vec<u8>)]) -> Result<Self, Trouble> {
        Self::begin(&self.paths, &self.identity, &self.counters, self.number + 1, frames)
    }

    pub(crate) fn begin_group(&mut self) {
        self.buffer.clear();
        self.outline.cut_back();
        self.mark_group();
    }

    fn mark_group(&mut self) {
        let synced = self.synced.to_le_bytes();
        self.push(kind::GROUP, &synced);
    }

    /// Adds a frame to the group. Returns where it will stand.
    pub(crate) fn push(&mut self, kind: u8, payload: &[u8]) -> u64 {
        let offset = frame::push(&mut self.buffer, self.end, self.seed, kind, &[payload]);
        self.outline.add(offset, frame::HEAD + payload.len(), kind, payload);
        offset
    }

    /// Adds a journal entry: where it belongs, and what its caller encoded. Returns where it will stand.
    pub(crate) fn push_entry(&mut self, stream: u64, sequence: u64, encoded: &[u8]) -> u64 {
        let place = entry::place(stream, sequence);
        let parts: [&[u8]; 2] = [&place, encoded];
        let offset = frame::push(&mut self.buffer, self.end, self.seed, kind::ENTRY, &parts);
        self.outline.add_entry(offset, frame::HEAD + place.len() + encoded.len(), &place, encoded);
        offset
    }

    /// What is on disk, in short; for the side file once nothing more is written.
    pub(crate) fn write_outline(&self) -> io::Result<()> {
        self.outline.write(&self.paths.log, &self.identity, self.number, self.end)
    }

    /// Writes the group, not yet durably.
    pub(crate) fn write(&mut self) -> Result<(), Trouble> {
        match self.write_buffer() {
            Ok(()) => {
                self.end += self.buffer.len() as u64;
                self.outline.keep();
                Counters::add(&self.counters.written_bytes, self.buffer.len() as u64);
                Ok(())
            }
            Err(error) if is_no_space(&error) => match self.file.set_len(self.end) {
                Ok(()) => Err(Trouble::NoSpace(error)),
                Err(error) => Err(Trouble::Fatal(error)),
            },
            Err(error) => Err(Trouble::Fatal(error)),
        }
    }

    fn write_buffer(&self) -> io::Result<()> {
        fail::fail_point!("store::before_write", |kind| Err(injected(kind.as_deref())));
        self.file.write_all_at(&self.buffer, self.end)?;
        fail::fail_point!("store::after_write_before_sync");
        Ok(())
    }

    /// A failed sync says nothing of what is on disk, and a second one would lie: it is always fatal.
    pub(crate) fn sync(&mut self) -> Result<(), Trouble> {
        Counters::add(&self.counters.syncs, 1);
        let start = Instant::now();
        self.sync_file().map_err(Trouble::Fatal)?;
        self.counters.note_sync(start.elapsed());
        self.synced = self.end;
        Ok(())
    }

    fn sync_file(&self) -> io::Result<()> {
        fail::fail_point!("store::sync", |kind| Err(injected(kind.as_deref())));
        fail::fail_point!("planted::sync_again", |_| self
            .file
            .sync_data()
            .or_else(|_| self.file.sync_data()));
        self.file.sync_data()?;
        fail::fail_point!("store::after_sync");
        Ok(())
    }

    /// As the index has it.
    pub(crate) fn segment(&self) -> Segment {
        Segment::new(Arc::clone(&self.file), self.seed, self.end)
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.synced == self.end
    }

    pub(crate) fn length(&self) -> u64 {
        self.end
    }
}

fn trouble(error: io::Error) -> Trouble {
    if is_no_space(&error) { Trouble::NoSpace(error) } else { Trouble::Fatal(error) }
}

/// The error that a failpoint asks for: `return(full)` or any other.
#[cfg_attr(not(feature = "failpoints"), expect(dead_code, reason = "only failpoints call it"))]
fn injected(kind: Option<&str>) -> io::Error {
    match kind {
        Some("full") => io::ErrorKind::StorageFull.into(),
        _ => io::Error::other("failpoint"),
    }
}
