//! Reads a document tag by tag and keeps only the record that is open.

use std::sync::Arc;

use karez_api::{Body, Fault};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::{Error, Reader, XmlVersion};

use super::super::fault::{bad, bad_answer, bad_row, names, records_missing};
use super::super::rows::{Cut, End, without_mark};
use super::Document;
use super::names::{Of, Scope};
use super::node::Node;

/// Levels of elements.
const DEPTH: usize = 64;
/// Attributes of one element.
const ATTRIBUTES: usize = 256;
/// Names that are kept for a message.
const NAMES: usize = 32;

const EXPECTED: &str = "XML";

/// A document that is being read.
pub(crate) struct Elements {
    shape: Arc<Document>,
    /// Longest record, in bytes.
    max: usize,
    /// Line breaks so far.
    lines: u64,
    scope: Scope,
    open: Vec<Open>,
    /// How many of the open elements, from the root, are those of the record's path.
    matched: usize,
    /// The record that is open, and the elements that are open in it.
    record: Vec<Node>,
    /// Bytes of it.
    length: usize,
    reached: Reached,
    found: bool,
}

/// An element that is open.
struct Open {
    /// As the document writes it.
    written: String,
    name: String,
}

/// The best that was seen of the record's path.
#[derive(Default)]
struct Reached {
    level: usize,
    /// What stands there.
    names: Vec<String>,
}

impl Elements {
    pub(in super::super) fn new(shape: Arc<Document>, max: usize) -> Self {
        Self {
            shape,
            max,
            lines: 0,
            scope: Scope::default(),
            open: Vec::new(),
            matched: 0,
            record: Vec::new(),
            length: 0,
            reached: Reached::default(),
            found: false,
        }
    }

