//! Bugs that a test build can switch on, to show that its judge would catch them. In any other build all of
//! them are off, at compile time. `ack_before_sync` and `sync_again` stand where they act.

use std::path::Path;
use std::{fs, io};

use crate::folder::sync_folder;

/// Dedup keys are durable before the entries that they stand for.
pub(crate) fn mark_before_entry() -> bool {
    fail::fail_point!("planted::mark_before_entry", |_| true);
    false
}

/// A new segment gets its name last, and the folder is not synced after that.
pub(crate) fn rename_without_folder_sync() -> bool {
    fail::fail_point!("planted::rename_without_folder_sync", |_| true);
    false
}

/// Leaves `path` with a name that a power cut takes away.
pub(crate) fn name_last(path: &Path) -> io::Result<()> {
    let before = path.with_extension("new");
    fs::rename(path, &before)?;
    path.parent().map_or(Ok(()), sync_folder)?;
    fs::rename(&before, path)
}
