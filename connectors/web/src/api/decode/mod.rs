//! What the bytes of an answer are, and where its records stand. Pure. An answer that cannot be read whole is a fault:
//! a page of HTML under a good status, half a document, a path that is not there are never "no records".

mod format;

mod json;
mod records;
mod way;

mod rows;

mod csv;
mod items;
mod ndjson;
mod xml;

mod fault;
mod gzip;

use bytes::Bytes;
use karez_api::{Body, Checker, Fault, Json, Path, Problem};

use self::csv::Table;
use fault::bad;
pub(crate) use format::Format;
use records::Records;
pub(crate) use records::names_of;
use rows::Kind;
pub(crate) use rows::{MAX_ROW, Rows};
use xml::Document;

/// What a packed answer may grow to where it is read as a whole, in bytes.
const MAX_UNPACKED: usize = 256 << 20;

/// How the answers of one stream are read.
pub(crate) struct Decoder {
    content: Content,
    /// The body is a gzip file, whatever its headers say.
    packed: bool,
}

enum Content {
    Json(Records),
    Rows(Kind),
}

/// What one answer says.
#[derive(Debug)]
pub(crate) struct Page {
    /// The answer without its records, for whoever looks for the next page in it: an empty list stands where they
    /// were. A record that is an object stays in it as well. Null where an answer is nothing but rows.
    pub(crate) envelope: Json,
    pub(crate) records: Vec<Body>,
}

impl Decoder {
    /// Checks the settings of the stream that stands at `at`; what is wrong is reported, all of it.
    pub(crate) fn check(
        cx: &Checker<'_>,
        at: &Path,
        format: &Format,
        gzip: bool,
        records: Option<&str>,
    ) -> Option<Self> {
        let own = at.field("format");
        let content = match format {
            Format::Json => {
                let read = Records::check(cx, &at.field("records"), records.unwrap_or("$"));
                return read.map(|read| Self { content: Content::Json(read), packed: gzip });
            }
            Format::Ndjson => Some(Kind::Lines),
            Format::Csv(spec) => {
                Table::check(cx, &own.field("csv"), spec).map(|table| Kind::Table(table.into()))
            }
            Format::Xml(spec) => {
                Document::check(cx, &own.field("xml"), spec).map(|shape| Kind::Document(shape.into()))
            }
        };
        if records.is_some() {
            let message = "is a path in JSON; this format has its records by itself";
            let help = match format {
                Format::Xml(_) => "`format: {xml: {record: …}}` says which elements they are",
                _ => "leave it out: each row is a record",
            };
            cx.report(Problem::error("bad-records", at.field("records"), message).on_key().help(help));
            return None;
        }
        content.map(|kind| Self { content: Content::Rows(kind), packed: gzip })
    }

    /// Media types that such an answer comes under; the first is the one to ask for.
    pub(crate) fn accepts(&self) -> &'static [&'static str] {
        match &self.content {
            _ if self.packed => &gzip::ACCEPTS,
            Content::Json(_) => &json::ACCEPTS,
            Content::Rows(Kind::Lines) => &ndjson::ACCEPTS,
            Content::Rows(Kind::Table(_)) => &csv::ACCEPTS,
            Content::Rows(Kind::Document(_)) => &xml::ACCEPTS,
        }
    }

    /// Reads a whole answer.
    ///
    /// # Errors
    /// Class service, `bad_answer`: it is something else, or not whole. `records_missing`: there are no records where
    /// they should be, and not even an empty list.
    pub(crate) fn read(&self, body: Bytes) -> Result<Page, Fault> {
        let body = if self.packed { gzip::unpack(&body, MAX_UNPACKED)? } else { body };
        match &self.content {
            Content::Json(records) => json::read(records, &body),
            Content::Rows(kind) => {
                let mut rows = Rows::new(kind.clone(), usize::MAX);
                let mut records = rows.feed(Some(body))?;
                records.extend(rows.feed(None)?);
                Ok(Page { envelope: Json::Null, records })
            }
        }
    }

    /// Reads an answer piece by piece, where its format is for that.
    pub(crate) fn lines(&self) -> Option<Rows> {
        match &self.content {
            Content::Json(_) => None,
            Content::Rows(kind) if self.packed => Some(Rows::packed(kind.clone(), MAX_ROW)),
            Content::Rows(kind) => Some(Rows::new(kind.clone(), MAX_ROW)),
        }
    }

    /// Reads a JSON answer piece by piece, where only names lead to its records: for one that is too long to be held,
    /// since nothing else is seen of it. None of them is longer than `max` bytes.
    pub(crate) fn items(&self, max: usize) -> Option<Rows> {
        match &self.content {
            Content::Json(records) if !self.packed => Some(Rows::items(records.names()?, max)),
            _ => None,
        }
    }
}

/// Records as trees, for whoever looks into all of them.
///
/// # Errors
/// Class service, `bad_answer`: one of them cannot be read.
pub(crate) fn trees(records: Vec<Body>) -> Result<Vec<Json>, Fault> {
    let tree = |body: Body| body.into_tree().map_err(|why| bad(format!("a record of the answer: {why}")));
    records.into_iter().map(tree).collect()
}

#[cfg(test)]
mod tests;
