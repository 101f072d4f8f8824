//! From the texts of pipeline files to checked plans.
//!
//! YAML -> tree (with places) -> overlays -> shared parts spliced in -> `${…}` put in ->
//! checked against schemas -> built by the components -> graph. Every problem of every file
//! is reported at once, each with file, line and column.
//!
//! What is not here: no file, environment or network access (the caller lends an
//! [`Environment`]), no expression language (it lends [`karez_api::Expressions`]), no component
//! (it lends a [`Registry`]), no printing, no time.
//!
//! ```ignore
//! let loaded = karez_config::load(Input { registry, expressions, files, environment });
//! for problem in &loaded.problems { eprintln!("{problem}"); }
//! for plan in loaded.pipelines { start(plan); }
//! ```

mod interpolate;
mod place;
mod sheet;
mod tree;
mod yaml;
mod yaml_mistakes;

mod engine_keys;
mod schema_check;
mod schema_view;

mod across;
mod build;
mod defaults;
mod files;
mod fingerprint;
mod graph;
mod load;
mod node;
mod overlay;
mod pipeline;
mod shape;
mod shared;
mod tests_section;

mod editor_schema;
mod show;

#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod testing;

use karez_api::{Expressions, PipelinePlan, Registry, suggest};

pub use editor_schema::pipeline_schema;
pub use interpolate::STAND_IN;
pub use load::load;
pub use place::Placed;

/// The largest pipeline file, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Reads one YAML document that is no pipeline file (the settings of the daemon), by the same strict rules.
///
/// # Errors
/// What is wrong, after line and column.
pub fn read_yaml(text: &str) -> Result<karez_api::Json, String> {
    yaml::read(text.as_bytes()).map(|document| document.tree).map_err(|error| {
        let place = place::of_byte(text, error.offset);
        let help = error.help.map_or(String::new(), |help| format!("; {help}"));
        format!("{}:{}: {}{help}", place.line, place.column, error.message)
    })
}

/// Everything that a load depends on. Equal inputs give equal results.
pub struct Input<'a> {
    pub registry: &'a Registry,
    pub expressions: &'a dyn Expressions,
    /// In any order; they are looked at by layer, then by path.
    pub files: Vec<SourceFile>,
    pub environment: &'a dyn Environment,
}

/// One YAML file as it was read.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// As it is shown to people; its stem is the default name of its pipeline.
    pub path: String,
    pub text: Vec<u8>,
    /// Which of the given paths it comes from, from 0. A later layer may overlay an earlier one.
    pub layer: usize,
}

/// What `${secret:NAME}` stands for.
pub enum StoredSecret {
    Value(karez_api::Secret),
    /// It is stored, and its value is not at hand: something stands in for it, and nothing that is said of a text with
    /// that in it counts.
    NotAtHand,
}

/// What files may ask of the world. Nothing is remembered between two calls.
pub trait Environment {
    /// `${NAME}`.
    fn var(&self, name: &str) -> Option<String>;
    /// `${file:PATH}`: the text of a file; one line break at its end is cut off by the caller.
    ///
    /// # Errors
    /// A fragment that says why it cannot be read.
    fn file(&self, path: &str) -> Result<String, String>;
    /// `${secret:NAME}`; absent where no such secret is stored.
    ///
    /// # Errors
    /// A fragment that says why secrets cannot be read.
    fn secret(&self, name: &str) -> Result<Option<StoredSecret>, String>;
    /// A data file (a schema) that a pipeline file names by path, relative to the folder of that file.
    ///
    /// # Errors
    /// A fragment that says why it cannot be read.
    fn data_file(&self, pipeline_file: &str, path: &str) -> Result<Vec<u8>, String>;
    /// `schemas/NAME.schema.json` beside the pipelines folder; absent where there is no such file.
    ///
    /// # Errors
    /// A fragment that says why it cannot be read.
    fn named_schema(&self, name: &str) -> Result<Option<Vec<u8>>, String>;
    /// The names for which [`Environment::named_schema`] has a file, for suggestions.
    fn schema_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What came of all files.
pub struct Loaded {
    /// The pipelines without errors, by name.
    pub pipelines: Vec<PipelinePlan>,
    /// One for each input file, by layer and path.
    pub files: Vec<FileReport>,
    /// Of all files, by file and place.
    pub problems: Vec<Placed>,
    /// The connections of shared files that nothing is wrong with, by name.
    pub connections: Vec<(String, karez_api::Json)>,
    kept: show::Kept,
}

impl Loaded {
    /// Whether any file has an error (warnings do not count).
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Placed::is_error)
    }

    /// The pipeline `name` as it is after overlays, shared parts, defaults and `${…}`, as YAML with the
    /// origin of each line in a comment; secrets are redacted. Absent where no file defines it.
    #[must_use]
    pub fn show(&self, name: &str) -> Option<String> {
        self.kept.show(name)
    }
}

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    Pipeline,
    /// Connections, mappings, schemas, defaults, vars and steps for all pipelines.
    Shared,
    /// It could not be read far enough to say.
    Unknown,
}

/// What came of one file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FileReport {
    pub path: String,
    pub kind: FileKind,
    /// The pipeline it defines or overlays, also where the file is in error but its name can be known.
    pub pipeline: Option<String>,
    /// The file, or something it uses from another file, has errors: the last good version should go on.
    pub in_error: bool,
}
