//! The files of dedup slices: keys in frames, appended when a segment of the log is sealed, unlinked when over.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use super::{Dedup, Key, Slice, Sorted};
use crate::codec::Reader;
use crate::folder::{Identity, sync_folder};
use crate::frame::{self, Part};

const KEYS: u8 = 1;
const ENDING: &str = "keys";
/// Keys in one frame, at most.
const AT_ONCE: usize = 4096;
const MAX_FRAME: usize = frame::HEAD + AT_ONCE * Key::BYTES;
/// Bytes that are read at once.
const WINDOW: usize = if cfg!(test) { 4 * MAX_FRAME } else { 4 << 20 };

/// The folder of slices.
#[derive(Debug)]
pub(crate) struct Slices {
    folder: PathBuf,
    identity: Identity,
    /// Where the next frame of a slice goes.
    ends: BTreeMap<Slice, u64>,
}

/// What reading a slice's file gave.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) keys: u64,
    /// Bytes in front of the first that cannot be read to the end.
    pub(crate) whole: u64,
    /// Regions that cannot be read although something follows: offset and length.
    pub(crate) damage: Vec<(u64, u64)>,
}

fn name(slice: Slice) -> String {
    format!("{:02}-{:016x}.{ENDING}", slice.class, slice.bucket)
}

fn slice_of(path: &Path) -> Option<Slice> {
    let name = path.file_name()?.to_str()?;
    let (class, bucket) = name.strip_suffix(ENDING)?.strip_suffix('.')?.split_once('-')?;
    let slice = Slice { class: class.parse().ok()?, bucket: u64::from_str_radix(bucket, 16).ok()? };
    (slice.class <= super::MAX_CLASS && self::name(slice) == name).then_some(slice)
}

impl Slices {
    pub(crate) fn new(folder: &Path, identity: &Identity) -> Self {
        Self { folder: folder.to_owned(), identity: identity.clone(), ends: BTreeMap::new() }
    }

    /// The slices there are.
    pub(crate) fn list(&self) -> io::Result<Vec<Slice>> {
        let mut found = Vec::new();
        for item in fs::read_dir(&self.folder)? {
            found.extend(slice_of(&item?.path()));
        }
        Ok(found)
    }

    pub(crate) fn path(&self, slice: Slice) -> PathBuf {
        self.folder.join(name(slice))
    }

    /// Reads a slice's file, a window at a time, and hands out its keys.
    pub(crate) fn load(&self, slice: Slice, mut take: impl FnMut(&[Key])) -> io::Result<Loaded> {
        let file = File::open(self.path(slice))?;
        let seed = self.seed(slice);
        let mut loaded = Loaded::default();
        let mut bad = None;
        let mut at = 0;
        loop {
            let mut window = Vec::with_capacity(WINDOW);
            let mut rest = &file;
            rest.seek(SeekFrom::Start(at))?;
            rest.take(WINDOW as u64).read_to_end(&mut window)?;
            let mut keys = Vec::new();
            for part in frame::scan(&window, at, 0, seed) {
                match part {
                    Part::Bad { offset, .. } => bad = bad.or(Some(offset)),
                    Part::Frame { offset, frame } => {
                        loaded.damage.extend(bad.take().map(|start| (start, offset - start)));
                        loaded.whole = offset + frame.length() as u64;
                        let mut reader = Reader::new(frame.payload);
                        keys.extend(std::iter::from_fn(|| Key::take(&mut reader)));
                    }
                }
            }
            loaded.keys += keys.len() as u64;
            take(&keys);
            if window.len() < WINDOW {
                return Ok(loaded);
            }
            // A frame that the window cuts is read again; where none is whole, one may still begin near the end.
            if loaded.whole > at {
                bad = None;
                at = loaded.whole;
            } else {
                at += (WINDOW - MAX_FRAME) as u64;
            }
        }
    }

