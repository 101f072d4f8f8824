//! The official SDKs of webhook providers in a Node process: independent signers and judges.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value as Json;

use crate::binary;

/// The exact versions that are installed.
const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../fixtures/sdks/package.json")),
    ("package-lock.json", include_str!("../fixtures/sdks/package-lock.json")),
    ("sdks.mjs", include_str!("../fixtures/sdks/sdks.mjs")),
];

/// A process that signs and verifies.
pub struct Sdks {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Sdks {
    /// Installs them with npm where this target folder does not have them yet.
    ///
    /// # Panics
    /// There is no Node 20 or later, no npm, or no way to the packages.
    #[must_use]
    pub fn start() -> Self {
        static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
        let folder = INSTALLED.get_or_init(installed);
        let mut process = Command::new("node")
            .arg(folder.join("sdks.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node: {error}; tests/run installs it"));
        let (to, from) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, to, from: BufReader::new(from) }
    }

    /// # Panics
    /// The process ended: what it said stands on the standard error.
    pub fn ask(&mut self, asked: &Json) -> Json {
        writeln!(self.to, "{asked}").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?} to {asked}"))
    }
}

impl Drop for Sdks {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A folder beside the binary, by what is in the files: it is whole or it is not there.
fn installed() -> PathBuf {
    let mut hash = DefaultHasher::new();
    FILES.hash(&mut hash);
    let folder = binary().with_file_name(format!("sdks-{:016x}", hash.finish()));
    if !folder.exists() {
        let begun = folder.with_extension(std::process::id().to_string());
        install(&begun);
        // Somebody else may have been faster.
        if fs::rename(&begun, &folder).is_err() {
            fs::remove_dir_all(&begun).ok();
        }
    }
    folder
}

fn install(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (name, text) in FILES {
        fs::write(folder.join(name), text).unwrap();
    }
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let output = Command::new("npm").args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("npm: {error}; tests/run installs it"));
    assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
}
