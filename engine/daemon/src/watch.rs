//! Tells when files have changed and come to rest. A file that is still open for writing is not at rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::warn;

use crate::load::{base, is_yaml};

/// Files must be left alone for so long. One that is still open for writing is waited for in any case.
const QUIET: Duration = Duration::from_millis(50);
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
    watcher: RecommendedWatcher,
    wanted: Vec<Folder>,
    /// What is watched, with the identity it had then: a folder that was made anew is another one.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    changes: mpsc::Receiver<Change>,
    debounce: Debounce,
}

/// A folder that matters, whether it is there or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Folder {
    path: PathBuf,
    /// With the folders in it.
    deep: bool,
}

impl Watch {
    /// # Errors
    /// The system cannot watch (no inotify, too many watches).
    pub(crate) fn start(paths: &[PathBuf]) -> Result<Self> {
        let (to, changes) = mpsc::channel(WAITING);
        let wanted = wanted(paths);
        let folders = wanted.clone();
        let tell = move |event: notify::Result<notify::Event>| {
            // An error (an overflow) may hide a change, so it counts as one.
            let hidden = || vec![Change::Complete(PathBuf::new())];
            let all = event.map_or_else(|_| hidden(), |event| relevant(&event, &folders));
            // A full queue has a change in it already.
            all.into_iter().for_each(|change| drop(to.try_send(change)));
        };
        let watcher = notify::recommended_watcher(tell).context("cannot watch files")?;
        let (watched, debounce) = (BTreeMap::new(), Debounce::default());
        let mut watch = Self { watcher, wanted, watched, changes, debounce };
        watch.renew()?;
        Ok(watch)
    }

    /// Watches what is there now and was not before.
    fn renew(&mut self) -> Result<()> {
        for Folder { path, deep } in &self.wanted {
            let identity = std::fs::metadata(path).ok().filter(Metadata::is_dir).map(|f| (f.dev(), f.ino()));
            if self.watched.get(path).copied() == identity {
                continue;
            }
            if self.watched.remove(path).is_some() {
                // It went away together with its watch.
                self.watcher.unwatch(path).ok();
            }
            if let Some(identity) = identity {
                let mode = if *deep { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
                self.watcher.watch(path, mode).with_context(|| format!("cannot watch {}", path.display()))?;
                self.watched.insert(path.clone(), identity);
            }
        }
        Ok(())
    }

    /// Returns once something has changed and everything has come to rest. May be dropped and called again.
    pub(crate) async fn changed(&mut self) {
        loop {
            let due = self.debounce.due();
            tokio::select! {
                Some(change) = self.changes.recv() => self.debounce.note(change, now()),
                () = rest(due) => {
                    self.debounce = Debounce::default();
                    if let Err(error) = self.renew() {
                        warn!(error = format!("{error:#}"), "some files are not watched; reload with SIGHUP or the admin API");
                    }
                    return;
                }
            }
        }
    }
}

/// The folders of the pipelines, what stands beside them (`.env`), and `schemas/` there.
fn wanted(paths: &[PathBuf]) -> Vec<Folder> {
    let mut folders = BTreeMap::new();
    let mut want = |path: PathBuf, deep: bool| {
        let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path };
        *folders.entry(path).or_insert(false) |= deep;
    };
    for path in paths {
        match path.is_file() {
            true => want(path.parent().map(Path::to_owned).unwrap_or_default(), false),
            false => want(path.clone(), true),
        }
        want(base(path), false);
        want(base(path).join("schemas"), true);
    }
    folders.into_iter().map(|(path, deep)| Folder { path, deep }).collect()
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

fn relevant(event: &notify::Event, folders: &[Folder]) -> Vec<Change> {
    let complete = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Remove(_) => true,
        EventKind::Create(CreateKind::Folder) => true,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) | EventKind::Create(_) => false,
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Any => true,
        _ => return Vec::new(),
    };
    let matters =
        event.paths.iter().filter(|path| is_ours(path) || (complete && may_be_folder(path, folders)));
    matters
        .map(|path| if complete { Change::Complete(path.clone()) } else { Change::Writing(path.clone()) })
        .collect()
}

fn is_ours(path: &Path) -> bool {
    is_yaml(path) || path.extension().is_some_and(|extension| extension == "json") || path.ends_with(".env")
}

/// A folder of ours, one in it, or the link by which an orchestrator swaps one (`..data`).
fn may_be_folder(path: &Path, folders: &[Folder]) -> bool {
    let link = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".."));
    folders.iter().any(|folder| {
        let inside = folder.deep && path.starts_with(&folder.path);
        (inside && (link || path.extension().is_none())) || folder.path.file_name() == path.file_name()
    })
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
        assert_eq!(debounce.due(), Some(at(950)));
        debounce.note(Change::Complete(file), at(2_990));
        assert_eq!(debounce.due(), Some(at(3_000)), "not for ever");
    }

    #[tokio::test]
    async fn folders_that_appear_later_are_watched_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (pipelines, schemas) = (folder.path().join("pipelines"), folder.path().join("schemas"));
        std::fs::create_dir(&pipelines).unwrap();
        let mut watch = Watch::start(std::slice::from_ref(&pipelines)).unwrap();
        for make in [
            &|| std::fs::create_dir(&schemas),
            &|| std::fs::write(schemas.join("user.schema.json"), "{}"),
            &|| std::fs::write(folder.path().join(".env"), "A=1"),
            &|| std::fs::remove_dir_all(&pipelines),
            &|| std::fs::create_dir(&pipelines),
            &|| std::fs::write(pipelines.join("a.yaml"), "name: a"),
        ] as [&dyn Fn() -> std::io::Result<()>; 6]
        {
            make().unwrap();
            watch.changed().await;
        }
        let folders = wanted(&[pipelines]);
        let event = |path: &str| {
            let path = folder.path().join(path);
            let event = notify::Event::new(EventKind::Create(CreateKind::Folder)).add_path(path);
            relevant(&event, &folders).len()
        };
        assert_eq!(["out.ndjson", "data", "schemas", "pipelines/sub"].map(event), [0, 0, 1, 1]);
    }
}
