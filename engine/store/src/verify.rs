//! Reads a whole store that is not in use, and says what it holds and what is damaged. Changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use karez_api::StoreError;

use crate::dedup::Slices;
use crate::folder::{self, Identity, Paths, refused};
use crate::recovery::{self, Replay};
use crate::{progress, segment};

/// Bytes that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    pub file: PathBuf,
    pub offset: u64,
    pub length: u64,
    pub what: String,
}

/// What [`verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct VerifyReport {
    pub segments: u64,
    pub frames: u64,
    pub unsettled: u64,
    pub dedup_keys: u64,
    pub progress_values: u64,
    /// Bytes at the end of the log that a crash left unfinished; nobody was told of them.
    pub torn: u64,
    pub damage: Vec<Damage>,
}

impl VerifyReport {
    /// Whether everything that was acknowledged can be read.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Reads everything: frames, checksums, values. sled can only be opened for writing, so a copy of it is made in
/// the system's temporary folder and removed again.
///
/// # Errors
/// [`StoreError::Refused`] where the folder is no store, is in use, or cannot be read at all.
pub fn verify(folder: impl AsRef<Path>) -> Result<VerifyReport, StoreError> {
    let paths = Paths::new(folder.as_ref());
    let identity = folder::read_identity(&paths)?.ok_or_else(|| refused(&paths.root, "holds no store"))?;
    let _lock = folder::lock_existing(&paths)?;
    let scratch = std::env::temp_dir().join(format!("karez-verify-{:016x}", rand::random::<u64>()));
    let mut report = VerifyReport::default();
    verify_log(&paths, &identity, &mut report)?;
    verify_dedup(&paths, &identity, &mut report)?;
    let read = verify_progress(&paths, &identity, &scratch, &mut report);
    if scratch.exists() {
        fs::remove_dir_all(&scratch)
            .map_err(|error| refused(&scratch, format_args!("cannot be removed: {error}")))?;
    }
    read.map(|()| report)
}

fn verify_log(paths: &Paths, identity: &Identity, report: &mut VerifyReport) -> Result<(), StoreError> {
    let numbers = segment::list(&paths.log)?;
    let mut replay = Replay::default();
    for number in &numbers {
        let read = recovery::read(&paths.log, identity, *number, Some(number) == numbers.last())?;
        let file = segment::path(&paths.log, *number);
        let damage = |(offset, length): &(u64, u64)| Damage {
            file: file.clone(),
            offset: *offset,
            length: *length,
            what: "no frame of the log can be read here".into(),
        };
        report.damage.extend(read.damage.iter().map(damage));
        report.torn += read.torn.map_or(0, |torn| read.bytes.len() as u64 - torn);
        report.segments += 1;
        report.frames += read.frames.len() as u64;
        for (offset, kind, range) in &read.frames {
            let payload = read.bytes.slice(range.clone());
            let sound = replay.take(*number, *offset, crate::frame::Frame { kind: *kind, payload: &payload });
            let readable = *kind != segment::kind::ENTRY || crate::entry::decode(&payload).is_some();
            if sound.is_none() || !readable {
                let what = "a frame with a right checksum says nothing known".into();
                report.damage.push(Damage { what, ..damage(&(*offset, payload.len() as u64)) });
            }
        }
    }
    report.unsettled = replay.held.index.streams.values().map(|stream| stream.stats().unsettled).sum();
    Ok(())
}

fn verify_dedup(paths: &Paths, identity: &Identity, report: &mut VerifyReport) -> Result<(), StoreError> {
    let slices = Slices::new(&paths.dedup, identity);
    let unreadable = |error| refused(&paths.dedup, format_args!("cannot be read: {error}"));
    for slice in slices.list().map_err(unreadable)? {
        let loaded = slices.load(slice).map_err(unreadable)?;
        report.dedup_keys += loaded.keys.len() as u64;
        let file = slices.path(slice);
        report.damage.extend(loaded.damage.iter().map(|(offset, length)| Damage {
            file: file.clone(),
            offset: *offset,
            length: *length,
            what: "dedup keys cannot be read here, duplicates may pass".into(),
        }));
    }
    Ok(())
}

fn verify_progress(
    paths: &Paths,
    identity: &Identity,
    scratch: &Path,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let copied = fs::create_dir(scratch).and_then(|()| copy(&paths.progress, scratch));
    let copied =
        copied.map_err(|error| refused(scratch, format_args!("progress cannot be copied here: {error}")));
    let whole = |what: String| Damage { file: paths.progress.clone(), offset: 0, length: 0, what };
    let opened = copied.map(|()| progress::open(scratch, identity));
    match opened {
        Ok(Ok(tree)) => {
            for value in progress::each(&tree) {
                match value {
                    Ok(_) => report.progress_values += 1,
                    Err(key) => {
                        report.damage.push(whole(format!("the value of {key:?} does not fit its checksum")))
                    }
                }
            }
        }
        Ok(Err(error)) => report.damage.push(whole(error.to_string())),
        Err(error) => return Err(error),
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for item in fs::read_dir(from)? {
        let item = item?;
        let target = to.join(item.file_name());
        if item.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy(&item.path(), &target)?;
        } else {
            fs::copy(item.path(), target)?;
        }
    }
    Ok(())
}
