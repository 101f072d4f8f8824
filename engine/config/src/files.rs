//! Texts to trees, and which kind of file each of them is.

use std::sync::LazyLock;

use karez_api::{Json, JsonMap, Path, Problem};

use crate::engine_keys::{TOP_NODES, TopKeys};
use crate::place::{self, Placed};
use crate::sheet::{Origins, Sheet};
use crate::yaml::SyntaxError;
use crate::{FileKind, SourceFile, interpolate, shared, suggest, yaml};

/// A file and what it was understood to be.
pub(crate) struct File {
    pub(crate) path: String,
    /// Its text, for places; damaged where it is not UTF-8.
    pub(crate) text: String,
    pub(crate) layer: usize,
    pub(crate) kind: FileKind,
    /// The pipeline's name, as far as it can be known.
    pub(crate) name: Option<String>,
    pub(crate) overlay: bool,
    /// Absent where the file cannot be read as YAML.
    pub(crate) content: Option<(Json, Origins)>,
    /// It could not be read, and all pipelines may depend on what it says.
    pub(crate) holds_all: bool,
    pub(crate) in_error: bool,
}

/// All files, and the problems found so far.
pub(crate) struct Desk {
    pub(crate) files: Vec<File>,
    pub(crate) problems: Vec<Placed>,
}

/// Problems of one file for which a place is looked up exactly; the work is this times the file's size.
fn most_problems(text: &str) -> usize {
    ((16 << 20) / text.len().max(1)).clamp(20, 1_000)
}

impl Desk {
    /// Reads all files, in the order in which later ones may change earlier ones.
    pub(crate) fn read(mut sources: Vec<SourceFile>) -> Self {
        sources.sort_by(|a, b| (a.layer, &a.path).cmp(&(b.layer, &b.path)));
        let mut desk = Self { files: Vec::new(), problems: Vec::new() };
        for source in sources {
            desk.read_one(source);
        }
        desk
    }

    fn read_one(&mut self, source: SourceFile) {
        let index = self.files.len();
        // Some editors begin a file with a byte order mark, which is no part of its text.
        let bytes = source.text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&source.text);
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(crate::MAX_FILE_BYTES)]).into_owned();
        let mut file = File {
            path: source.path,
            text,
            layer: source.layer,
            kind: FileKind::Unknown,
            name: None,
            overlay: false,
            content: None,
            holds_all: false,
            in_error: false,
        };
        match yaml::read(bytes) {
            Err(error) => {
                file.guess();
                self.files.push(file);
                self.report_syntax(index, error);
            }
            Ok(document) => {
                let origins = Origins::of_file(index, &document.moved);
                let problem = file.understand(document.tree, origins);
                self.files.push(file);
                self.report_all(index, problem);
            }
        }
    }

    fn report_syntax(&mut self, index: usize, error: SyntaxError) {
        let file = &mut self.files[index];
        file.in_error = true;
        let at = place::of_byte(&file.text, error.offset);
        self.problems.push(Placed {
            file: file.path.clone(),
            line: at.line,
            column: at.column,
            end_column: at.end_column,
            severity: karez_api::Severity::Error,
            code: error.code,
            path: String::new(),
            message: error.message,
            help: error.help,
            source_line: at.source_line,
        });
    }

    /// Places problems whose paths are those of one file.
    pub(crate) fn report_all(&mut self, index: usize, problems: impl IntoIterator<Item = Problem>) {
        for problem in problems {
            self.report(index, problem);
        }
    }

    /// Places one problem in a file.
    pub(crate) fn report(&mut self, index: usize, problem: Problem) {
        let file = &mut self.files[index];
        file.in_error |= crate::sheet::is_error(&problem);
        let known = self.problems.iter().filter(|placed| placed.file == file.path).count();
        let most = most_problems(&file.text);
        if known > most {
            return;
        }
        let problem = if known == most {
            Problem::error("too-many-problems", Path::root(), "there are more problems than are shown here")
        } else {
            problem
        };
        let at = place::of_path(&file.text, &problem.at, problem.on_key, problem.within.as_ref());
        let placed = Placed {
            file: file.path.clone(),
            line: at.line,
            column: at.column,
            end_column: at.end_column,
            severity: problem.severity,
            code: problem.code,
            path: problem.at.to_string(),
            message: problem.message,
            help: problem.help,
            source_line: at.source_line,
        };
        if !self.problems.contains(&placed) {
            self.problems.push(placed);
        }
    }

    /// Places the problems of a tree that was put together from several files.
    pub(crate) fn report_sheet(&mut self, sheet: &Sheet) {
        let secrets = secrets_of(sheet);
        let problems = sheet.problems.borrow();
        let unknown: Vec<&Path> = problems
            .iter()
            .filter(|problem| interpolate::CODES.contains(&problem.code))
            .map(|p| &p.at)
            .collect();
        for problem in problems.iter() {
            // What is said of a text that is not known says nothing.
            let is_own = interpolate::CODES.contains(&problem.code);
            if !sheet.counts(problem) || (unknown.contains(&&problem.at) && !is_own) {
                continue;
            }
            let spot = sheet.origins.find(&problem.at);
            let within = match (&problem.within, sheet.written.get(&problem.at)) {
                (Some(within), Some(written)) => Some(written.in_source(within)),
                (within, _) => within.clone(),
            };
            let hide = |text: &str| {
                secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"))
            };
            self.report(
                spot.file,
                Problem {
                    at: spot.path,
                    within,
                    message: hide(&problem.message),
                    help: problem.help.as_deref().map(hide),
                    ..problem.clone()
                },
            );
        }
    }

    /// `file:line` of a spot, for messages about two places.
    pub(crate) fn name_place(&self, spot: &crate::sheet::Spot) -> String {
        let file = &self.files[spot.file];
        let at = place::of_path(&file.text, &spot.path, true, None);
        format!("{}:{}", file.path, at.line)
    }
}

