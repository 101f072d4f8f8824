//! Keys that no longer fit in memory: sorted on disk, behind a filter, one read per look-up that passes it.
//!
//! The file has no name and no second life: it is made from memory and gone with the process. After a start the
//! slices' own files are read again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::filter::Filter;

/// Hash and time.
const BYTES: usize = 24;
/// Keys between two fence posts; one read of 3 KiB.
const STRIDE: usize = 128;

#[derive(Debug)]
pub(crate) struct Sorted {
    file: File,
    len: usize,
    /// The first hash of each stride.
    fence: Vec<u128>,
    filter: Filter,
}

impl Sorted {
    /// Writes sorted keys to a file in `folder` that is unlinked at once.
    pub(crate) fn create(folder: &Path, keys: &[(u128, u64)]) -> io::Result<Self> {
        let path = folder.join("sorted.tmp");
        let options = OpenOptions::new().create(true).truncate(true).read(true).write(true).clone();
        let file = options.open(&path)?;
        fs::remove_file(&path)?;
        for (number, keys) in keys.chunks(STRIDE * 64).enumerate() {
            let mut out = Vec::with_capacity(keys.len() * BYTES);
            for (hash, at) in keys {
                out.extend_from_slice(&hash.to_le_bytes());
                out.extend_from_slice(&at.to_le_bytes());
            }
            file.write_all_at(&out, (number * STRIDE * 64 * BYTES) as u64)?;
        }
        let fence = keys.iter().step_by(STRIDE).map(|(hash, _)| *hash).collect();
        let mut filter = Filter::new(keys.len());
        keys.iter().for_each(|(hash, _)| filter.add(*hash));
        Ok(Self { file, len: keys.len(), fence, filter })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn memory(&self) -> usize {
        self.filter.memory() + self.fence.len() * size_of::<u128>()
    }

    /// The newest time of a hash. A failing read counts as unknown: the event passes rather than vanishes.
    pub(crate) fn get(&self, hash: u128) -> Option<u64> {
        if !self.filter.may_hold(hash) {
            return None;
        }
        // Equal hashes can begin in the stride before the post that equals them.
        let last = self.fence.partition_point(|post| *post <= hash).checked_sub(1)?;
        let first = self.fence.partition_point(|post| *post < hash).saturating_sub(1);
        (first..=last)
            .flat_map(|stride| self.stride(stride))
            .filter(|key| key.0 == hash)
            .map(|key| key.1)
            .max()
    }

    fn stride(&self, number: usize) -> Vec<(u128, u64)> {
        let start = number * STRIDE;
        let count = STRIDE.min(self.len.saturating_sub(start));
        let mut bytes = vec![0; count * BYTES];
        if let Err(error) = self.file.read_exact_at(&mut bytes, (start * BYTES) as u64) {
            tracing::error!(%error, "dedup keys cannot be read, duplicates may pass");
            return Vec::new();
        }
        let mut reader = crate::codec::Reader::new(&bytes);
        std::iter::from_fn(|| Some((reader.u128()?, reader.u64()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<(u128, u64)> = (0..10_000).map(|n| (n * 3, n as u64)).collect();
        let sorted = Sorted::create(folder.path(), &keys).unwrap();
        for (hash, at) in keys {
            assert_eq!(sorted.get(hash), Some(at));
            assert_eq!(sorted.get(hash + 1), None);
        }
    }
}
