//! Reads the files of the pipeline folders and has them checked. Remembers the last text of a file
//! that is empty at the moment: whoever truncated it is about to write it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::Result;
use karez_api::Registry;
use karez_config::{Environment, Input, Loaded, Placed, SourceFile, StoredSecret};
use karez_steps::Languages;

use crate::cli::Usage;
use crate::dotenv;
use crate::secrets::{Nothing, Secrets};
use crate::settings::MASTER_KEY;

/// Everything that files are checked with.
pub(crate) struct Loader {
    paths: Vec<PathBuf>,
    registry: Registry,
    languages: Languages,
    last: HashMap<String, Vec<u8>>,
}

impl Loader {
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        Self::with(paths, registry())
    }

    /// With other components than those of this binary.
    pub(crate) fn with(paths: Vec<PathBuf>, registry: Registry) -> Self {
        Self { paths, registry, languages: Languages, last: HashMap::new() }
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`Usage`] where a path cannot be read at all; what is wrong inside files is in the result.
    pub(crate) fn load(&mut self, secrets: &dyn Secrets) -> Result<Loaded> {
        let mut files = Vec::new();
        for (layer, path) in self.paths.iter().enumerate() {
            for file in yaml_files(path).map_err(|error| cannot_read(path, &error))? {
                let shown = file.display().to_string();
                let text = match fs::read(&file) {
                    Ok(text) => text,
                    // It went away between the listing and now.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(cannot_read(&file, &error)),
                };
                files.push(SourceFile { path: shown, text, layer });
            }
        }
        for file in &mut files {
            if file.text.trim_ascii().is_empty()
                && let Some(last) = self.last.get(&file.path)
            {
                file.text.clone_from(last);
            }
        }
        self.last = files.iter().map(|file| (file.path.clone(), file.text.clone())).collect();
        let (environment, problems) = World::read(&self.paths, secrets);
        let mut loaded = karez_config::load(Input {
            registry: &self.registry,
            expressions: &self.languages,
            files,
            environment: &environment,
        });
        loaded.problems.extend(problems);
        Ok(loaded)
    }
}

/// A variable as the files of these paths see it.
pub(crate) fn variable(paths: &[PathBuf], name: &str) -> Option<String> {
    World::read(paths, &Nothing).0.var(name)
}

fn cannot_read(path: &Path, error: &io::Error) -> anyhow::Error {
    let path = path.display();
    let message = match error.kind() {
        io::ErrorKind::NotFound => {
            format!("there is no file or folder {path}; `karez new NAME` writes a first pipeline")
        }
        _ => format!("cannot read {path}: {error}"),
    };
    Usage(message).into()
}

/// All components of this binary.
pub(crate) fn registry() -> Registry {
    karez_connectors::registry(karez_steps::components())
}

/// The folder that `schemas/` and `.env` stand in: beside the pipelines.
pub(crate) fn base(path: &Path) -> PathBuf {
    let folder = if path.is_dir() { Some(path) } else { path.parent() };
    match folder.and_then(Path::parent) {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ if path.is_dir() && path.is_absolute() => path.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A file itself, or the YAML files in a folder and the folders in it, by name; hidden ones are left out.
fn yaml_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        fs::metadata(path)?;
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut entries: Vec<PathBuf> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    for entry in entries {
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if entry.is_dir() {
            files.extend(yaml_files(&entry)?);
        } else if is_yaml(&entry) {
            files.push(entry);
        }
    }
    Ok(files)
}

pub(crate) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// What files may ask: variables of the process, then of `.env`; files; secrets; schemas beside the pipelines.
struct World<'a> {
    secrets: &'a dyn Secrets,
    dotenv: BTreeMap<String, String>,
    bases: Vec<PathBuf>,
}

impl<'a> World<'a> {
    /// Also what is wrong in `.env` files.
    fn read(paths: &[PathBuf], secrets: &'a dyn Secrets) -> (Self, Vec<Placed>) {
        let mut bases: Vec<PathBuf> = paths.iter().map(|path| base(path)).collect();
        bases.dedup();
        let mut world = Self { secrets, dotenv: BTreeMap::new(), bases };
        let mut problems = Vec::new();
        // A later path overrides an earlier one, in variables as in files.
        for file in world.bases.iter().map(|base| base.join(".env")) {
            if let Ok(text) = fs::read_to_string(&file) {
                let (vars, wrong) = dotenv::parse(&text, &shown(&file));
                world.dotenv.extend(vars);
                problems.extend(wrong);
            }
        }
        (world, problems)
    }

    fn schema_folders(&self) -> impl Iterator<Item = PathBuf> {
        self.bases.iter().rev().map(|base| base.join("schemas"))
    }
}

const SCHEMA_SUFFIX: &str = ".schema.json";

impl Environment for World<'_> {
    fn var(&self, name: &str) -> Option<String> {
        // What opens all secrets is none of theirs.
        if name == MASTER_KEY {
            return None;
        }
        std::env::var(name).ok().or_else(|| self.dotenv.get(name).cloned())
    }

    fn file(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn secret(&self, name: &str) -> Result<Option<StoredSecret>, String> {
        self.secrets.get(name)
    }

    fn data_file(&self, pipeline_file: &str, path: &str) -> Result<Vec<u8>, String> {
        let folder = Path::new(pipeline_file).parent().unwrap_or(Path::new("."));
        fs::read(folder.join(path)).map_err(|error| error.to_string())
    }

    fn named_schema(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        if name.contains(['/', '\\']) || name.starts_with('.') {
            return Ok(None);
        }
        for folder in self.schema_folders() {
            match fs::read(folder.join(format!("{name}{SCHEMA_SUFFIX}"))) {
                Ok(text) => return Ok(Some(text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(None)
    }

    fn schema_names(&self) -> Vec<String> {
        let files = self.schema_folders().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        files
            .filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(SCHEMA_SUFFIX)?.to_owned()))
            .collect()
    }
}

/// `./.env` is `.env` for people.
fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_in_order_without_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        for name in ["b.yml", "a.yaml", ".hidden.yaml", "note.txt", "sub/c.yaml"] {
            fs::write(folder.path().join(name), "name: x").unwrap();
        }
        let files = yaml_files(folder.path()).unwrap();
        let names: Vec<_> =
            files.iter().map(|file| file.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.yaml", "b.yml", "sub/c.yaml"]);
    }
}
