//! A folder of a test's own, with what a user has in theirs, and karez's commands run inside it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

/// A folder that goes with the test, or one that stays.
pub struct Folder {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Folder {
    /// With an empty `pipelines`.
    #[must_use]
    pub fn new() -> Self {
        let temporary = tempfile::Builder::new().prefix("karez-").tempdir().unwrap();
        let mut folder = Self::staying(temporary.path());
        folder._temporary = Some(temporary);
        folder
    }

    /// With an empty `pipelines`; it stays when the test ends.
    #[must_use]
    pub fn staying(path: impl Into<PathBuf>) -> Self {
        let folder = Self { path: path.into(), _temporary: None };
        std::fs::create_dir_all(folder.at("pipelines")).unwrap();
        folder
    }

    /// With `pipelines/NAME.yaml`.
    #[must_use]
    pub fn with(self, name: &str, pipeline: &str) -> Self {
        self.pipeline(name, pipeline);
        self
    }

    pub fn pipeline(&self, name: &str, text: &str) {
        self.write(&format!("pipelines/{name}.yaml"), text);
    }

    #[must_use]
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.join(path)
    }

    /// Folders on the way are made.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Empty where there is no such file.
    #[must_use]
    pub fn read(&self, path: &str) -> String {
        match std::fs::read_to_string(self.at(path)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// The complete lines of an NDJSON file.
    #[must_use]
    pub fn records(&self, path: &str) -> Vec<Json> {
        let text = self.read(path);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        whole.lines().map(line).collect()
    }

    /// One field of each record of an NDJSON file, as whole numbers.
    #[must_use]
    pub fn numbers(&self, path: &str, field: &str) -> Vec<u64> {
        let records = self.records(path);
        records.iter().map(|record| record[field].as_u64().unwrap_or_else(|| panic!("{record}"))).collect()
    }

    /// `karez` with these arguments, inside the folder.
    #[must_use]
    pub fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = self.run(binary());
        command.args(arguments);
        command
    }

    /// What a user types, inside the folder, with `karez` among the commands; it ends where one fails.
    #[must_use]
    pub fn shell(&self, script: &str) -> Command {
        let mut command = self.run("sh");
        let folders = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{folders}", binary().parent().unwrap().display()));
        command.args(["-e", "-c", script]);
        command
    }

    /// Any program inside the folder, which sees none of karez's variables.
    pub(crate) fn run(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.path).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KAREZ_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs a command to its end.
    #[must_use]
    pub fn karez(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// What a command came to.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Itself, once its exit code is right.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        self
    }

    /// # Panics
    /// What it printed is not JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// The binary with crash points and planted bugs, which `FAILPOINTS` switches on.
///
/// # Panics
/// There is none beside [`binary`].
#[must_use]
pub fn test_build() -> PathBuf {
    let binary = binary().with_file_name("karez-failpoints");
    let how = "run tests/run, or `cargo build -p karez --features failpoints` and copy karez to it";
    assert!(binary.exists(), "{} is missing: {how}", binary.display());
    binary
}

/// The binary under test, which cargo puts beside the folder of the tests, or beside a program that is none.
#[must_use]
pub fn binary() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let beside = tests.with_file_name("karez");
    if beside.exists() {
        return beside;
    }
    let binary = tests.parent().and_then(Path::parent).unwrap().join("karez");
    assert!(
        binary.exists(),
        "{} is missing: run tests/run, or `cargo build -p karez` before the tests",
        binary.display()
    );
    binary
}
