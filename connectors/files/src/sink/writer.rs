//! Writes batches to files so that each batch is there once: whole and durable, or not at all.
//!
//! Synchronous: it runs on a thread that may block. It knows of every file how far it is
//! confirmed; whatever stands behind that was never confirmed and is cut off.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use karez_api::{Fault, Mark, Millis};
use tracing::warn;

use super::mark::{Confirmed, Ledger};
use super::rotate::{Rotation, folder_of, name_aside, prune};

/// Files that are open at once.
const MAX_OPEN: usize = 64;

pub(crate) struct Writer {
    rotation: Rotation,
    open: BTreeMap<PathBuf, Open>,
    ledger: Ledger,
    /// What the last batch would confirm; it does once its caller is known to have heard of it.
    unheard: Option<Ledger>,
}

struct Open {
    file: File,
    used: Millis,
}

/// How a batch failed.
pub(crate) enum Failure {
    /// Nothing of it is in any file.
    NotSent(Fault),
    /// The disk did not say what it holds.
    Unknown(Fault),
}

/// What is written to one file.
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    /// Goes first into a file that is empty.
    pub(crate) header: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(rotation: Rotation, ledger: Ledger) -> Self {
        Self { rotation, open: BTreeMap::new(), ledger, unheard: None }
    }

    /// The caller has heard of the last batch.
    pub(crate) fn heard(&mut self) {
        if let Some(ledger) = self.unheard.take() {
            self.ledger = ledger;
        }
    }

    /// Makes the file ready to be appended to and returns its first bytes, at most `most`.
    pub(crate) fn prepare(&mut self, path: &Path, most: usize, now: Millis) -> io::Result<Vec<u8>> {
        self.forget_unheard();
        let length = self.ready(path, now)?;
        let mut start = vec![0; usize::try_from(length).map_or(most, |length| length.min(most))];
        if let Some(open) = self.open.get(path) {
            open.file.read_exact_at(&mut start, 0)?;
        }
        Ok(start)
    }

    /// Appends all parts and makes them durable.
    pub(crate) fn write(&mut self, parts: &[Part], now: Millis) -> Result<Option<Mark>, Failure> {
        self.forget_unheard();
        let mut ledger = self.ledger.clone();
        for part in parts {
            if let Err(error) = self.append(part, now, &mut ledger) {
                self.roll_back(parts);
                return Err(Failure::NotSent(fault(&part.path, &error)));
            }
        }
        for part in parts {
            let synced = self.open.get(&part.path).map_or(Ok(()), |open| open.file.sync_data());
            if let Err(error) = synced {
                // A second sync can succeed without the data: the file is closed and cut when it is next opened.
                parts.iter().for_each(|part| drop(self.open.remove(&part.path)));
                return Err(Failure::Unknown(fault(&part.path, &error)));
            }
        }
        ledger.at = Some(now);
        ledger.trim();
        let mark = ledger.mark();
        self.unheard = Some(ledger);
        self.close_oldest();
        Ok(mark)
    }

    fn append(&mut self, part: &Part, now: Millis, ledger: &mut Ledger) -> io::Result<()> {
        let mut length = self.ready(&part.path, now)?;
        let open = self.open.get_mut(&part.path).ok_or_else(|| io::Error::other("file is not open"))?;
        open.used = now;
        if length == 0 && !part.header.is_empty() {
            open.file.write_all(&part.header)?;
            length += part.header.len() as u64;
        }
        open.file.write_all(&part.bytes)?;
        let metadata = open.file.metadata()?;
        length += part.bytes.len() as u64;
        if metadata.len() != length {
            return Err(io::Error::other("another program writes to this file"));
        }
        ledger.files.insert(part.path.clone(), confirmed(&metadata, length, now));
        Ok(())
    }

    /// Opens, mends or rotates the file, so that it ends where it is confirmed; returns its length.
    fn ready(&mut self, path: &Path, now: Millis) -> io::Result<u64> {
        if !self.is_current(path) {
            self.open.remove(path);
            self.mend(path, now)?;
        }
        let known = self.ledger.files.get(path).copied();
        if let Some(known) = known
            && self.rotation.is_due(known.length, Millis(known.at), now)
        {
            self.open.remove(path);
            self.move_aside(path, &name_aside(path, "", now))?;
            if let Some(keep) = self.rotation.keep {
                prune(path, keep)?;
            }
        }
        if !self.open.contains_key(path) {
            let file = create(path)?;
            self.open.insert(path.to_owned(), Open { file, used: now });
        }
        let metadata = self.open.get(path).map(|open| open.file.metadata()).transpose()?;
        let length = metadata.as_ref().map_or(0, Metadata::len);
        if let Some(metadata) = metadata {
            self.ledger
                .files
                .entry(path.to_owned())
                .or_insert_with(|| confirmed(&metadata, length, written_at(&metadata)));
        }
        Ok(length)
    }

    /// Whether the file open for this path is still what the path names, and ends where it should.
    fn is_current(&self, path: &Path) -> bool {
        let (Some(_), Some(known)) = (self.open.get(path), self.ledger.files.get(path)) else {
            return false;
        };
        std::fs::metadata(path).is_ok_and(|now| known.is_file(&now) && now.len() == known.length)
    }

    /// Cuts what was never confirmed off a file, or sets a file aside that is not the one we knew.
    fn mend(&mut self, path: &Path, now: Millis) -> io::Result<()> {
        let found = match std::fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.ledger.files.remove(path);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match self.ledger.files.get(path) {
            Some(known) if known.is_file(&found) && found.len() >= known.length => {
                if found.len() > known.length {
                    warn!(file = %path.display(), bytes = found.len() - known.length, "unconfirmed end of file is cut off");
                    let file = OpenOptions::new().write(true).open(path)?;
                    file.set_len(known.length)?;
                    file.sync_data()?;
                }
                Ok(())
            }
            None if !self.is_unconfirmed(&found) && ends_with_line(path)? => Ok(()),
            _ if found.len() == 0 => {
                self.ledger.files.remove(path);
                Ok(())
            }
            _ => {
                let aside = name_aside(path, "-aside", now);
                warn!(file = %path.display(), aside = %aside.display(), "file is not as this sink left it, it is set aside and a new one begun");
                self.move_aside(path, &aside)
            }
        }
    }

    /// Whether a file that we did not know was made after our last confirmed batch: then only an unconfirmed one can have made it.
    fn is_unconfirmed(&self, found: &Metadata) -> bool {
        let born = found.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        matches!((born, self.ledger.at), (Some(born), Some(at)) if born.as_millis() > u128::from(at.0))
    }

    fn move_aside(&mut self, path: &Path, aside: &Path) -> io::Result<()> {
        self.ledger.files.remove(path);
        std::fs::rename(path, aside)?;
        File::open(folder_of(path))?.sync_all()
    }

    /// The caller of the last batch went away before it heard: the batch will come again.
    fn forget_unheard(&mut self) {
        if self.unheard.take().is_some() {
            self.open.clear();
        }
    }

    /// Cuts all files of a failed batch back; one that cannot be cut is closed and mended when next opened.
    fn roll_back(&mut self, parts: &[Part]) {
        for part in parts {
            let Some(open) = self.open.get(&part.path) else {
                continue;
            };
            let length = self.ledger.files.get(&part.path).map_or(0, |known| known.length);
            if open.file.set_len(length).is_err() {
                self.open.remove(&part.path);
            }
        }
    }

    fn close_oldest(&mut self) {
        while self.open.len() > MAX_OPEN {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.used);
            let Some(path) = oldest.map(|(path, _)| path.clone()) else {
                return;
            };
            self.open.remove(&path);
        }
    }
}

impl Confirmed {
    fn is_file(&self, metadata: &Metadata) -> bool {
        self.device == metadata.dev() && self.inode == metadata.ino()
    }
}

fn confirmed(metadata: &Metadata, length: u64, at: Millis) -> Confirmed {
    Confirmed { device: metadata.dev(), inode: metadata.ino(), length, at: at.0 }
}

fn written_at(metadata: &Metadata) -> Millis {
    let at = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Millis(at.and_then(|at| u64::try_from(at.as_millis()).ok()).unwrap_or_default())
}

fn ends_with_line(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last == [b'\n'])
}

/// Opens for appending, with the folders above it; what is made is durable before it is written to.
fn create(path: &Path) -> io::Result<File> {
    let folder = folder_of(path);
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    for folder in missing.into_iter().rev() {
        std::fs::create_dir_all(folder)?;
        File::open(folder_of(folder))?.sync_all()?;
    }
    let is_new = !path.exists();
    let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    if is_new {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

/// A failed write as the engine sees it: service, retried.
pub(crate) fn fault(path: &Path, error: &io::Error) -> Fault {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "disk_full",
        _ => "file",
    };
    Fault::service(format_args!("{}: {error}", path.display())).with_code(code)
}
