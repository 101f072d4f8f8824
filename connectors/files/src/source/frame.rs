//! Cuts a stream of bytes into records. Knows nothing of files: standard input is cut the same way.

use bytes::Bytes;
use karez_api::Body;

use super::csv_rows::CsvRows;
use super::json_values::JsonValues;
use super::lines::Lines;

/// Most records that are cut at once.
pub(crate) const MAX_RECORDS: usize = 1_024;
/// Most bytes that are cut at once, but for the last record.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// What is kept of a record that is too long to be read.
pub(crate) const KEPT_OF_TOO_LONG: usize = 64 << 10;

/// What some programs write at the start of UTF-8 text; no part of it.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether all there is of a file may be the beginning of such a mark: nothing can be said of its first record yet.
pub(crate) fn awaits_mark(data: &[u8], base: u64, more: More) -> bool {
    base == 0 && more == More::Possible && BYTE_ORDER_MARK.starts_with(data)
}

/// Whether more bytes can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    Possible,
    /// The data ends here: an unfinished record is a record.
    Never,
}

/// Why a piece of the stream is not a record that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// One record.
pub(crate) struct Cut {
    /// Where it begins in the stream.
    pub(crate) start: u64,
    /// Where the next one can begin.
    pub(crate) end: u64,
    pub(crate) body: Body,
    /// The line it begins on, from 1; 0 where lines are not counted.
    pub(crate) line: u64,
    /// Line breaks up to `end`.
    pub(crate) lines: u64,
    /// Needed to go on at `end`.
    pub(crate) state: u8,
    pub(crate) refusal: Option<Refusal>,
}

/// One of the formats.
pub(crate) enum Framer {
    Lines(Lines),
    Csv(Box<CsvRows>),
    Json(JsonValues),
}

impl Framer {
    /// Cuts complete records off the front of `data`, which stands at `base` in the stream;
    /// returns how many bytes are done with. Called again with the rest and what follows it.
    pub(crate) fn cut(&mut self, data: &Bytes, base: u64, more: More, out: &mut Vec<Cut>) -> usize {
        match self {
            Self::Lines(lines) => lines.cut(data, base, more, out),
            Self::Csv(rows) => rows.cut(data, base, more, out),
            Self::Json(values) => values.cut(data, base, more, out),
        }
    }
}

/// The message for a record beyond the limit.
pub(crate) fn too_long(what: &str, max: usize) -> Refusal {
    Refusal {
        code: "too_long",
        message: format!("{what} is longer than {max} bytes; raise `max_record` or mend the file"),
    }
}

/// Whether enough was cut for one batch.
pub(crate) fn is_full(out: &[Cut], bytes: usize) -> bool {
    out.len() >= MAX_RECORDS || bytes >= MAX_BYTES
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Cuts `text` given in pieces of `size` bytes; each record as its text and line, or its refusal's code.
    pub(crate) fn cut_all(framer: &mut Framer, text: &[u8], size: usize) -> Vec<(String, u64)> {
        let (mut done, mut found) = (0, Vec::new());
        let mut given = 0;
        while given < text.len() || given == 0 {
            given = (given + size).min(text.len());
            let more = if given == text.len() { More::Never } else { More::Possible };
            loop {
                let mut out = Vec::new();
                let data = Bytes::copy_from_slice(&text[done..given]);
                done += framer.cut(&data, done as u64, more, &mut out);
                if out.is_empty() {
                    break;
                }
                found.extend(out.into_iter().map(shown));
            }
            if text.is_empty() {
                break;
            }
        }
        found
    }

    fn shown(cut: Cut) -> (String, u64) {
        match cut.refusal {
            Some(refusal) => (format!("!{}", refusal.code), cut.line),
            None => (String::from_utf8_lossy(cut.body.bytes()).into_owned(), cut.line),
        }
    }
}
