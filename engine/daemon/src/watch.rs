//! Tells when files have changed and come to rest. A file that is still open for writing is not at rest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::load::{base, is_yaml};

/// Files must be left alone for so long.
const QUIET: Duration = Duration::from_millis(200);
/// A writer that never closes its file, or files that never rest, delay a reload at most so long.
const LONGEST: Duration = Duration::from_secs(3);
/// Changes that may be waiting to be looked at; beyond it they are one change more or less.
const WAITING: usize = 256;

/// A change of a file that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Writing(PathBuf),
    Complete(PathBuf),
}

/// Watches while it lives.
pub(crate) struct Watch {
    _watcher: RecommendedWatcher,
    changes: mpsc::Receiver<Change>,
    debounce: Debounce,
}

impl Watch {
    /// # Errors
    /// The system cannot watch (no inotify, too many watches).
    pub(crate) fn start(paths: &[PathBuf]) -> Result<Self> {
        let (to, changes) = mpsc::channel(WAITING);
        let tell = move |event: notify::Result<notify::Event>| {
            // An error (an overflow) may hide a change, so it counts as one.
            let all = event.map_or_else(|_| vec![Change::Complete(PathBuf::new())], |event| relevant(&event));
            // A full queue has a change in it already.
            all.into_iter().for_each(|change| drop(to.try_send(change)));
        };
        let mut watcher = notify::recommended_watcher(tell).context("cannot watch files")?;
        let mut folders = BTreeSet::new();
        for path in paths {
            let folder = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(Path::new(".")) };
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            folders.insert((folder.to_owned(), path.is_dir()));
            folders.insert((base(path), false));
            folders.insert((base(path).join("schemas"), true));
        }
        for (folder, deep) in folders.iter().filter(|(folder, _)| folder.is_dir()) {
            let mode = if *deep { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            watcher.watch(folder, mode).with_context(|| format!("cannot watch {}", folder.display()))?;
        }
        Ok(Self { _watcher: watcher, changes, debounce: Debounce::default() })
    }

    /// Returns once something has changed and everything has come to rest. May be dropped and called again.
    pub(crate) async fn changed(&mut self) {
        loop {
            let due = self.debounce.due();
            tokio::select! {
                Some(change) = self.changes.recv() => self.debounce.note(change, now()),
                () = rest(due) => {
                    self.debounce = Debounce::default();
                    return;
                }
            }
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn rest(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

fn relevant(event: &notify::Event) -> Vec<Change> {
    let complete = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Remove(_) => true,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) | EventKind::Create(_) => false,
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Any => true,
        _ => return Vec::new(),
    };
    let matters = event.paths.iter().filter(|path| {
        is_yaml(path)
            || path.extension().is_some_and(|extension| extension == "json")
            || path.ends_with(".env")
            || (complete && path.extension().is_none())
    });
    matters
        .map(|path| if complete { Change::Complete(path.clone()) } else { Change::Writing(path.clone()) })
        .collect()
}

/// When to look: after a rest, with no file half-written, or after [`LONGEST`] in any case.
#[derive(Debug, Default)]
struct Debounce {
    first: Option<Instant>,
    last: Option<Instant>,
    open: BTreeSet<PathBuf>,
}

impl Debounce {
    fn note(&mut self, change: Change, at: Instant) {
        self.first.get_or_insert(at);
        self.last = Some(at);
        match change {
            Change::Writing(path) => drop(self.open.insert(path)),
            Change::Complete(path) => drop(self.open.remove(&path)),
        }
    }

    fn due(&self) -> Option<Instant> {
        let latest = self.first? + LONGEST;
        match self.open.is_empty() {
            true => Some(latest.min(self.last? + QUIET)),
            false => Some(latest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_looked_at_once_it_rests() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let file = PathBuf::from("a.yaml");
        let mut debounce = Debounce::default();
        assert_eq!(debounce.due(), None);
        debounce.note(Change::Writing(file.clone()), at(0));
        assert_eq!(debounce.due(), Some(at(3_000)), "half-written");
        debounce.note(Change::Complete(file.clone()), at(900));
        assert_eq!(debounce.due(), Some(at(1_100)));
        debounce.note(Change::Complete(file), at(2_950));
        assert_eq!(debounce.due(), Some(at(3_000)), "not for ever");
    }
}
