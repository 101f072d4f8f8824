//! The files of dedup slices: keys in frames, appended when a segment of the log is sealed, unlinked when over.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use super::{Dedup, Key, Slice, Sorted};
use crate::codec::Reader;
use crate::folder::{Identity, sync_folder};
use crate::frame::{self, Part};

const KEYS: u8 = 1;
const ENDING: &str = "keys";
/// Keys in one frame.
const AT_ONCE: usize = 4096;

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
    pub(crate) keys: Vec<Key>,
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

    pub(crate) fn load(&self, slice: Slice) -> io::Result<Loaded> {
        let bytes = fs::read(self.path(slice))?;
        let mut loaded = Loaded::default();
        let mut bad = None;
        for part in frame::scan(&bytes, 0, self.seed(slice)) {
            match part {
                Part::Bad { offset, end } => bad = Some((offset, end - offset)),
                Part::Frame { offset, frame } => {
                    loaded.damage.extend(bad.take());
                    loaded.whole = offset + frame.length() as u64;
                    let mut reader = Reader::new(frame.payload);
                    loaded.keys.extend(std::iter::from_fn(|| Key::take(&mut reader)));
                }
            }
        }
        Ok(loaded)
    }

    /// Takes in all slices that are not over. A torn end is overwritten by the next append: the log still has
    /// those keys. Returns how many regions are damaged.
    pub(crate) fn recover(&mut self, dedup: &RwLock<Dedup>) -> io::Result<u64> {
        let mut damaged = 0;
        for slice in self.list()? {
            let loaded = self.load(slice)?;
            for (offset, length) in &loaded.damage {
                let file = self.path(slice);
                tracing::error!(file = %file.display(), offset, length, "dedup keys are damaged, duplicates may pass");
                damaged += 1;
            }
            let mut dedup = dedup.write().unwrap_or_else(PoisonError::into_inner);
            for key in loaded.keys {
                dedup.insert(key);
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
            frame::push(&mut out, start, self.seed(slice), KEYS, &payload);
        }
        let options = OpenOptions::new().create(true).truncate(false).write(true).clone();
        let file = options.open(self.path(slice))?;
        file.set_len(start)?;
        file.write_all_at(&out, start)?;
        file.sync_data()?;
        self.ends.insert(slice, start + out.len() as u64);
        Ok(end.is_none())
    }

    /// Drops what is over and, beyond the budget, moves the oldest sealed slices out of memory.
    pub(crate) fn tend(&mut self, dedup: &RwLock<Dedup>, budget: usize) -> io::Result<()> {
        let over = dedup.write().unwrap_or_else(PoisonError::into_inner).expire();
        let unlinked = self.unlink(&over)?;
        if unlinked {
            sync_folder(&self.folder)?;
        }
        loop {
            let oldest = {
                let dedup = dedup.read().unwrap_or_else(PoisonError::into_inner);
                if dedup.memory() <= budget {
                    return Ok(());
                }
                dedup.oldest_in_memory()
            };
            let Some(slice) = oldest else { return Ok(()) };
            self.spill(slice, dedup)?;
        }
    }

    fn unlink(&mut self, over: &[Slice]) -> io::Result<bool> {
        let mut any = false;
        for slice in over {
            if self.ends.remove(slice).is_some() {
                any = true;
                fs::remove_file(self.path(*slice))?;
            }
        }
        Ok(any)
    }

    /// Only this thread changes keys, so what is read first is still all when it is taken out of memory.
    fn spill(&self, slice: Slice, dedup: &RwLock<Dedup>) -> io::Result<()> {
        let mut keys: Vec<(u128, u64)> = {
            let dedup = dedup.read().unwrap_or_else(PoisonError::into_inner);
            let Some(of) = dedup.slices.get(&slice) else {
                return Ok(());
            };
            let join = |[low, high]: [u64; 2]| u128::from(high) << 64 | u128::from(low);
            let before = of.disk.iter().flat_map(Sorted::all);
            of.memory.iter().map(|(hash, at)| (join(*hash), *at)).chain(before).collect()
        };
        keys.sort_unstable();
        let sorted = Sorted::create(&self.folder, &keys)?;
        let mut dedup = dedup.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(of) = dedup.slices.get_mut(&slice) {
            *of = super::Keys { memory: Default::default(), disk: Some(sorted) };
        }
        Ok(())
    }

    fn seed(&self, slice: Slice) -> u32 {
        self.identity.seed(&name(slice))
    }
}