    /// Takes in all slices that are not over, no more of them into memory than the budget allows. A torn end is
    /// overwritten by the next append: the log still has those keys. Returns how many regions are damaged.
    pub(crate) fn recover(&mut self, dedup: &RwLock<Dedup>, budget: usize) -> io::Result<u64> {
        let mut damaged = 0;
        for slice in self.list()? {
            let loaded = self.load(slice, |keys| {
                insert(keys, dedup);
                if let Err(error) = self.keep_to(budget, dedup) {
                    tracing::warn!(%error, "dedup keys beyond their memory budget could not be moved to disk");
                }
            })?;
            for (offset, length) in &loaded.damage {
                let file = self.path(slice);
                tracing::error!(file = %file.display(), offset, length, "dedup keys are damaged, duplicates may pass");
                damaged += 1;
            }
            self.ends.insert(slice, loaded.whole);
        }
        Ok(damaged)
    }

    /// Appends keys to their slices, durably.
    pub(crate) fn append(&mut self, keys: &[Key], dedup: &RwLock<Dedup>) -> io::Result<()> {
        let mut by_slice: BTreeMap<Slice, Vec<Key>> = BTreeMap::new();
        {
            let dedup = dedup.read().unwrap_or_else(PoisonError::into_inner);
            for key in keys.iter().filter(|key| !dedup.is_over(key.slice())) {
                by_slice.entry(key.slice()).or_default().push(*key);
            }
        }
        let mut created = false;
        for (slice, keys) in by_slice {
            created |= self.append_to(slice, &keys)?;
        }
        if created { sync_folder(&self.folder) } else { Ok(()) }
    }

    /// Returns whether the file is new.
    fn append_to(&mut self, slice: Slice, keys: &[Key]) -> io::Result<bool> {
        let end = self.ends.get(&slice).copied();
        let start = end.unwrap_or_default();
        let mut out = Vec::new();
        for keys in keys.chunks(AT_ONCE) {
            let mut payload = Vec::with_capacity(keys.len() * Key::BYTES);
            for key in keys {
                key.put(&mut payload);
            }
            frame::push(&mut out, start, self.seed(slice), KEYS, &[&payload]);
        }
        let options = OpenOptions::new().create(true).truncate(false).write(true).clone();
        let file = options.open(self.path(slice))?;
        file.set_len(start)?;
        file.write_all_at(&out, start)?;
        file.sync_data()?;
        self.ends.insert(slice, start + out.len() as u64);
        Ok(end.is_none())
    }

    /// Drops what is over and keeps to the memory budget.
    pub(crate) fn tend(&mut self, dedup: &RwLock<Dedup>, budget: usize) -> io::Result<()> {
        let over: Vec<Slice> = {
            let mut dedup = dedup.write().unwrap_or_else(PoisonError::into_inner);
            dedup.expire();
            self.ends.keys().copied().filter(|slice| dedup.is_over(*slice)).collect()
        };
        for slice in &over {
            fs::remove_file(self.path(*slice))?;
            self.ends.remove(slice);
        }
        if !over.is_empty() {
            sync_folder(&self.folder)?;
        }
        self.keep_to(budget, dedup)
    }

    /// Moves the largest tables to disk while all of them take more than the budget.
    fn keep_to(&self, budget: usize, dedup: &RwLock<Dedup>) -> io::Result<()> {
        loop {
            let largest = {
                let dedup = dedup.read().unwrap_or_else(PoisonError::into_inner);
                if dedup.tables() <= budget {
                    return Ok(());
                }
                dedup.largest_table()
            };
            let Some(slice) = largest else { return Ok(()) };
            self.spill(slice, dedup)?;
        }
    }

    /// Only this thread changes keys, so what is read first is still all when it is taken out of memory.
    fn spill(&self, slice: Slice, dedup: &RwLock<Dedup>) -> io::Result<()> {
        let mut keys: Vec<(u128, u64)> = {
            let dedup = dedup.read().unwrap_or_else(PoisonError::into_inner);
            let table = dedup.slices.get(&slice).map(|keys| &keys.memory);
            table.into_iter().flatten().map(|(hash, at)| (hash.join(), *at)).collect()
        };
        keys.sort_unstable();
        let sorted = Sorted::create(&self.folder, &keys)?;
        let mut dedup = dedup.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(of) = dedup.slices.get_mut(&slice) {
            of.memory = HashMap::default();
            of.disk.push(sorted);
        }
        Ok(())
    }

