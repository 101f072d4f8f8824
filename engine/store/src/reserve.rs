//! Space set aside for what must still be written on a full disk: settlements, confirmations, keys, dead letters.
//!
//! A file holds it. It is given back to the disk when a write finds no space, and set aside again once the disk
//! has space to spare.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FallocateFlags, fallocate};

use crate::folder::sync_folder;

/// Bytes set aside.
pub(crate) const SIZE: u64 = 8 << 20;

#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    held: Mutex<bool>,
}

impl Reserve {
    /// Nothing is set aside before the first [`Reserve::refill`].
    pub(crate) fn new(root: &Path) -> Self {
        Self { path: root.join("reserve"), held: Mutex::new(false) }
    }

    /// Sets the space aside where it is not and more than that is free beyond `floor`. A disk that cannot do so
    /// (no `fallocate`) has no reserve.
    pub(crate) fn refill(&self, free: u64, floor: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if *held || free < floor.saturating_add(2 * SIZE) {
            return;
        }
        *held = true;
        if let Err(error) = self.create() {
            tracing::debug!(%error, "no space can be set aside for a full disk");
        }
    }

    fn create(&self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
        fallocate(&file, FallocateFlags::empty(), 0, SIZE)?;
        file.sync_all()
    }

    /// Gives the space back. Returns whether there was any.
    pub(crate) fn release(&self) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = false;
        let removed = fs::remove_file(&self.path).is_ok();
        if removed {
            tracing::warn!(bytes = SIZE, "the disk is full, its reserve is given back");
            // Some file systems give blocks back only with the removal's own sync; without it they come later.
            if let Err(error) = self.path.parent().map_or(Ok(()), sync_folder) {
                tracing::debug!(%error, "the removal of the reserve could not be synced");
            }
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_set_aside_only_where_there_is_plenty_and_given_back_once() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(folder.path());
        reserve.refill(SIZE, 0);
        assert!(!reserve.release());
        reserve.refill(100 * SIZE, SIZE);
        assert_eq!(fs::metadata(&reserve.path).unwrap().len(), SIZE);
        assert!(reserve.release());
        assert!(!reserve.release());
        reserve.refill(100 * SIZE, SIZE);
        assert!(reserve.release());
    }
}
