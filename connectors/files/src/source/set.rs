//! All files of a source: which are read, in which turn, and what became of those that were renamed or emptied.
//!
//! Synchronous on purpose: it runs on a thread that may block, one call per batch.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::Metadata;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use karez_api::{Batch, Clock, Fault, Lane, NoAck, Position, Positions};
use tracing::warn;

use super::frame::More;
use super::identity::{Head, Inode, Name, first_bytes};
use super::position::Place;
use super::reader::{FileReader, Next, open};
use super::{Options, Start};

/// Files open at once; of those that are followed and through, the ones beyond it are looked at without being open.
const MAX_OPEN: usize = 16;
const MAX_FOLLOWED: usize = 256;
/// Looks at a renamed or removed file before it is given up: its writer may still hold it.
const LAST_LOOKS: u32 = 10;
/// Contents of one file whose places are kept.
const CONTENTS: usize = 3;
/// A place is forgotten when its file was not found for so long: it may have been on a disk that is away for a while.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3_600);

pub(crate) struct FileSet {
    options: Arc<Options>,
    source: Arc<str>,
    clock: Arc<dyn Clock>,
    known: HashMap<Inode, Known>,
    reading: Vec<Reading>,
    waiting: VecDeque<PathBuf>,
    gone: VecDeque<Name>,
    turn: usize,
    next_look: Option<Instant>,
}

/// What is known of a file that is not being read.
struct Known {
    /// Where each of its contents was left, the newest last.
    places: Vec<(Name, Place)>,
    /// How it was when it was read to its end: so it need not be read again.
    through: Option<Stamp>,
    /// Since when no path leads to it.
    missing: Option<Instant>,
}

/// Tells a file that has changed from one that has not.
#[derive(PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { length: metadata.len(), modified: metadata.modified().ok() }
    }
}

struct Reading {
    reader: FileReader,
    /// It may have something to read.
    ready: bool,
    /// Looks since its path was last found.
    missing: u32,
}

/// What one step gave.
pub(crate) enum Step {
    Batch(Batch),
    /// Nothing now; look again after this time.
    Idle(Duration),
    Ended,
}

impl FileSet {
    pub(crate) fn new(
        options: Arc<Options>,
        source: Arc<str>,
        clock: Arc<dyn Clock>,
        positions: &BTreeMap<Lane, Position>,
    ) -> Self {
        let mut set = Self {
            options,
            source,
            clock,
            known: HashMap::new(),
            reading: Vec::new(),
            waiting: VecDeque::new(),
            gone: VecDeque::new(),
            turn: 0,
            next_look: None,
        };
        for (lane, position) in positions {
            if let (Some(name), Some(place)) = (Name::parse(&lane.0), Place::read(position)) {
                set.know(name, place, None);
            }
        }
        set
    }

    fn know(&mut self, name: Name, place: Place, through: Option<Stamp>) {
        let known = self.known.entry(name.inode).or_insert_with(|| Known {
            places: Vec::new(),
            through: None,
            missing: None,
        });
        known.places.retain(|(other, _)| *other != name);
        known.places.push((name, place));
        known.places.sort_by_key(|(name, _)| name.generation);
        known.through = through;
        // Of what a file held before, the last two contents are enough to know a third one as new.
        let old = known.places.len().saturating_sub(CONTENTS);
        self.gone.extend(known.places.drain(..old).map(|(name, _)| name));
    }

    /// # Errors
    /// A folder or file could not be read: class service.
    pub(crate) fn step(&mut self) -> Result<Step, Fault> {
        let now = self.clock.instant();
        let first = self.next_look.is_none();
        if self.next_look.is_none_or(|at| self.options.follow && at <= now) {
            self.look().map_err(|error| Fault::service(error).with_code("file"))?;
            self.next_look = Some(now + self.options.poll);
        }
        if let Some(name) = self.gone.pop_front() {
            return Ok(Step::Batch(gone(name)));
        }
        self.open_waiting(first).map_err(|error| Fault::service(error).with_code("file"))?;
        while let Some(index) = self.next_ready() {
            let path = self.reading[index].reader.path.display().to_string();
            if let Some(batch) = self
                .read(index)
                .map_err(|error| Fault::service(format_args!("{path}: {error}")).with_code("file"))?
            {
                return Ok(Step::Batch(batch));
            }
            self.open_waiting(false).map_err(|error| Fault::service(error).with_code("file"))?;
        }
        if !self.options.follow {
            return Ok(Step::Ended);
        }
        let wait = self.next_look.map(|at| at.saturating_duration_since(self.clock.instant()));
        Ok(Step::Idle(wait.unwrap_or(self.options.poll)))
    }

    fn next_ready(&mut self) -> Option<usize> {
        let count = self.reading.len();
        let index = (0..count).map(|n| (self.turn + n) % count).find(|at| self.reading[*at].ready)?;
        self.turn = index + 1;
        Some(index)
    }

    fn read(&mut self, index: usize) -> io::Result<Option<Batch>> {
        let entry = &mut self.reading[index];
        let is_last = !self.options.follow || entry.missing > LAST_LOOKS;
        let more = if is_last { More::Never } else { More::Possible };
        match entry.reader.next(more, &self.source, self.clock.now())? {
            Next::Batch(batch) => return Ok(Some(batch)),
            Next::End if is_last => self.leave(index, None),
            Next::End => entry.ready = false,
            Next::Replaced => {
                warn!(file = %entry.reader.path.display(), "file was emptied or written anew, it is read from its start");
                let path = entry.reader.path.clone();
                entry.reader.never_again();
                self.leave(index, None);
                self.waiting.push_back(path);
            }
        }
        Ok(None)
    }