    fn seed(&self, slice: Slice) -> u32 {
        self.identity.seed(&name(slice))
    }
}

fn insert(keys: &[Key], dedup: &RwLock<Dedup>) {
    let mut dedup = dedup.write().unwrap_or_else(PoisonError::into_inner);
    for key in keys {
        dedup.insert(*key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::{Paths, identify};

    const SLICE: Slice = Slice { class: 1, bucket: 5 };

    fn key(n: u32) -> Key {
        Key { hash: u128::from(n) << 40, at: 5 * super::super::width(1), class: 1 }
    }

    /// A slice of several windows.
    fn written() -> (tempfile::TempDir, Slices, u32) {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path());
        let identity = identify(&paths).unwrap();
        fs::create_dir(&paths.dedup).unwrap();
        let mut slices = Slices::new(&paths.dedup, &identity);
        let count = u32::try_from(WINDOW / Key::BYTES * 2 + 1000).unwrap();
        let keys: Vec<Key> = (0..count).map(key).collect();
        for keys in keys.chunks(10_000) {
            slices.append(keys, &RwLock::default()).unwrap();
        }
        (folder, slices, count)
    }

    #[test]
    fn a_slice_is_read_window_by_window_around_what_is_damaged() {
        let (_folder, slices, count) = written();
        let load = || {
            let mut found = Vec::new();
            let loaded = slices.load(SLICE, |keys| found.extend_from_slice(keys)).unwrap();
            assert_eq!(loaded.keys, found.len() as u64);
            (loaded, found)
        };
        let path = slices.path(SLICE);
        let whole = fs::read(&path).unwrap();
        let (loaded, found) = load();
        assert_eq!((loaded.whole, loaded.damage.len()), (whole.len() as u64, 0));
        assert_eq!(found, (0..count).map(key).collect::<Vec<_>>());

        let mut bytes = whole.clone();
        bytes[WINDOW - 10] ^= 1;
        bytes[5] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (loaded, found) = load();
        assert_eq!((loaded.whole, loaded.damage.len()), (whole.len() as u64, 2), "{:?}", loaded.damage);
        assert!(found.len() + 2 * AT_ONCE >= count as usize);

        let mut bytes = whole.clone();
        bytes[1000..WINDOW * 3 / 2].fill(0);
        fs::write(&path, &bytes).unwrap();
        let (loaded, _) = load();
        assert_eq!((loaded.whole, loaded.damage.len()), (whole.len() as u64, 1), "{:?}", loaded.damage);

        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let (loaded, _) = load();
        assert!(loaded.damage.is_empty() && loaded.whole < whole.len() as u64 - 1);
    }

    #[test]
    fn what_is_over_goes_even_if_it_was_over_at_the_start() {
        let (_folder, mut slices, _) = written();
        let late = Key { at: 10 * super::super::width(1) * 8, ..key(1) };
        slices.append(&[late], &RwLock::default()).unwrap();
        let dedup = RwLock::default();
        insert(&[late], &dedup);
        slices.recover(&dedup, usize::MAX).unwrap();
        assert_eq!(dedup.read().unwrap().len(), 1);
        slices.tend(&dedup, usize::MAX).unwrap();
        assert_eq!(slices.list().unwrap(), [late.slice()]);
    }

    #[test]
    fn tables_beyond_the_budget_move_to_disk_while_their_slice_still_grows() {
        let (_folder, mut slices, count) = written();
        let dedup = RwLock::default();
        slices.recover(&dedup, 1 << 20).unwrap();
        insert(&[key(count)], &dedup);
        let dedup = dedup.into_inner().unwrap();
        assert!(dedup.tables() <= 2 << 20, "{}", dedup.tables());
        assert_eq!(dedup.len(), u64::from(count) + 1);
        let knows = |n| {
            let key = Key { at: key(n).at + 1, ..key(n) };
            dedup.knows(&super::super::Hashed { key, inherited: Vec::new(), ttl: 60_000 })
        };
        assert!((0..=count).step_by(97).all(knows) && knows(count));
        assert!(!(count + 1..count + 1000).any(knows));
    }
}
