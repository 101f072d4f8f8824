//! The official SDKs of webhook providers in a Node process: independent signers and judges.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value as Json;

use crate::npm::installed;

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
        let folder = INSTALLED.get_or_init(|| installed("sdks", &FILES));
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
