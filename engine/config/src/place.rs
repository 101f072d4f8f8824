//! From a path in a file, and bytes inside the string there, to file, line and column.

use std::fmt;
use std::ops::Range;

use karez_api::{Path, Severity};

use crate::yaml;

/// A problem with its place. Its [`Display`](fmt::Display) is one line for people:
/// `pipelines/orders.yaml:14:7: error[unknown-field] sinks.crm.http.timout: unknown field; did you mean "timeout"?`
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Placed {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The column after the last character, where the problem is a part of a string on one line.
    pub end_column: Option<usize>,
    pub severity: Severity,
    /// Stable, kebab-case.
    pub code: &'static str,
    /// Where in the file's tree: `sinks.crm.http.timout`; empty for the file itself.
    pub path: String,
    /// A lowercase fragment.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The line as it stands in the file; empty where it is longer than 400 characters.
    pub source_line: String,
}

impl Placed {
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{}:{}:{}: {severity}[{}] ", self.file, self.line, self.column, self.code)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) end_column: Option<usize>,
    pub(crate) source_line: String,
}

/// The place of a byte.
pub(crate) fn of_byte(text: &str, offset: usize) -> Place {
    of_bytes(text, &(offset..offset))
}

/// The place of what `path` names: the value, its key, or bytes `within` the string that it is.
pub(crate) fn of_path(text: &str, path: &Path, on_key: bool, within: Option<&Range<usize>>) -> Place {
    let mut path = path.clone();
    let mut within = within;
    let mut on_key = on_key;
    loop {
        if let Some(start) = yaml::locate(text, &path, on_key) {
            let bytes = match within {
                Some(within) => inside_string(text, start, within),
                None => start..start + word(&text[start..], on_key),
            };
            return of_bytes(text, &bytes);
        }
        // What is missing in the file (a required field) is reported at the nearest thing that is there.
        let Some(parent) = path.parent() else {
            return of_byte(text, 0);
        };
        (path, within, on_key) = (parent, None, true);
    }
}

fn of_bytes(text: &str, bytes: &Range<usize>) -> Place {
    let at = bytes.start.min(text.len());
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    // At the very end of a text that ends with a line break, the last line is the one to show.
    let (at, start) = match at == text.len() && start == at && at > 0 {
        true => (at - 1, text[..at - 1].rfind('\n').map_or(0, |newline| newline + 1)),
        false => (at, start),
    };
    let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    let line = text[start..end].trim_end_matches('\r');
    let column = text[start..at].chars().count() + 1;
    let one_line = bytes.end > at && bytes.end <= end;
    Place {
        line: text[..start].matches('\n').count() + 1,
        column,
        end_column: one_line.then(|| column + text[at..bytes.end].chars().count()),
        source_line: if line.chars().count() <= 400 { line.to_owned() } else { String::new() },
    }
}

/// The length of what stands at the beginning of `text`, where it is a key or a scalar on one line; else 0.
fn word(text: &str, on_key: bool) -> usize {
    let line = text.lines().next().unwrap_or_default();
    match line.chars().next() {
        Some(quote @ ('"' | '\'')) => line[1..].find(quote).map_or(0, |end| end + 2),
        Some('[' | '{' | '|' | '>' | '&' | '*' | '!' | '-') | None => 0,
        Some(_) => {
            let ends = if on_key { [":", ":"] } else { [" #", ": "] };
            let cut = |line: &str, end: &str| line.find(end).unwrap_or(line.len());
            let length = ends.iter().map(|end| cut(line, end)).min().unwrap_or_default();
            // Inside brackets a value ends at a comma or at the bracket that closes.
            let length = length.min(cut(line, ", ")).min(line.find(['}', ']']).unwrap_or(length));
            line[..length].trim_end().len()
        }
    }
}

/// Bytes of a string's value, as bytes of the text in which it is written from `start` on.
fn inside_string(text: &str, start: usize, within: &Range<usize>) -> Range<usize> {
    let start = start + anchor(&text[start..]);
    let written = &text[start..];
    let byte = |at| {
        start
            + match written.as_bytes().first() {
                Some(b'"') => 1 + quoted(&written[1..], at, '\\'),
                Some(b'\'') => 1 + quoted(&written[1..], at, '\''),
                Some(b'|' | b'>') => block(written, at),
                _ => boundary(written, at),
            }
    };
    byte(within.start)..byte(within.end)
}

/// The length of `&name ` before a value.
fn anchor(text: &str) -> usize {
    if !text.starts_with('&') {
        return 0;
    }
    let name = text.find([' ', '\n']).unwrap_or(text.len());
    text[name..].find(|c: char| !c.is_whitespace()).map_or(name, |space| name + space)
}

/// The byte of a quoted text (without its opening quote) where byte `at` of its value is written.
/// Two characters after `escape` count as one byte, which is exact for the escapes people use.
fn quoted(written: &str, at: usize, escape: char) -> usize {
    let mut value = 0;
    let mut chars = written.char_indices();
    while let Some((offset, c)) = chars.next() {
        if value >= at {
            return offset;
        }
        if c == escape {
            value += chars.next().map_or(0, |_| 1);
        } else if c == '"' && escape == '\\' {
            return offset;
        } else {
            value += c.len_utf8();
        }
    }
    written.len()
}

/// The byte of a block scalar (`|` or `>`) where byte `at` of its value is written.
fn block(written: &str, at: usize) -> usize {
    let mut lines = written.split_inclusive('\n');
    let mut offset = lines.next().map_or(0, str::len);
    let first = written[offset..].lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let indent = first.len() - first.trim_start_matches(' ').len();
    let mut value = 0;
    for line in lines {
        let body = line.len().saturating_sub(indent);
        if at < value + body.max(1) {
            return boundary(written, offset + indent.min(line.len() - 1) + (at - value));
        }
        value += body.max(1);
        offset += line.len();
    }
    written.trim_end().len()
}

fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