    fn event(&mut self, event: Event<'_>, rows: &mut Vec<Body>) -> Result<(), Fault> {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::Empty(tag) => {
                self.start(&tag)?;
                self.end(tag.name().as_ref(), rows)
            }
            Event::End(tag) => self.end(tag.name().as_ref(), rows),
            Event::Text(text) => self.text(&text.xml10_content()),
            Event::CData(text) => self.text(&text.xml10_content()),
            Event::GeneralRef(reference) => self.reference(&reference),
            Event::Decl(declaration) => self.declaration(&declaration),
            Event::DocType(kind) => match is_html(&kind) {
                true => Err(self.wrong("it is a page of HTML")),
                false => Ok(()),
            },
            Event::Comment(_) | Event::PI(_) | Event::Eof => Ok(()),
        }
    }

    fn start(&mut self, tag: &BytesStart<'_>) -> Result<(), Fault> {
        let depth = self.open.len();
        if depth == DEPTH {
            return Err(self.wrong(format!("elements stand in more than {DEPTH} others")));
        }
        if depth == 0 && self.reached.level + self.reached.names.len() > 0 {
            return Err(self.wrong("there is something behind its end"));
        }
        let node = self.attributes(tag, depth)?;
        let name = self.scope.name(&self.shape.namespaces, tag.name().as_ref(), Of::Element);
        if depth == 0 && is_html(&name) && self.shape.record[0] != name {
            return Err(self.wrong("it is a page of HTML"));
        }
        if !self.record.is_empty() {
            self.record.push(node);
        } else if self.matched == depth {
            self.follow(&name, node);
        }
        self.open.push(Open { written: tag.name().as_ref().to_owned(), name });
        Ok(())
    }

    /// An element beside the record's path, on it, or a record.
    fn follow(&mut self, name: &str, node: Node) {
        let path = &self.shape.record;
        if self.matched == self.reached.level && self.reached.names.len() < NAMES {
            let known = self.reached.names.iter().any(|known| known == name);
            self.reached.names.extend((!known).then(|| name.to_owned()));
        }
        if path.get(self.matched).is_none_or(|wanted| wanted != name) {
            return;
        }
        self.matched += 1;
        if self.matched == path.len() {
            self.record.push(node);
            self.length = 0;
            self.found = true;
        } else if self.matched > self.reached.level {
            self.reached = Reached { level: self.matched, names: Vec::new() };
        }
    }

    fn attributes(&mut self, tag: &BytesStart<'_>, depth: usize) -> Result<Node, Fault> {
        let mut attributes = Vec::new();
        for (number, attribute) in tag.attributes().enumerate() {
            if number == ATTRIBUTES {
                return Err(self.wrong(format!("an element has more than {ATTRIBUTES} attributes")));
            }
            let attribute = attribute.map_err(|error| self.wrong(error))?;
            let value =
                attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| self.wrong(error))?;
            if !self.scope.declare(depth, attribute.key.as_ref(), &value) {
                attributes.push((attribute.key, value.into_owned()));
            }
        }
        let mut node = Node::default();
        for (key, value) in attributes {
            let name = self.scope.name(&self.shape.namespaces, key.as_ref(), Of::Attribute);
            if !node.attribute(&name, value) {
                return Err(self.wrong(format!("an element has the attribute {name} twice")));
            }
        }
        Ok(node)
    }

    fn end(&mut self, written: &str, rows: &mut Vec<Body>) -> Result<(), Fault> {
        match self.open.last() {
            Some(open) if open.written == written => {}
            Some(open) => return Err(self.wrong(format!("<{}> is closed by </{written}>", open.written))),
            None => return Err(self.wrong(format!("</{written}> closes nothing"))),
        }
        if let Some(node) = self.record.pop() {
            let value = node.finish();
            match self.record.last_mut() {
                None => rows.push(Body::from_tree(value)),
                Some(parent) => {
                    let path: Vec<&str> = self.open.iter().map(|open| &*open.name).collect();
                    let is_list = self.shape.is_list(&path);
                    let name = self.open.last().map(|open| open.name.clone()).unwrap_or_default();
                    parent.add(name, value, is_list);
                }
            }
        }
        self.open.pop();
        self.scope.leave(self.open.len());
        self.matched = self.matched.min(self.open.len());
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        match self.record.last_mut() {
            Some(node) => node.text(text),
            None if self.open.is_empty() && !text.trim_ascii().is_empty() => {
                return Err(bad_answer(EXPECTED, "there is text outside of its elements", text.as_bytes()));
            }
            None => {}
        }
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), Fault> {
        let character = reference.resolve_char_ref().map_err(|error| self.wrong(error))?;
        match (character, resolve_predefined_entity(reference)) {
            (Some(character), _) => self.text(character.encode_utf8(&mut [0; 4])),
            (None, Some(text)) => self.text(text),
            (None, None) => Err(self.wrong(format!("the entity &{}; is not expanded", &**reference))),
        }
    }

    fn declaration(&mut self, declaration: &BytesDecl<'_>) -> Result<(), Fault> {
        match declaration.encoding() {
            Some(Ok(name)) if !["utf-8", "us-ascii", "ascii"].contains(&&*name.to_ascii_lowercase()) => {
                Err(self.wrong(format!("it is in {name}, and only UTF-8 is read")))
            }
            Some(Err(error)) => Err(self.wrong(error)),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// The document is not whole, or has nothing where its records should be.
    fn finish(&self) -> Result<(), Fault> {
        if let Some(open) = self.open.last() {
            return Err(self.wrong(format!("it ends before <{}> is closed", open.written)));
        }
        let Reached { level, names: there } = &self.reached;
        if *level == 0 && there.is_empty() {
            return Err(bad_answer(EXPECTED, "it has no elements", b""));
        }
        if self.found || (*level > 0 && level + 1 == self.shape.record.len()) {
            return Ok(());
        }
        let way = format!("/{}", self.shape.record[..*level].join("/"));
        Err(records_missing(&self.shape.text, &way, names(there.iter().map(String::as_str))))
    }

    fn wrong(&self, why: impl std::fmt::Display) -> Fault {
        bad_row(EXPECTED, self.lines + 1, why, b"")
    }

    fn passed(&mut self, text: &[u8]) -> Result<(), Fault> {
        self.lines += memchr::memchr_iter(b'\n', text).count() as u64;
        if self.record.is_empty() {
            return Ok(());
        }
        self.length = self.length.saturating_add(text.len());
        match self.length > self.max {
            true => Err(bad(format!("a record of the answer is longer than {} bytes", self.max))),
            false => Ok(()),
        }
    }
}

impl Cut for Elements {
    fn cut(&mut self, text: &[u8], end: End, rows: &mut Vec<Body>) -> Result<usize, Fault> {
        let mut done = 0;
        // The reader would take a byte order mark off, which is a part of a text here.
        while without_mark(&text[done..]).len() < text.len() - done {
            self.text("\u{feff}")?;
            done += 3;
        }
        let begin = done;
        let mut reader = Reader::from_reader(&text[begin..]);
        // Each piece of a document has a reader of its own, so it does not know what is open.
        reader.config_mut().check_end_names = false;
        reader.config_mut().allow_unmatched_ends = true;
        loop {
            let event = reader.read_event();
            let after = begin + usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
            // A text that reaches the end may go on behind it, and so may half a tag.
            let goes_on = end == End::Open && after == text.len();
            match event {
                Ok(Event::Eof) => break,
                Ok(Event::Text(_)) | Err(_) if goes_on => break,
                Err(Error::Syntax(_)) if end == End::Open => break,
                Err(error) => return Err(bad_row(EXPECTED, self.lines + 1, error, &text[done..])),
                Ok(event) => self.event(event, rows)?,
            }
            self.passed(&text[done..after])?;
            done = after;
        }
        if end == End::Here {
            self.finish()?;
        }
        Ok(done)
    }
}

fn is_html(name: &str) -> bool {
    let word = name.split_ascii_whitespace().next().unwrap_or_default();
    word.eq_ignore_ascii_case("html")
}
