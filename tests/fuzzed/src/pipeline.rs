//! Files to plans, with everything that can stand in a file.

use std::collections::HashMap;
use std::sync::LazyLock;

use karez_api::{Registry, Secret};
use karez_config::{Environment, Input, Loaded, Placed, SourceFile, StoredSecret};
use karez_steps::Languages;

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| karez_connectors::registry(karez_steps::components()));

/// The divided parts are files of layers 0, 1, ….
pub fn pipeline(data: &[u8]) {
    let files: Vec<SourceFile> = crate::parts(data)
        .take(3)
        .enumerate()
        .map(|(layer, text)| SourceFile { path: format!("{layer}/p.yaml"), text: text.to_vec(), layer })
        .collect();
    let loaded = load(files.clone(), &World::default());
    let texts: HashMap<&str, String> = files
        .iter()
        .map(|file| (file.path.as_str(), String::from_utf8_lossy(&file.text).into_owned()))
        .collect();
    for problem in &loaded.problems {
        assert_placed(problem, &texts[problem.file.as_str()]);
    }
    assert_eq!(loaded.files.len(), files.len());
    for plan in &loaded.pipelines {
        assert!(loaded.show(&plan.name).is_some(), "{} cannot be shown", plan.name);
        let from = loaded.files.iter().filter(|file| file.pipeline.as_deref() == Some(&*plan.name));
        assert!(from.clone().count() > 0 && from.clone().all(|file| !file.in_error), "{}", plan.name);
    }
    let again = load(files, &World::default());
    assert_eq!(loaded.problems, again.problems);
    let prints = |loaded: &Loaded| loaded.pipelines.iter().map(|plan| plan.fingerprint).collect::<Vec<_>>();
    assert_eq!(prints(&loaded), prints(&again));
}

pub(crate) fn load(files: Vec<SourceFile>, environment: &World) -> Loaded {
    karez_config::load(Input { registry: &REGISTRY, expressions: &Languages, files, environment })
}

/// A problem names a place that is in its file.
pub(crate) fn assert_placed(problem: &Placed, text: &str) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.split('\n').map(|line| line.trim_end_matches('\r')).collect();
    let line = problem.line.checked_sub(1).and_then(|line| lines.get(line));
    let line = line.unwrap_or_else(|| panic!("no line {}: {problem}", problem.line));
    let width = line.chars().count();
    // A place may be the carriage return that ends a line.
    assert!((1..=width + 2).contains(&problem.column), "{problem}");
    assert!(problem.end_column.is_none_or(|end| end >= problem.column && end <= width + 2), "{problem}");
    assert!(problem.source_line == *line || width > 400, "{problem}");
    assert!(problem.code.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')), "{problem}");
    assert!(!problem.message.is_empty(), "{problem}");
}

/// A few variables and files.
pub(crate) struct World(pub(crate) HashMap<&'static str, String>);

impl Default for World {
    fn default() -> Self {
        Self(HashMap::from([("A", "a".into()), ("EMPTY", String::new()), ("SECRET", "s3cret".into())]))
    }
}

const SCHEMA: &[u8] = br#"{"type": "object", "required": ["id"]}"#;

impl Environment for World {
    fn var(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
    fn file(&self, path: &str) -> Result<String, String> {
        match path {
            "/run/secret" => Ok("{{x}} $.y ${A}\n".into()),
            _ => Err("no such file".into()),
        }
    }
    fn secret(&self, name: &str) -> Result<Option<StoredSecret>, String> {
        Ok((name == "known").then(|| StoredSecret::Value(Secret::new("k"))))
    }
    fn data_file(&self, _: &str, path: &str) -> Result<Vec<u8>, String> {
        if path == "user.json" { Ok(SCHEMA.to_vec()) } else { Err("no such file".into()) }
    }
    fn named_schema(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        Ok((name == "user").then(|| SCHEMA.to_vec()))
    }
    fn schema_names(&self) -> Vec<String> {
        vec!["user".into()]
    }
}
