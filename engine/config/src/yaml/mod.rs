//! YAML text to tree, and from a path in that tree back to the byte where it is written.
//! The only module that names the YAML library.
//!
//! Places cost nothing until there is a problem: a second pass follows the path and raises an
//! error at its end, and the library says where in the text that was.

mod locate;
mod tree;

use std::fmt;

use karez_api::{Json, Path};
use serde::de::DeserializeSeed;

use crate::{MAX_FILE_BYTES, yaml_mistakes};
use tree::{Node, Reading};

pub(crate) use locate::locate;

/// Unclosed `[` and `{` that the parser is let to see: its time grows with their square.
const MAX_FLOW_DEPTH: usize = 512;

/// A file that was understood.
pub(crate) struct Document {
    pub(crate) tree: Json,
    /// Where merge keys brought entries to, and where those are written.
    pub(crate) moved: Vec<(Path, Path)>,
}

/// Why a file was not understood.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    /// Byte in the text.
    pub(crate) offset: usize,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl SyntaxError {
    pub(crate) fn new(offset: usize, code: &'static str, message: impl fmt::Display) -> Self {
        Self { offset, code, message: message.to_string(), help: None }
    }
    pub(crate) fn help(self, help: impl fmt::Display) -> Self {
        Self { help: Some(help.to_string()), ..self }
    }
}

/// Reads one YAML document.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, SyntaxError> {
    let text = readable(bytes)?;
    let reading = Reading::default();
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let Some(document) = documents.next() else {
        return Err(empty());
    };
    let tree = Node { reading: &reading, at: &Path::root() }
        .deserialize(document)
        .map_err(|error| explain(&error, &reading, text))?;
    if documents.next().is_some() {
        let message = "a file holds one document";
        return Err(SyntaxError::new(second_document(text), "several-documents", message)
            .help("put each pipeline into a file of its own"));
    }
    if tree.is_null() {
        return Err(empty());
    }
    Ok(Document { tree, moved: reading.moved.into_inner() })
}

fn empty() -> SyntaxError {
    SyntaxError::new(0, "empty-file", "the file is empty")
        .help("remove it, or write a pipeline: `karez new` makes one")
}

fn readable(bytes: &[u8]) -> Result<&str, SyntaxError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(SyntaxError::new(0, "too-large", "the file is larger than 1 MiB"));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| SyntaxError::new(error.valid_up_to(), "not-utf8", "the file is not UTF-8 text"))?;
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    if let Some((offset, c)) = text.char_indices().find(|(_, c)| control(*c)) {
        let message = format!("control character U+{:04X}", c as u32);
        return Err(
            SyntaxError::new(offset, "yaml-syntax", message).help("write it as an escape in double quotes")
        );
    }
    let mut depth = 0_usize;
    for (offset, byte) in bytes.iter().enumerate() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_FLOW_DEPTH {
            return Err(SyntaxError::new(offset, "too-deep", "too many open brackets"));
        }
    }
    Ok(text)
}

fn second_document(text: &str) -> usize {
    let mut offset = 0;
    let mut content = false;
    for line in text.split_inclusive('\n') {
        if line.starts_with("---") || line.starts_with("...") {
            if content {
                return offset;
            }
        } else if !line.trim_start().is_empty() && !line.trim_start().starts_with('#') {
            content = true;
        }
        offset += line.len();
    }
    0
}

fn explain(error: &serde_yaml::Error, reading: &Reading, text: &str) -> SyntaxError {
    let offset = boundary(text, error.location().map_or(0, |place| place.index()));
    let full = error.to_string();
    let message = full.split(" at line ").next().unwrap_or(&full);
    if let Some(code) = reading.code.get() {
        // The library puts the path in front of a message; the place says it better.
        let message =
            message.split_once(": ").filter(|(path, _)| is_path(path)).map_or(message, |(_, rest)| rest);
        return SyntaxError::new(offset, code, message);
    }
    if let Some(mistake) = yaml_mistakes::recognise(text, offset, message, &full) {
        return mistake;
    }
    let (code, message) = match message {
        m if m.contains("recursion limit") => ("too-deep", "nested too deeply"),
        m if m.contains("repetition limit") => {
            ("too-large", "the file is too large once its aliases are written out")
        }
        m if m.contains("unknown anchor") => {
            ("unknown-anchor", "this alias names an anchor that does not stand above it")
        }
        m => ("yaml-syntax", m),
    };
    SyntaxError::new(offset, code, message)
}

/// The nearest character boundary at or before `offset`.
fn boundary(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn is_path(text: &str) -> bool {
    !text.contains(' ')
}
