//! Appends each event as a line of a file of its sender's own; what is synced is karez's to read.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Producer, Sender};
use crate::{Event, Fate};

/// Files `N.ndjson` in a folder, one per sender or one for all.
pub struct Lines {
    folder: PathBuf,
    shared: Option<Arc<Mutex<File>>>,
    rotating: bool,
}

/// Lines in a file before it is set aside, by those that rotate.
const FULL: u32 = 100;

impl Lines {
    /// # Panics
    /// The folder cannot be made.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder, shared: None, rotating: false }
    }

    /// Each file is set aside under another name when it is full, and one of the old name begun.
    #[must_use]
    pub fn rotating(self) -> Self {
        Self { rotating: true, ..self }
    }

    /// All senders write to one file, a line each in turn.
    ///
    /// # Panics
    /// The file cannot be made.
    #[must_use]
    pub fn shared(self) -> Self {
        let file = open(&self.folder.join("all.ndjson"));
        Self { shared: Some(Arc::new(Mutex::new(file))), ..self }
    }
}

impl Producer for Lines {
    fn name(&self) -> &'static str {
        "files"
    }

    fn source(&self) -> String {
        let paths = self.folder.join("*.ndjson*");
        format!("files: {{paths: [\"{}\"], follow: true, poll: 20ms, max_record: 2MiB}}", paths.display())
    }

    fn sender(&self, number: u16) -> Box<dyn Sender> {
        let path = self.folder.join(format!("{number}.ndjson"));
        let file = self.shared.clone().unwrap_or_else(|| Arc::new(Mutex::new(open(&path))));
        Box::new(Append { file, rotated: self.rotating.then_some(path), lines: 0, number: 0 })
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

struct Append {
    file: Arc<Mutex<File>>,
    /// Its path, where it is rotated.
    rotated: Option<PathBuf>,
    lines: u32,
    number: u32,
}

impl Append {
    fn rotate(&mut self) {
        self.lines += 1;
        let Some(path) = self.rotated.as_ref().filter(|_| self.lines.is_multiple_of(FULL)) else { return };
        self.number += 1;
        std::fs::rename(path, path.with_extension(format!("ndjson.{}", self.number))).unwrap();
        *self.file.lock().unwrap() = open(path);
    }
}

impl Sender for Append {
    fn attempt(&mut self, event: &Event) -> Fate {
        let line = format!("{}\n", event.body);
        // In two parts, so that a reader meets half a line.
        let (half, rest) = line.as_bytes().split_at(line.len() / 2);
        self.rotate();
        let mut file = self.file.lock().unwrap();
        let written = file.write_all(half).and_then(|()| file.write_all(rest));
        if written.and_then(|()| file.sync_data()).is_ok() { Fate::Acked } else { Fate::Unknown }
    }
}
