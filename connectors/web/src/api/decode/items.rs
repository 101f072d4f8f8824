//! A long JSON text whose records stand in one place: read one by one. What stands beside them is passed over.

use bytes::Bytes;
use karez_api::{Body, Fault, Form};
use serde_json::value::RawValue;

use super::fault::{bad, bad_answer, records_missing};
use super::rows::{Cut, End};

pub(super) struct Items {
    /// The names that lead to the list.
    way: Vec<String>,
    /// For each object on the way that is open, from the outermost: whether what the way goes on in was there.
    open: Vec<bool>,
    next: Next,
    /// Nothing of the text was read so far.
    fresh: bool,
}

/// What comes next in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// What the way leads to, or through.
    Value,
    /// A field of an object on the way, or the end of one without fields.
    Field {
        first: bool,
    },
    /// A record, or the end of a list without any.
    Item {
        first: bool,
    },
    /// A comma or the end, of the list or of an object on the way.
    ItemEnd,
    FieldEnd,
    /// Nothing.
    Over,
}

impl Items {
    pub(super) fn new(way: Vec<String>) -> Self {
        Self { way, open: Vec::new(), next: Next::Value, fresh: true }
    }

    /// Reads one piece off the front of a text that begins with no white space. Yields its length; nothing where it is
    /// not whole.
    fn piece(&mut self, text: &[u8], end: End, rows: &mut Vec<Body>) -> Result<Option<usize>, Fault> {
        let Some(byte) = text.first() else { return Ok(None) };
        let next = match (self.next, byte) {
            (Next::Value, b'[') if self.open.len() == self.way.len() => Next::Item { first: true },
            (Next::Value, b'n') if self.open.len() == self.way.len() => {
                let Some((length, _)) = value(text, end)? else { return Ok(None) };
                self.next = self.behind();
                return Ok(Some(length));
            }
            (Next::Value, b'{') if self.open.len() < self.way.len() => {
                self.open.push(false);
                Next::Field { first: true }
            }
            // One record.
            (Next::Value, b'{') => {
                let Some(length) = record(text, end, rows)? else { return Ok(None) };
                self.next = self.behind();
                return Ok(Some(length));
            }
            (Next::Value, _) => {
                let fault = match value(text, end)? {
                    None => return Ok(None),
                    Some(_) if self.fresh => bad_answer("such JSON", "the records do not stand there", text),
                    Some(_) => self.missing("is something else"),
                };
                return Err(fault);
            }
            (Next::Field { first: true }, b'}') | (Next::FieldEnd, b'}') => {
                if self.open.pop() != Some(true) {
                    return Err(self.missing("has no such field"));
                }
                self.behind()
            }
            (Next::Field { .. }, b'"') => return self.field(text, end),
            (Next::FieldEnd, b',') => Next::Field { first: false },
            (Next::Item { first: true }, b']') | (Next::ItemEnd, b']') => self.behind(),
            (Next::ItemEnd, b',') => Next::Item { first: false },
            (Next::Item { .. }, _) => {
                let Some(length) = record(text, end, rows)? else { return Ok(None) };
                self.next = Next::ItemEnd;
                return Ok(Some(length));
            }
            (Next::Field { .. } | Next::FieldEnd | Next::ItemEnd, _) => {
                return Err(bad_answer("JSON", "a comma or an end is missing", text));
            }
            (Next::Over, _) => return Err(bad_answer("one JSON text", "more stands behind it", text)),
        };
        self.next = next;
        Ok(Some(1))
    }

    /// A name and its colon; the value too, where the way does not go on in it.
    fn field(&mut self, text: &[u8], end: End) -> Result<Option<usize>, Fault> {
        let Some((length, name)) = value(text, end)? else { return Ok(None) };
        let name: String = serde_json::from_str(name).map_err(bad)?;
        let Some(colon) = beyond_space(text, length) else { return Ok(None) };
        if text[colon] != b':' {
            return Err(bad_answer("JSON", "a colon is missing", &text[length..]));
        }
        let Some(begin) = beyond_space(text, colon + 1) else { return Ok(None) };
        let wanted = self.open.len().checked_sub(1).and_then(|level| self.way.get(level));
        if wanted == Some(&name)
            && let Some(found) = self.open.last_mut()
        {
            if std::mem::replace(found, true) {
                return Err(bad(format!("the answer has {name:?} twice")));
            }
            self.next = Next::Value;
            return Ok(Some(begin));
        }
        let Some((length, _)) = value(&text[begin..], end)? else { return Ok(None) };
        self.next = Next::FieldEnd;
        Ok(Some(begin + length))
    }

    /// What comes behind a value that the way led to or through.
    fn behind(&self) -> Next {
        if self.open.is_empty() { Next::Over } else { Next::FieldEnd }
    }

    fn missing(&self, found: &str) -> Fault {
        let path =
            |names: &[String]| names.iter().fold("$".to_owned(), |path, name| format!("{path}.{name}"));
        records_missing(&path(&self.way), &path(&self.way[..self.open.len()]), found)
    }
}

impl Cut for Items {
    fn cut(&mut self, text: &[u8], end: End, rows: &mut Vec<Body>) -> Result<usize, Fault> {
        let mut done = 0;
        while let Some(begin) = beyond_space(text, done) {
            done = begin;
            let Some(length) = self.piece(&text[begin..], end, rows)? else { break };
            self.fresh = false;
            done += length;
        }
        match end {
            End::Here if self.next != Next::Over => {
                Err(bad_answer("JSON", "it ends in the middle", &text[done..]))
            }
            End::Here => Ok(text.len()),
            End::Open => Ok(done),
        }
    }
}

/// Where something else than white space stands, from there on.
fn beyond_space(text: &[u8], from: usize) -> Option<usize> {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    text.get(from..)?.iter().position(|byte| !space(byte)).map(|space| from + space)
}

/// Takes the record off the front of a text.
fn record(text: &[u8], end: End, rows: &mut Vec<Body>) -> Result<Option<usize>, Fault> {
    let Some((length, raw)) = value(text, end)? else { return Ok(None) };
    rows.push(Body::from_bytes(Form::Json, Bytes::copy_from_slice(raw.as_bytes())));
    Ok(Some(length))
}

/// The value that a text begins with, and its length; nothing where it is not whole.
fn value(text: &[u8], end: End) -> Result<Option<(usize, &str)>, Fault> {
    let number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    // A number at the end may go on.
    let before_number = text.iter().rposition(|byte| !number(byte)).map_or(0, |at| at + 1);
    if end == End::Open && before_number == 0 {
        return Ok(None);
    }
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(raw)) => Ok(Some((values.byte_offset(), raw.get()))),
        Some(Err(error)) if end == End::Open && (error.is_eof() || is_begun(&text[..before_number])) => {
            Ok(None)
        }
        Some(Err(error)) => Err(bad_answer("JSON", error, text)),
        None => Ok(None),
    }
}

/// Whether there is nothing wrong with a text but that it ends.
fn is_begun(text: &[u8]) -> bool {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    values.next().is_none_or(|value| value.is_err_and(|error| error.is_eof()))
}
