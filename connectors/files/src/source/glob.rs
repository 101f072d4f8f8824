//! Which files a list of globs names at this moment.
//!
//! Directories that are symbolic links are not entered, so there are no loops; files that
//! are symbolic links are read. As in a shell, a name that begins with a dot is meant only where the pattern
//! writes that dot: programs that copy files give them such names until they are whole.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

/// Levels of directories that are entered below the fixed part of a glob.
const MAX_DEPTH: usize = 32;

/// One pattern, split into the directory that is certain and the rest that is searched.
pub(crate) struct Glob {
    base: PathBuf,
    /// Absent for a plain path.
    pattern: Option<GlobMatcher>,
    depth: usize,
    /// A part of the pattern begins with a dot.
    hidden: bool,
}

impl Glob {
    /// # Errors
    /// What is wrong with the pattern, for people.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a path cannot be empty".into());
        }
        let mut text = text;
        while let Some(rest) = text.strip_prefix("./") {
            text = rest.trim_start_matches('/');
        }
        let is_pattern = |part: &str| part.contains(['*', '?', '[', '{', '\\']);
        if !is_pattern(text) {
            return Ok(Self { base: text.into(), pattern: None, depth: 0, hidden: true });
        }
        let pattern = GlobBuilder::new(text)
            .literal_separator(true)
            .build()
            .map_err(|error| error.kind().to_string())?
            .compile_matcher();
        let fixed: PathBuf = Path::new(text)
            .components()
            .take_while(|part| !is_pattern(&part.as_os_str().to_string_lossy()))
            .collect();
        let levels = Path::new(text).components().count() - fixed.components().count();
        // Alternatives may hold separators, so only plain patterns have a known depth.
        let depth = if text.contains("**") || text.contains('{') { MAX_DEPTH } else { levels };
        let searched = text.get(fixed.as_os_str().len()..).unwrap_or_default();
        let hidden = searched.trim_start_matches('/').starts_with('.') || searched.contains("/.");
        Ok(Self { base: fixed, pattern: Some(pattern), depth: depth.min(MAX_DEPTH), hidden })
    }

    /// Adds the regular files that match; what does not exist is no error.
    pub(crate) fn list(&self, found: &mut BTreeMap<PathBuf, Metadata>) -> io::Result<()> {
        match &self.pattern {
            None => add(self.base.clone(), found),
            Some(pattern) => self.walk(&self.base, pattern, self.depth, found),
        }
    }

    fn walk(
        &self,
        folder: &Path,
        pattern: &GlobMatcher,
        depth: usize,
        found: &mut BTreeMap<PathBuf, Metadata>,
    ) -> io::Result<()> {
        let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let entries = match std::fs::read_dir(listed) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(naming(listed, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| naming(listed, &error))?;
            if !self.hidden && entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = folder.join(entry.file_name());
            // Of the entry itself: a symbolic link to a directory is not a directory here.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder {
                if depth > 1 {
                    self.walk(&path, pattern, depth - 1, found)?;
                }
            } else if pattern.is_match(&path) {
                add(path, found)?;
            }
        }
        Ok(())
    }
}

fn add(path: PathBuf, found: &mut BTreeMap<PathBuf, Metadata>) -> io::Result<()> {
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => {
            found.insert(path, metadata);
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(naming(&path, &error)),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(root: &Path, glob: &str) -> Vec<String> {
        let mut found = BTreeMap::new();
        Glob::new(&format!("{}/{glob}", root.display())).unwrap().list(&mut found).unwrap();
        let relative = |path: &PathBuf| path.strip_prefix(root).unwrap().display().to_string();
        found.keys().map(relative).collect()
    }

    #[test]
    fn files_are_found_by_glob_in_order_of_name() {
        let root = tempfile::tempdir().unwrap();
        for file in ["b.log", "a.log", "c.txt", "d/x.log", "d/e/y.log", ".a.log", ".h/x.log"] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink(root.path(), root.path().join("d/loop")).unwrap();
        std::os::unix::fs::symlink(root.path().join("c.txt"), root.path().join("z.log")).unwrap();
        let cases: &[(&str, &[&str])] = &[
            ("*.log", &["a.log", "b.log", "z.log"]),
            ("*/*.log", &["d/x.log"]),
            ("**/*.log", &["a.log", "b.log", "d/e/y.log", "d/x.log", "z.log"]),
            ("{a,d/x}.log", &["a.log", "d/x.log"]),
            ("[ab].log", &["a.log", "b.log"]),
            (".*.log", &[".a.log"]),
            (".h/*.log", &[".h/x.log"]),
            (".a.log", &[".a.log"]),
            ("c.txt", &["c.txt"]),
            ("d", &[]),
            ("absent/*.log", &[]),
            ("c.txt/*.log", &[]),
        ];
        for (glob, expected) in cases {
            assert_eq!(listed(root.path(), glob), *expected, "{glob}");
        }
    }

    #[test]
    fn a_wrong_glob_says_why() {
        assert!(Glob::new("a[").is_err());
        assert!(Glob::new("").is_err());
    }
}
