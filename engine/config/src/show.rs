//! A merged pipeline as YAML, each line with the place it comes from; secrets redacted.

use std::collections::BTreeMap;
use std::fmt::Write;

use karez_api::{Json, Key, Path};

use crate::files::Desk;
use crate::sheet::Sheet;
use crate::tree;

/// The column at which origins begin, where lines are short enough.
const ORIGIN_COLUMN: usize = 60;

/// What a load keeps so that pipelines can be shown; the pages are made when somebody asks.
pub(crate) struct Kept {
    pub(crate) desk: Desk,
    pub(crate) sheets: BTreeMap<String, Sheet>,
}

impl Kept {
    pub(crate) fn show(&self, name: &str) -> Option<String> {
        let sheet = self.sheets.get(name)?;
        let mut page = Page { sheet, desk: &self.desk, text: String::new() };
        page.node(&sheet.tree, &Path::root(), 0, String::new());
        Some(page.text)
    }
}

struct Page<'a> {
    sheet: &'a Sheet,
    desk: &'a Desk,
    text: String,
}

impl Page<'_> {
    /// Writes a value whose line so far is `lead` (`key:` or `-`).
    fn node(&mut self, value: &Json, at: &Path, depth: usize, lead: String) {
        let indent = "  ".repeat(depth);
        match value {
            Json::Object(fields) if !fields.is_empty() && !self.is_secret(at) => {
                let inner = self.open(at, depth, &lead);
                for (name, value) in fields {
                    let key = if plain(name) {
                        format!("{name}:")
                    } else {
                        format!("{}:", Json::from(name.as_str()))
                    };
                    self.node(value, &at.field(name.as_str()), inner, key);
                }
            }
            Json::Array(items) if !items.is_empty() && !self.is_secret(at) => {
                let inner = self.open(at, depth, &lead);
                for (index, item) in items.iter().enumerate() {
                    self.node(item, &at.index(index), inner, "-".to_owned());
                }
            }
            scalar => {
                let shown = self.scalar(scalar, at);
                self.line(&format!("{indent}{lead} {shown}"), at);
            }
        }
    }

    /// Writes the line that opens a map or list, and says how deep its content stands.
    fn open(&mut self, at: &Path, depth: usize, lead: &str) -> usize {
        if lead.is_empty() {
            return depth;
        }
        self.line(&format!("{}{lead}", "  ".repeat(depth)), at);
        depth + 1
    }

    fn line(&mut self, line: &str, at: &Path) {
        let spot = self.sheet.origins.find(at);
        let origin = self.desk.name_place(&spot);
        let line = line.trim_end();
        let _infallible = writeln!(self.text, "{line:<ORIGIN_COLUMN$} # {origin}");
    }

    fn scalar(&self, value: &Json, at: &Path) -> String {
        if self.is_secret(at) && !value.is_null() {
            return "\"[redacted]\"".into();
        }
        match value {
            Json::String(text) => Json::from(self.without_secrets(text, at)).to_string(),
            other => other.to_string(),
        }
    }

    /// The text with everything left out that `${file:…}` and `${secret:…}` brought.
    fn without_secrets(&self, text: &str, at: &Path) -> String {
        let mut shown = String::new();
        let mut done = 0;
        for piece in self.sheet.written.get(at).into_iter().flat_map(|written| written.brought()) {
            if piece.secret
                && let Some(before) = text.get(done..piece.result.start)
            {
                shown.push_str(before);
                shown.push_str("[redacted]");
                done = piece.result.end;
            }
        }
        shown.push_str(text.get(done..).unwrap_or_default());
        shown
    }

    fn is_secret(&self, at: &Path) -> bool {
        // A test's data is nobody's secret, whatever its fields are called.
        let in_tests = matches!(at.keys().first(), Some(Key::Field(name)) if name == "tests");
        !in_tests && self.sheet.secret.borrow().iter().any(|secret| tree::below(at, secret))
    }
}

fn plain(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(word)
        && !matches!(name, "true" | "false" | "null")
}
