//! Watches which names a process gives to files, and whether it syncs the folder before it relies on them.

use std::path::Path;

/// A command that becomes the daemon and notes its renames and syncs in `log`.
#[must_use]
pub fn watching(log: &Path) -> Vec<String> {
    let calls = "trace=rename,renameat,renameat2,fsync,fdatasync";
    let words = ["strace", "-D", "-f", "-y", "-s", "4096", "-e", calls, "-o"];
    words.into_iter().map(str::to_owned).chain([log.display().to_string()]).collect()
}

/// Renames inside `data` that were followed by a sync of a file beside them before one of their folder.
#[must_use]
pub fn unsynced(log: &Path, data: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        // Paths may be relative to where the daemon runs.
        let Some(path) = renamed(line).map(|path| data.with_file_name("").join(path)) else { continue };
        let Some(folder) = path.parent().filter(|folder| folder.starts_with(data)) else { continue };
        let mut synced = lines[index + 1..].iter().filter_map(|line| synced(line));
        let next = synced.find(|synced| synced.starts_with(folder));
        if let Some(other) = next.filter(|synced| *synced != folder) {
            let (path, other) = (path.display(), other.display());
            found.push(format!("{path} got its name, and {other} was synced before the folder was"));
        }
    }
    found
}

/// The second path of a rename that went well.
fn renamed(line: &str) -> Option<&str> {
    if !line.contains("rename") || !line.trim_end().ends_with("= 0") {
        return None;
    }
    line.rsplit('"').nth(1)
}

/// The path behind the descriptor of a sync.
fn synced(line: &str) -> Option<&Path> {
    let (_, rest) = line.split_once("sync(")?;
    rest.split_once('<')?.1.split_once('>').map(|(path, _)| Path::new(path))
}
