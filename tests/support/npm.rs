//! Packages of npm, installed once for each set of files, in the target folder.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder beside the test's binary with `files` (a package, its lock, programs that use it) and what they need, by
/// what is in them: it is whole or it is not there.
///
/// # Panics
/// There is no npm, or no way to the packages.
#[must_use]
pub fn installed(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let mut hash = DefaultHasher::new();
    files.hash(&mut hash);
    let beside = std::env::current_exe().unwrap();
    let folder = beside.with_file_name(format!("{name}-{:016x}", hash.finish()));
    if !folder.exists() {
        let begun = folder.with_extension(std::process::id().to_string());
        install(&begun, files);
        // Somebody else may have been faster.
        if fs::rename(&begun, &folder).is_err() {
            fs::remove_dir_all(&begun).ok();
        }
    }
    folder
}

fn install(folder: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(folder).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let output = Command::new("npm").args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("npm: {error}; tests/run installs it"));
    assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
}
