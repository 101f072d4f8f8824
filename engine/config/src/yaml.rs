//! YAML text to tree, and from a path in that tree back to the byte where it is written.
//! The only module that names the YAML library.
//!
//! Places cost nothing until there is a problem: a second pass follows the path and raises an
//! error at its end, and the library says where in the text that was.

use std::cell::{Cell, RefCell};
use std::fmt;

use karez_api::{Json, JsonMap, Key, Path};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{MAX_FILE_BYTES, yaml_mistakes};

/// Nodes that a file may have once its aliases are written out.
const MAX_NODES: usize = 100_000;
/// Bytes of strings that a file may have once its aliases are written out.
const MAX_STRING_BYTES: usize = 8 << 20;
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

/// What is kept beside the tree while a document is read.
#[derive(Default)]
struct Reading {
    nodes: Cell<usize>,
    string_bytes: Cell<usize>,
    /// The code of an error that this module raised itself.
    code: Cell<Option<&'static str>>,
    moved: RefCell<Vec<(Path, Path)>>,
}

impl Reading {
    fn fail<E: Error>(&self, code: &'static str, message: impl fmt::Display) -> E {
        self.code.set(Some(code));
        E::custom(message)
    }

    fn count<E: Error>(&self, string_bytes: usize) -> Result<(), E> {
        self.nodes.set(self.nodes.get() + 1);
        self.string_bytes.set(self.string_bytes.get() + string_bytes);
        if self.nodes.get() > MAX_NODES || self.string_bytes.get() > MAX_STRING_BYTES {
            return Err(self.fail("too-large", "the file is too large once its aliases are written out"));
        }
        Ok(())
    }
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
    if let Some(mistake) = yaml_mistakes::recognise(text, offset, message) {
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

/// Builds the tree of one node.
struct Node<'a> {
    reading: &'a Reading,
    at: &'a Path,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        self.reading.count(0)?;
        Ok(Json::Null)
    }
    fn visit_none<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        self.reading.count(0)?;
        Ok(Json::Bool(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        self.reading.count(0)?;
        Ok(Json::from(value))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        self.reading.count(0)?;
        Ok(Json::from(value))
    }
    fn visit_i128<E: Error>(self, _: i128) -> Result<Json, E> {
        Err(self.reading.fail("bad-number", "a number needs more than 64 bits; write it in quotes"))
    }
    fn visit_u128<E: Error>(self, _: u128) -> Result<Json, E> {
        Err(self.reading.fail("bad-number", "a number needs more than 64 bits; write it in quotes"))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        self.reading.count(0)?;
        serde_json::Number::from_f64(value)
            .map(Json::Number)
            .ok_or_else(|| self.reading.fail("bad-number", "infinity and not-a-number are no values here"))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        self.reading.count(value.len())?;
        Ok(Json::String(value.to_owned()))
    }
    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, _: A) -> Result<Json, A::Error> {
        Err(self.reading.fail("yaml-tag", "YAML tags (`!name`) are not used here"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        self.reading.count(0)?;
        let mut list = Vec::new();
        loop {
            let at = self.at.index(list.len());
            match items.next_element_seed(Node { reading: self.reading, at: &at })? {
                Some(item) => list.push(item),
                None => return Ok(Json::Array(list)),
            }
        }
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        self.reading.count(0)?;
        let mut map = JsonMap::new();
        while let Some(name) = fields.next_key_seed(Name { reading: self.reading, taken: &map })? {
            self.reading.count(name.len())?;
            let at = self.at.field(name.as_str());
            let value = fields.next_value_seed(Node { reading: self.reading, at: &at })?;
            map.insert(name, value);
        }
        if let Some(merged) = map.shift_remove("<<") {
            self.merge(&mut map, merged)?
        }
        Ok(Json::Object(map))
    }
}

impl Node<'_> {
    /// YAML's merge key: entries of the given maps, except where the map has its own; the first map wins.
    fn merge<E: Error>(&self, map: &mut JsonMap, merged: Json) -> Result<(), E> {
        let at = self.at.field("<<");
        let parts = match merged {
            Json::Array(maps) => maps.into_iter().enumerate().map(|(n, part)| (at.index(n), part)).collect(),
            one => vec![(at, one)],
        };
        for (from, part) in parts {
            let Json::Object(entries) = part else {
                return Err(self.reading.fail("bad-merge", "`<<` takes a map or a list of maps"));
            };
            for (name, value) in entries {
                if !map.contains_key(&name) {
                    let moved = (self.at.field(name.as_str()), from.field(name.as_str()));
                    self.reading.moved.borrow_mut().push(moved);
                    map.insert(name, value);
                }
            }
        }
        Ok(())
    }
}

/// A key of a map, which no earlier key may equal.
struct Name<'a> {
    reading: &'a Reading,
    taken: &'a JsonMap,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain key")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<String, E> {
        if self.taken.contains_key(name) {
            return Err(self
                .reading
                .fail("duplicate-key", format_args!("key {name:?} stands twice in one map")));
        }
        Ok(name.to_owned())
    }
}

/// The byte where the value at `path` (or its key) begins; absent where the text has no such place.
pub(crate) fn locate(text: &str, path: &Path, on_key: bool) -> Option<usize> {
    let document = serde_yaml::Deserializer::from_str(text).next()?;
    let error = Follow { keys: path.keys(), on_key }.deserialize(document).err()?;
    Some(boundary(text, error.location()?.index()))
}

/// Follows a path and raises an error at its end.
struct Follow<'a> {
    keys: &'a [Key],
    on_key: bool,
}

impl<'de> DeserializeSeed<'de> for Follow<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.keys.is_empty() {
            deserializer.deserialize_any(Stop)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Follow<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the rest of a path")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((Key::Index(wanted), rest)) = self.keys.split_first() else {
            return Err(A::Error::custom("no such place"));
        };
        for _ in 0..*wanted {
            items.next_element::<IgnoredAny>()?;
        }
        items.next_element_seed(Follow { keys: rest, on_key: self.on_key })?;
        Err(A::Error::custom("no such place"))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let Some((Key::Field(wanted), rest)) = self.keys.split_first() else {
            return Err(A::Error::custom("no such place"));
        };
        let stop = self.on_key && rest.is_empty();
        while let Some(found) = fields.next_key_seed(IsKey { wanted, stop })? {
            if found {
                fields.next_value_seed(Follow { keys: rest, on_key: self.on_key })?;
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Err(A::Error::custom("no such place"))
    }
}

/// Takes nothing: whatever stands here is reported with its place.
struct Stop;

impl Visitor<'_> for Stop {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the end of the path")
    }
}

struct IsKey<'a> {
    wanted: &'a str,
    stop: bool,
}

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        match name == self.wanted {
            true if self.stop => Err(E::custom("here")),
            found => Ok(found),
        }
    }
}
