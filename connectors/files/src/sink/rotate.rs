//! When a file is set aside for a new one, and what it is then called: `name-20261124T101500Z.ext`,
//! with `-2`, `-3`, … before the dot where that exists.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use karez_api::Millis;

/// The checked `rotate` settings.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rotation {
    /// Bytes from which a file is full.
    pub(crate) size: Option<u64>,
    /// Counted from 1970, UTC.
    pub(crate) every: Option<Duration>,
    /// How many rotated files are left; all without it.
    pub(crate) keep: Option<usize>,
}

impl Rotation {
    /// Whether a file of this length, last written at `last`, is rotated before it is written to.
    pub(crate) fn is_due(&self, length: u64, last: Millis, now: Millis) -> bool {
        let period = |every: Duration, at: Millis| u128::from(at.0) / every.as_millis().max(1);
        length > 0
            && (self.size.is_some_and(|size| length >= size)
                || self.every.is_some_and(|every| period(every, last) < period(every, now)))
    }
}

/// A free name beside `path` that says when it was set aside.
pub(crate) fn name_aside(path: &Path, label: &str, now: Millis) -> PathBuf {
    let at = i64::try_from(now.0).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    let stamp = at.unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string();
    // Numbers of removed files are not given out again: they would make the newest look the oldest.
    let last = rotated(path).unwrap_or_default().into_iter().filter(|((at, _), _)| *at == stamp);
    let mut n = last.map(|((_, n), _)| n + 1).max().unwrap_or(1);
    loop {
        let number = if n > 1 { format!("-{n}") } else { String::new() };
        let name = with_suffix(path, &format!("-{stamp}{number}{label}"));
        if name.symlink_metadata().is_err() {
            return name;
        }
        n += 1;
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.file_stem().unwrap_or_default());
    name.push(suffix);
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Removes all but the newest `keep` rotated files of `path`.
///
/// # Errors
/// The folder cannot be listed or a file not removed.
pub(crate) fn prune(path: &Path, keep: usize) -> io::Result<()> {
    let mut rotated = rotated(path)?;
    rotated.sort();
    let excess = rotated.len().saturating_sub(keep);
    rotated.iter().take(excess).try_for_each(|(_, path)| std::fs::remove_file(path))
}

type Order = (String, u32);

fn rotated(path: &Path) -> io::Result<Vec<(Order, PathBuf)>> {
    let folder = folder_of(path);
    let mut rotated = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some(order) = name.to_str().and_then(|name| rotated_order(path, name)) {
            rotated.push((order, folder.join(&name)));
        }
    }
    Ok(rotated)
}

/// Stamp and number of a rotated file's name; nothing for any other file.
fn rotated_order(path: &Path, name: &str) -> Option<Order> {
    let name = Path::new(name);
    if name.extension() != path.extension() {
        return None;
    }
    let rest = name.file_stem()?.to_str()?.strip_prefix(path.file_stem()?.to_str()?)?;
    let mut parts = rest.strip_prefix('-')?.split('-');
    let stamp = parts.next()?;
    let number = parts.next().map_or(Some(1), |number| number.parse().ok())?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_stamp = stamp.len() == 16 && stamp.is_ascii() && digits(&stamp[..8]);
    let is_ours = is_stamp && &stamp[8..9] == "T" && digits(&stamp[9..15]) && stamp.ends_with('Z');
    (is_ours && parts.next().is_none()).then(|| (stamp.to_owned(), number))
}

/// The folder that holds `path`.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