/// Texts that may be in no message: what files and secrets brought, and all that stands in secret fields.
fn secrets_of(sheet: &Sheet) -> Vec<String> {
    let fields = sheet.secret.borrow();
    let mut secrets: Vec<String> = Vec::new();
    for (path, written) in &sheet.written {
        let Some(text) = sheet.get(path).and_then(Json::as_str) else {
            continue;
        };
        for piece in written.brought().filter(|piece| piece.secret || fields.contains(path)) {
            secrets.extend(text.get(piece.result.clone()).map(str::to_owned));
        }
    }
    secrets.retain(|secret| secret.len() >= 4);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

impl File {
    /// Says what kind of file a tree is, with what is wrong about that.
    fn understand(&mut self, tree: Json, origins: Origins) -> Vec<Problem> {
        let Json::Object(map) = &tree else {
            let message =
                format!("expected a map of keys like `source:`, found {}", crate::tree::describe(&tree));
            self.guess();
            return vec![Problem::error("wrong-type", Path::root(), message)];
        };
        self.overlay = map.get("overlay") == Some(&Json::Bool(true));
        let problems = if is_shared(map) {
            self.kind = FileKind::Shared;
            shared::check_file(map)
        } else {
            self.kind = FileKind::Pipeline;
            self.name =
                Some(map.get("name").and_then(Json::as_str).map_or_else(|| stem(&self.path), str::to_owned));
            check_name(map, self.name.as_deref().unwrap_or_default())
        };
        self.content = Some((tree, origins));
        problems
    }

    /// What a file that cannot be read was probably meant to be, from its lines without indentation.
    fn guess(&mut self) {
        let keys: Vec<&str> =
            self.text.lines().filter_map(|line| line.split_once(':').map(|(key, _)| key)).collect();
        let has = |names: &[&str]| keys.iter().any(|key| names.contains(key));
        if has(&["source", "sources", "sink", "sinks"]) {
            self.kind = FileKind::Pipeline;
            let named = self.text.lines().find_map(|line| line.strip_prefix("name:"));
            let plain =
                named.map(|name| name.split(" #").next().unwrap_or(name).trim().trim_matches(['"', '\'']));
            self.name =
                Some(plain.filter(|name| is_name(name)).map_or_else(|| stem(&self.path), str::to_owned));
        } else if has(&shared::SECTIONS) {
            self.kind = FileKind::Shared;
            self.holds_all = has(&["defaults", "vars"]);
        } else {
            // Half-written or emptied: what it was before is best left running.
            self.name = Some(stem(&self.path)).filter(|name| is_name(name));
        }
    }
}

fn is_shared(map: &JsonMap) -> bool {
    let top = ["overlay", "vars", "steps"];
    let is_top = |key: &str| !top.contains(&key) && TOP_NODES.contains(&key);
    let is_setting = |key: &str| !top.contains(&key) && top_names().iter().any(|name| name == key);
    let has_steps = map.get("steps").is_some_and(|steps| !steps.is_object());
    if has_steps || map.keys().any(|key| is_top(key) || is_setting(key)) {
        return false;
    }
    map.keys().any(|key| {
        shared::SECTIONS.contains(&key.as_str()) || suggest::nearest(key, shared::SECTIONS).is_some()
    })
}

/// The names of the settings at the top of a pipeline.
pub(crate) fn top_names() -> &'static [String] {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let schema = schemars::schema_for!(TopKeys);
        let names = schema.get("properties").and_then(Json::as_object);
        names.map(|names| names.keys().cloned().collect()).unwrap_or_default()
    });
    &NAMES
}

fn stem(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).unwrap_or(name).to_owned()
}

/// Letters, digits, `_` and `-`: names become parts of paths, metrics and commands.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
        && !name.starts_with('-')
}

fn check_name(map: &JsonMap, name: &str) -> Vec<Problem> {
    if is_name(name) {
        return Vec::new();
    }
    let (at, help) = match map.contains_key("name") {
        true => (Path::root().field("name"), "use letters, digits, `_` and `-`"),
        false => (
            Path::root(),
            "the name comes from the file; give another with `name:` (letters, digits, `_` and `-`)",
        ),
    };
    vec![Problem::error("bad-name", at, format_args!("{name:?} cannot be the name of a pipeline")).help(help)]
}
