//! Reads what a files sink wrote: each complete line is an effect.

use std::path::{Path, PathBuf};

use super::{Observer, Sighting};

/// Everything in a folder, files that were set aside included.
pub struct FilesReader {
    folder: PathBuf,
}

impl FilesReader {
    /// # Panics
    /// The folder cannot be made.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        // What was never confirmed is set aside, and said so: it is not part of the output.
        files.retain(|path| !path.to_string_lossy().contains("-aside"));
        // Those set aside bear the time; the one in use comes last.
        files.sort_by_key(|path| (path.file_name().is_some_and(|name| name == "out.ndjson"), path.clone()));
        files
    }
}

impl Observer for FilesReader {
    fn name(&self) -> &'static str {
        "files"
    }

    fn sink(&self) -> String {
        format!("files: {{path: \"{}\"}}", self.folder.join("out.ndjson").display())
    }

    fn progress(&mut self) -> u64 {
        self.files().iter().map(|path| std::fs::metadata(path).map_or(0, |file| file.len())).sum()
    }

    fn sightings(&mut self) -> Vec<Sighting> {
        let lines = self.files().into_iter().flat_map(|path| lines_of(&path));
        lines.map(|body| Sighting { body, key: None }).collect()
    }
}

/// The complete lines of a file; none where there is no such file.
#[must_use]
pub fn lines_of(path: &Path) -> Vec<Vec<u8>> {
    let mut text = std::fs::read(path).unwrap_or_default();
    text.truncate(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    text.split_inclusive(|byte| *byte == b'\n').map(|line| line[..line.len() - 1].to_vec()).collect()
}
