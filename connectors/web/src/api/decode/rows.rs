//! Answers that are one row after the other, read as their bytes come: no more of them is held than one row.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use karez_api::{Body, Fault};

use super::csv::{Table, TableRows};
use super::fault::bad;
use super::gzip::Unpacker;
use super::items::Items;
use super::ndjson::Lines;
use super::xml::{Document, Elements};

/// Longest row of an answer that is read piece by piece, in bytes.
pub(crate) const MAX_ROW: usize = 1 << 20;

/// A part of a row that is looked at again whenever there is more of it, in bytes.
const SHORT: usize = 16 << 10;

/// What some programs write at the start of UTF-8 text; no part of it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The formats that have rows.
#[derive(Clone)]
pub(super) enum Kind {
    Lines,
    Table(Arc<Table>),
    Document(Arc<Document>),
}

/// Takes rows off the front of a text.
pub(super) trait Cut: Send {
    /// Reads what is whole of `text`, which goes on unless this is its `end`. Yields how many bytes are done with;
    /// the others come again, with more behind them.
    ///
    /// # Errors
    /// Something of it cannot be read. What comes after it is not looked at.
    fn cut(&mut self, text: &[u8], end: End, rows: &mut Vec<Body>) -> Result<usize, Fault>;
}

/// Whether more of the text can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Open,
    Here,
}

/// An answer that is being read. After a fault it is of no use any more.
pub(crate) struct Rows {
    unpacker: Option<Unpacker>,
    /// What is not a whole row yet.
    pub(super) held: BytesMut,
    /// It is not looked at again before it has this length: it may come in tiny pieces.
    again: usize,
    /// Nothing of the text was read so far.
    fresh: bool,
    max: usize,
    format: Box<dyn Cut>,
}

impl Rows {
    /// No row is longer than `max` bytes.
    pub(super) fn new(kind: Kind, max: usize) -> Self {
        let format: Box<dyn Cut> = match kind {
            Kind::Lines => Box::new(Lines::new()),
            Kind::Table(table) => Box::new(TableRows::new(table)),
            Kind::Document(shape) => Box::new(Elements::new(shape, max)),
        };
        Self::of(format, max)
    }

    /// Of a JSON text with a list that these names lead to.
    pub(super) fn items(way: &[String], max: usize) -> Self {
        Self::of(Box::new(Items::new(way.into())), max)
    }

    fn of(format: Box<dyn Cut>, max: usize) -> Self {
        Self { unpacker: None, held: BytesMut::new(), again: 0, fresh: true, max, format }
    }

    /// The same of a gzip file.
    pub(super) fn packed(kind: Kind, max: usize) -> Self {
        Self { unpacker: Some(Unpacker::new()), ..Self::new(kind, max) }
    }

    /// Reads on. `None` is the end, after which nothing comes.
    ///
    /// # Errors
    /// As of [`super::Decoder::read`], and where a row is too long.
    pub(crate) fn feed(&mut self, piece: Option<Bytes>) -> Result<Vec<Body>, Fault> {
        let end = if piece.is_none() { End::Here } else { End::Open };
        let text = match &mut self.unpacker {
            Some(unpacker) => unpacker.feed(piece)?,
            None => piece.unwrap_or_default(),
        };
        let mut rows = Vec::new();
        self.text(text, end, &mut rows)?;
        Ok(rows)
    }

    fn text(&mut self, text: Bytes, end: End, rows: &mut Vec<Body>) -> Result<(), Fault> {
        let mut text = match self.held.is_empty() {
            true => text,
            false => {
                self.held.extend_from_slice(&text);
                if end == End::Open && self.held.len() < self.again {
                    return Ok(());
                }
                self.held.split().freeze()
            }
        };
        if self.fresh {
            if end == End::Open && BYTE_ORDER_MARK.starts_with(&text) {
                self.held.extend_from_slice(&text);
                return Ok(());
            }
            text = text.slice_ref(without_mark(&text));
            self.fresh = false;
        }
        let done = self.format.cut(&text, end, rows)?;
        let rest = &text[done..];
        if rest.len() > self.max {
            return Err(bad(format!("a row of the answer is longer than {} bytes", self.max)));
        }
        self.held.extend_from_slice(rest);
        self.again = if rest.len() < SHORT { 0 } else { rest.len() + rest.len() / 4 };
        Ok(())
    }
}

/// A text without its byte order mark.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}
