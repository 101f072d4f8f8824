//! Files that are kept with what the binary says about them: wrong ones, and the examples.
//!
//! `UPDATE_EXPECT=1 cargo test -p karez --test corpus` rewrites the golden texts. Read each change as a user
//! would: does it say where, what, and what to do?

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod examples;
mod wrong_files;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Runs the binary in a folder, without any variable of the environment.
fn karez(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_karez"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .output()
        .unwrap()
}

/// What it printed, which must be text.
fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}
