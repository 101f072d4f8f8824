//! What the sink had confirmed of each file: written down by the engine, read back at the next opening.

use std::collections::BTreeMap;
use std::path::PathBuf;

use karez_api::{Fault, Mark, Millis};
use serde::{Deserialize, Serialize};

/// Files whose lengths are kept, those open among them.
pub(crate) const MAX_FILES: usize = 256;

/// A file's identity and the length up to which every byte is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confirmed {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) length: u64,
    /// When it was last written to, in milliseconds.
    pub(crate) at: u64,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u8,
    at: u64,
    files: BTreeMap<PathBuf, Confirmed>,
}

/// All confirmed lengths, and when the last was confirmed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) at: Option<Millis>,
    pub(crate) files: BTreeMap<PathBuf, Confirmed>,
}

impl Ledger {
    /// # Errors
    /// Class fatal: the mark is not one of ours, and to guess would lose or repeat records.
    pub(crate) fn read(mark: Option<&Mark>) -> Result<Self, Fault> {
        let Some(mark) = mark else {
            return Ok(Self::default());
        };
        let damaged = |error| Fault::fatal(format_args!("saved mark of this sink is damaged: {error}"));
        let written: Written = serde_json::from_slice(&mark.0).map_err(damaged)?;
        if written.version != 1 {
            return Err(Fault::fatal("saved mark of this sink was written by a newer karez"));
        }
        Ok(Self { at: Some(Millis(written.at)), files: written.files })
    }

    pub(crate) fn mark(&self) -> Option<Mark> {
        let at = self.at.unwrap_or_default().0;
        let written = Written { version: 1, at, files: self.files.clone() };
        serde_json::to_vec(&written).ok().map(|bytes| Mark(bytes.into()))
    }

    /// Forgets the files that were not written to for longest.
    pub(crate) fn trim(&mut self) {
        while self.files.len() > MAX_FILES {
            let oldest = self.files.iter().min_by_key(|(_, confirmed)| confirmed.at);
            let Some(path) = oldest.map(|(path, _)| path.clone()) else {
                return;
            };
            self.files.remove(&path);
        }
    }
}