    /// Closes a file and keeps in mind where it was left.
    fn leave(&mut self, index: usize, through: Option<Stamp>) {
        let reader = self.reading.remove(index).reader;
        if let Some(name) = Name::parse(&reader.lane().0) {
            self.know(name, reader.place_reached(), through);
        }
    }

    /// Finds new files, and which of those being read were renamed, removed or have grown.
    fn look(&mut self) -> io::Result<()> {
        let mut found = BTreeMap::new();
        for glob in &self.options.globs {
            glob.list(&mut found)?;
        }
        if found.is_empty() && !self.options.follow {
            warn!(source = %self.source, "no file matches the paths of this source");
        }
        for entry in &mut self.reading {
            entry.missing += 1;
            entry.ready |= entry.missing > 1;
        }
        let open: HashMap<Inode, usize> =
            self.reading.iter().enumerate().map(|(at, entry)| (entry.reader.inode, at)).collect();
        let waiting: HashSet<PathBuf> = self.waiting.iter().cloned().collect();
        let mut seen = HashSet::new();
        for (path, metadata) in found {
            let inode = Inode::of(&metadata);
            // Of several paths to one file, the first one counts.
            if !seen.insert(inode) {
                continue;
            }
            match open.get(&inode) {
                Some(at) => {
                    let entry = &mut self.reading[*at];
                    entry.missing = 0;
                    entry.ready = true;
                    entry.reader.renamed(path);
                }
                None if metadata.len() > 0
                    && !waiting.contains(&path)
                    && !self.is_through(inode, &metadata) =>
                {
                    self.waiting.push_back(path);
                }
                None => {}
            }
        }
        self.forget_missing(&seen, &open);
        Ok(())
    }

    fn is_through(&self, inode: Inode, metadata: &Metadata) -> bool {
        let through = self.known.get(&inode).and_then(|known| known.through.as_ref());
        through.is_some_and(|stamp| *stamp == Stamp::of(metadata))
    }

    fn forget_missing(&mut self, seen: &HashSet<Inode>, open: &HashMap<Inode, usize>) {
        let (now, gone) = (self.clock.instant(), &mut self.gone);
        self.known.retain(|inode, known| {
            if seen.contains(inode) || open.contains_key(inode) {
                known.missing = None;
            } else if now.saturating_duration_since(*known.missing.get_or_insert(now)) >= FORGET_AFTER {
                gone.extend(known.places.iter().map(|(name, _)| *name));
                return false;
            }
            true
        });
    }

    /// Whether another file may be opened; one that is through is closed for it.
    fn has_room(&mut self) -> io::Result<bool> {
        if !self.options.follow {
            return Ok(self.reading.len() < MAX_OPEN);
        }
        if self.reading.len() < MAX_FOLLOWED {
            return Ok(true);
        }
        for at in 0..self.reading.len() {
            let entry = &self.reading[at];
            let metadata = entry.reader.metadata()?;
            // What ends in the middle of a record is given when its file is: it stays open until then.
            if !entry.ready && entry.missing == 0 && entry.reader.place_reached().offset == metadata.len() {
                self.leave(at, Some(Stamp::of(&metadata)));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn open_waiting(&mut self, first: bool) -> io::Result<()> {
        while !self.waiting.is_empty() && self.has_room()? {
            let Some(path) = self.waiting.pop_front() else {
                break;
            };
            let file = match open(&path) {
                Ok(file) => file,
                // Removed or renamed since it was listed: the next look finds it again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
                }
            };
            let metadata = file.metadata()?;
            if !metadata.is_file() || metadata.len() == 0 {
                continue;
            }
            let bytes = first_bytes(&file)?;
            let inode = Inode::of(&metadata);
            let (name, mut place) = self.identify(inode, &bytes, metadata.len());
            let is_new = place.is_none();
            if is_new && first && self.options.start == Start::End {
                place = Some(super::start::last_line(&file, metadata.len(), Head::of(&bytes))?);
            }
            let mut reader = FileReader::new(file, path, &name, place, &self.options)?;
            // Seen again when it has grown, a short one would be taken for another: its name is saved first.
            reader.unnamed = is_new && self.options.follow && !name.head.is_full();
            self.reading.push(Reading { reader, ready: true, missing: 0 });
        }
        Ok(())
    }

    /// The file's lane and where it was left: by inode and by all first bytes known of it.
    fn identify(&self, inode: Inode, bytes: &[u8], length: u64) -> (Name, Option<Place>) {
        let newest = self.known.get(&inode).and_then(|known| known.places.last());
        if let Some((name, place)) = newest
            && name.head.begins(bytes)
            && place.head.begins(bytes)
            && place.offset <= length
        {
            return (*name, Some(*place));
        }
        let generation = newest.map_or(0, |(name, _)| name.generation + 1);
        (Name { inode, head: Head::of(bytes), generation }, None)
    }
}

/// Says that a file is no more.
fn gone(name: Name) -> Batch {
    let lane = Lane::new(name.to_string());
    Batch { lane, records: Vec::new(), positions: Positions::Gone, ack: Box::new(NoAck) }
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
