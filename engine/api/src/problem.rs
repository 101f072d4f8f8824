//! What is wrong with a file, where in its tree, and what to do. Turning a place in the tree
//! into file, line and column is the loader's work.

use std::fmt;
use std::ops::Range;

/// One step into a YAML tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Field(String),
    Index(usize),
}

/// A place in a YAML tree, from its root.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Key>);

impl Path {
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }
    #[must_use]
    pub fn field(&self, name: impl Into<String>) -> Self {
        self.then(Key::Field(name.into()))
    }
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.then(Key::Index(index))
    }
    #[must_use]
    pub fn then(&self, key: Key) -> Self {
        let mut keys = self.0.clone();
        keys.push(key);
        Self(keys)
    }
    #[must_use]
    pub fn join(&self, rest: &Self) -> Self {
        Self(self.0.iter().chain(&rest.0).cloned().collect())
    }
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.0
    }
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, key) in self.0.iter().enumerate() {
            match key {
                Key::Field(name) if n == 0 => write!(f, "{name}")?,
                Key::Field(name) => write!(f, ".{name}")?,
                Key::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// An error stops the file from loading, a warning does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Warning,
    Error,
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// Stable, kebab-case: `unknown-field`, `bad-jsonpath`.
    pub code: &'static str,
    pub at: Path,
    /// Bytes inside the string at `at`, where the problem is in an expression.
    pub within: Option<Range<usize>>,
    /// The problem is with the key at the end of `at`, not with its value.
    pub on_key: bool,
    /// A lowercase fragment.
    pub message: String,
    /// What to do about it: `did you mean "timeout"?`
    pub help: Option<String>,
}

impl Problem {
    #[must_use]
    pub fn error(code: &'static str, at: Path, message: impl fmt::Display) -> Self {
        Self {
            severity: Severity::Error,
            code,
            at,
            within: None,
            on_key: false,
            message: message.to_string(),
            help: None,
        }
    }
    #[must_use]
    pub fn warning(code: &'static str, at: Path, message: impl fmt::Display) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, at, message) }
    }
    #[must_use]
    pub fn help(self, help: impl fmt::Display) -> Self {
        Self { help: Some(help.to_string()), ..self }
    }
    #[must_use]
    pub fn within(self, bytes: Range<usize>) -> Self {
        Self { within: Some(bytes), ..self }
    }
    #[must_use]
    pub fn on_key(self) -> Self {
        Self { on_key: true, ..self }
    }
}
