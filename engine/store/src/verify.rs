//! Reads a whole store that is not in use, and says what it holds and what is damaged. Changes nothing.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use karez_api::StoreError;

use crate::dedup::Slices;
use crate::folder::{self, Identity, Paths, refused};
use crate::recovery::{self, Read, Replay};
use crate::stream::Place;
use crate::{entry, frame, progress, segment};

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
    let heard = verify_log(&paths, &identity, &mut report)?;
    verify_dedup(&paths, &identity, &mut report)?;
    let read = verify_progress(&paths, &identity, &scratch, heard, &mut report);
    if scratch.exists() {
        fs::remove_dir_all(&scratch)
            .map_err(|error| refused(&scratch, format_args!("cannot be removed: {error}")))?;
    }
    read.map(|()| report)
}

/// Returns how far progress had come when the log last heard of it.
fn verify_log(paths: &Paths, identity: &Identity, report: &mut VerifyReport) -> Result<u64, StoreError> {
    let (numbers, missing) = segment::numbers(&paths.log)?;
    report.damage.extend(missing.into_iter().map(|number| {
        let what = "the file is missing, although older and newer ones exist; restore it from a backup";
        Damage { file: segment::path(&paths.log, number), offset: 0, length: 0, what: what.into() }
    }));
    if numbers.is_empty() && identity.ready {
        let what = "holds no segments, although the store was in use; restore it from a backup".into();
        report.damage.push(Damage { file: paths.log.clone(), offset: 0, length: 0, what });
    }
    let mut replay = Replay::default();
    for number in &numbers {
        let last = Some(number) == numbers.last();
        match recovery::read(&paths.log, identity, *number, last) {
            Ok(read) => verify_segment(paths, *number, &read, &mut replay, report),
            Err(error) => {
                let file = segment::path(&paths.log, *number);
                report.damage.push(Damage { file, offset: 0, length: 0, what: error.to_string() });
            }
        }
    }
    report.unsettled = replay.held.index.streams.values().map(|stream| stream.stats().unsettled).sum();
    Ok(replay.progress)
}

fn verify_segment(paths: &Paths, number: u32, read: &Read, replay: &mut Replay, report: &mut VerifyReport) {
    let damage = |(offset, length): (u64, u64), what: &str| Damage {
        file: segment::path(&paths.log, number),
        offset,
        length,
        what: what.into(),
    };
    let unreadable = "no frame of the log can be read here, what stood there is lost";
    report.damage.extend(read.damage.iter().map(|region| damage(*region, unreadable)));
    report.torn += read.torn.map_or(0, |torn| read.bytes.len() as u64 - torn);
    report.segments += 1;
    report.frames += read.frames.len() as u64;
    for (offset, kind, range) in &read.frames {
        let payload = read.bytes.slice(range.clone());
        let place = Place::new(number, *offset, frame::HEAD + range.len());
        let sound = replay.take(place, *kind, &payload);
        let readable = *kind != segment::kind::ENTRY || entry::decode(&payload).is_some();
        if sound.is_none() || !readable {
            let what = "a frame with a right checksum says nothing known";
            report.damage.push(damage((*offset, payload.len() as u64), what));
        }
    }
}

fn verify_dedup(paths: &Paths, identity: &Identity, report: &mut VerifyReport) -> Result<(), StoreError> {
    let slices = Slices::new(&paths.dedup, identity);
    let unreadable = |error| refused(&paths.dedup, format_args!("cannot be read: {error}"));
    for slice in slices.list().map_err(unreadable)? {
        let loaded = slices.load(slice, |_| {}).map_err(unreadable)?;
        report.dedup_keys += loaded.keys;
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
    heard: u64,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let copied = fs::create_dir(scratch).and_then(|()| copy(&paths.progress, scratch));
    let copied =
        copied.map_err(|error| refused(scratch, format_args!("progress cannot be copied here: {error}")));
    let whole = |what: String| Damage { file: paths.progress.clone(), offset: 0, length: 0, what };
    let opened = copied.map(|()| progress::open(scratch, identity));
    match opened {
        // sled can panic on what it cannot read.
        Ok(Ok(tree)) => match catch_unwind(AssertUnwindSafe(|| {
            progress::each(&tree).map(|value| value.map(drop)).collect::<Vec<_>>()
        })) {
            Ok(values) => {
                report.progress_values += values.iter().filter(|value| value.is_ok()).count() as u64;
                let wrong = values.into_iter().filter_map(Result::err);
                let said = |key| whole(format!("the value of {key:?} does not fit its checksum"));
                report.damage.extend(wrong.map(said));
                // sled passes over what it cannot read at its end.
                let lost = heard.saturating_sub(progress::head(&tree));
                if lost > 0 {
                    report.damage.push(whole(format!("it is {lost} writes behind what the log says")));
                }
            }
            Err(_) => report.damage.push(whole("sled cannot read all of it".into())),
        },
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
