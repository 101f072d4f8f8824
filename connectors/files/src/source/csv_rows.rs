//! One record per row of a table: an object of strings by the header's names, or a list of strings without a header.

use bytes::Bytes;
use csv_core::ReadRecordResult;
use karez_api::{Body, Form, Json, JsonMap};

use super::frame::{BYTE_ORDER_MARK, Cut, KEPT_OF_TOO_LONG, More, Refusal, awaits_mark, is_full, too_long};

/// How the table is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    /// The first row names the columns.
    pub(crate) header: bool,
}

pub(crate) struct CsvRows {
    reader: csv_core::Reader,
    dialect: Dialect,
    max: usize,
    line: u64,
    columns: Columns,
    skipping: Option<Skipping>,
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// A row beyond the limit, whose rest is passed over.
struct Skipping {
    start: u64,
    line: u64,
    kept: Bytes,
}

/// What reading a row gave.
enum Row {
    Read {
        end: usize,
    },
    /// Its end is not there yet.
    Incomplete,
    TooLong,
}

enum Columns {
    None,
    /// The next row has them.
    Expected,
    Named(Vec<String>),
    /// The header cannot be used; nothing after it can be read.
    Unusable,
}

impl CsvRows {
    pub(crate) fn new(dialect: Dialect, max: usize) -> Self {
        Self {
            reader: csv_core::ReaderBuilder::new().delimiter(dialect.delimiter).build(),
            dialect,
            max,
            line: 0,
            columns: if dialect.header { Columns::Expected } else { Columns::None },
            skipping: None,
            text: vec![0; 4 << 10],
            ends: vec![0; 64],
        }
    }

    /// Goes on at `line`. The header is read again, from the file's `first` bytes in front of that place: so many, or
    /// all there are.
    ///
    /// # Errors
    /// Those bytes cannot be read.
    pub(crate) fn resumed<E>(
        mut self,
        line: u64,
        mut first: impl FnMut(usize) -> Result<Bytes, E>,
    ) -> Result<Self, E> {
        if self.dialect.header {
            let mut begin = 0;
            let start = loop {
                let start = first(self.max.saturating_add(begin + 1))?;
                let breaks = line_breaks(&start);
                if breaks == begin {
                    break start;
                }
                begin = breaks;
            };
            if !matches!(self.row(&start, begin, 0, More::Never, &mut Vec::new()), Row::Read { .. }) {
                self.columns = Columns::Unusable;
            }
        }
        self.line = line;
        Ok(self)
    }

    pub(crate) fn cut(&mut self, data: &Bytes, base: u64, more: More, out: &mut Vec<Cut>) -> usize {
        // The first row begins with the mark, if there is one: without anything behind it, there is no row yet.
        if awaits_mark(data, base, more) {
            return 0;
        }
        let mut at = 0;
        while !is_full(out, at) && (at < data.len() || self.skipping.is_some()) {
            if matches!(self.columns, Columns::Unusable) {
                return data.len();
            }
            if self.skipping.is_some() {
                let Some(end) = self.skip(data, at, base, more, out) else {
                    return data.len();
                };
                at = end;
                continue;
            }
            at += self.pass_line_breaks(&data[at..]);
            match self.row(data, at, base, more, out) {
                Row::Read { end } => at = end,
                Row::Incomplete if data.len() - at <= self.max => break,
                Row::Incomplete | Row::TooLong => {
                    let rest = &data[at..];
                    let kept = Bytes::copy_from_slice(&rest[..rest.len().min(KEPT_OF_TOO_LONG)]);
                    self.skipping = Some(Skipping { start: base + at as u64, line: self.line + 1, kept });
                }
            }
        }
        at
    }

    /// Empty lines are no rows.
    fn pass_line_breaks(&mut self, rest: &[u8]) -> usize {
        let passed = line_breaks(rest);
        self.line += memchr::memchr_iter(b'\n', &rest[..passed]).count() as u64;
        passed
    }

    /// Finishes a row that is too long; `None` if its end is not there yet. Where a quote is never closed, the row
    /// would not end at all: it ends with the first line break behind the limit, however the text arrives.
    fn skip(&mut self, data: &Bytes, at: usize, base: u64, more: More, out: &mut Vec<Cut>) -> Option<usize> {
        let skipping = self.skipping.take()?;
        let limit = (skipping.start + self.max as u64).saturating_sub(base);
        let from = usize::try_from(limit).unwrap_or(usize::MAX).clamp(at, data.len());
        let found = memchr::memchr(b'\n', &data[from..]).map(|length| from + length + 1);
        let end = found.or((more == More::Never).then_some(data.len()));
        self.line += memchr::memchr_iter(b'\n', &data[at..end.unwrap_or(data.len())]).count() as u64;
        let Some(end) = end else {
            self.skipping = Some(skipping);
            return None;
        };
        let Skipping { start, line, kept } = skipping;
        if matches!(self.columns, Columns::Expected) {
            self.columns = Columns::Unusable;
        }
        out.push(Cut {
            start,
            end: base + end as u64,
            body: Body::from_bytes(Form::Opaque, kept),
            line,
            lines: self.line,
            state: 0,
            refusal: Some(too_long("row", self.max)),
        });
        Some(end)
    }

    /// Reads the row that begins at `at`.
    fn row(&mut self, data: &Bytes, at: usize, base: u64, more: More, out: &mut Vec<Cut>) -> Row {
        let (mut used, mut texts, mut fields) = (at, 0, 0);
        self.reader.reset();
        // The reader would take a byte order mark off each row, but only the first one has any: of others it is a part.
        let is_part = base + at as u64 > 0 && data[at..].starts_with(BYTE_ORDER_MARK);
        let mut until = if is_part { at + 1 } else { data.len() };
        loop {
            let (result, n_in, n_text, n_ends) = self.reader.read_record(
                &data[used..until],
                &mut self.text[texts..],
                &mut self.ends[fields..],
            );
            (used, texts, fields) = (used + n_in, texts + n_text, fields + n_ends);
            match result {
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::InputEmpty if until < data.len() => until = data.len(),
                // Once more with no input tells the reader that the data ends.
                ReadRecordResult::InputEmpty if more == More::Never => {}
                ReadRecordResult::InputEmpty => return Row::Incomplete,
                ReadRecordResult::End => return Row::Read { end: used },
                ReadRecordResult::Record => break,
            }
        }
        // The reader leaves the second half of CRLF to the next row.
        if data.get(used) == Some(&b'\n') && data[..used].ends_with(b"\r") {
            used += 1;
        } else if used == data.len() && data.ends_with(b"\r") && more == More::Possible {
            return Row::Incomplete;
        }
        let row = data.slice(at..used);
        if row.len() > self.max {
            return Row::TooLong;
        }
        let line = self.line + 1;
        self.line += memchr::memchr_iter(b'\n', &row).count() as u64;
        if let Some((body, refusal)) = self.make(fields) {
            let body = body.unwrap_or_else(|| {
                Body::from_bytes(Form::Opaque, row.slice(..row.len().min(KEPT_OF_TOO_LONG)))
            });
            let (start, end) = (base + at as u64, base + used as u64);
            out.push(Cut { start, end, body, line, lines: self.line, state: 0, refusal });
        }
        Row::Read { end: used }
    }

    /// What the fields just read become; nothing for the header.
    fn make(&mut self, fields: usize) -> Option<(Option<Body>, Option<Refusal>)> {
        let row = match self.fields(fields) {
            Ok(row) => row,
            Err(refusal) => {
                // The row behind a header that cannot be read is none.
                if matches!(self.columns, Columns::Expected) {
                    self.columns = Columns::Unusable;
                }
                return Some((None, Some(refusal)));
            }
        };
        match &self.columns {
            Columns::Expected => match named(row) {
                Ok(columns) => {
                    self.columns = columns;
                    None
                }
                Err(refusal) => {
                    self.columns = Columns::Unusable;
                    Some((None, Some(refusal)))
                }
            },
            Columns::Named(columns) if columns.len() != row.len() => {
                let message = format!("row has {} fields, the header {}", row.len(), columns.len());
                Some((None, Some(Refusal { code: "csv_fields", message })))
            }
            Columns::Named(columns) => {
                let values = row.into_iter().map(Json::String);
                let object: JsonMap = columns.iter().cloned().zip(values).collect();
                Some((Some(Body::from_tree(Json::Object(object))), None))
            }
            Columns::None | Columns::Unusable => {
                let list = row.into_iter().map(Json::String).collect();
                Some((Some(Body::from_tree(Json::Array(list))), None))
            }
        }
    }

    fn fields(&self, count: usize) -> Result<Vec<String>, Refusal> {
        let mut start = 0;
        let field = |end: &usize| {
            let bytes = &self.text[start..*end];
            start = *end;
            String::from_utf8(bytes.to_vec())
        };
        self.ends[..count].iter().map(field).collect::<Result<_, _>>().map_err(|_| Refusal {
            code: "not_utf8",
            message: "row is not UTF-8; convert the file first".into(),
        })
    }
}

fn named(columns: Vec<String>) -> Result<Columns, Refusal> {
    let mut seen = std::collections::HashSet::new();
    match columns.iter().find(|name| !seen.insert(name.as_str())) {
        Some(name) => Err(Refusal {
            code: "csv_header",
            message: format!("header names {name:?} twice; nothing of this file can be read"),
        }),
        None => Ok(Columns::Named(columns)),
    }
}

/// How many of the first bytes are line breaks.
fn line_breaks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Framer, testing::cut_all};
    use super::*;

    fn cut(text: &[u8], size: usize, header: bool) -> Vec<(String, u64)> {
        let rows = CsvRows::new(Dialect { delimiter: b',', header }, 40);
        cut_all(&mut Framer::Csv(Box::new(rows)), text, size)
    }

    #[test]
    fn a_byte_order_mark_belongs_to_the_first_row_however_it_arrives() {
        use super::super::whole::{Layout, cut};
        let text = Bytes::from_static("\u{feff}a,b\n1,2\n".as_bytes());
        for (header, expected) in [(false, vec![0, 7]), (true, vec![7])] {
            for step in 1..8 {
                let pieces = cut(Layout::Csv { delimiter: b',', header }, 40, &text, step, None);
                let starts: Vec<u64> = pieces.iter().map(|piece| piece.start).collect();
                assert_eq!(starts, expected, "{step} bytes at a time, header: {header}");
            }
        }
    }

    #[test]
    fn a_mark_further_on_is_a_part_of_its_field() {
        let text = "1\n\u{feff}2,3\n\u{feff}".as_bytes();
        let row = |text: &str, line| (format!("[{text}]"), line);
        let expected = [row("\"1\"", 1), row("\"\u{feff}2\",\"3\"", 2), row("\"\u{feff}\"", 3)];
        for size in 1..=text.len() {
            assert_eq!(cut(text, size, false), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn rows_are_cut_alike_however_they_arrive() {
        let record = |text: &str, line: u64| (text.to_owned(), line);
        let long = format!("a\n{}\n\"x\"\n", "y".repeat(60));
        let quoted = format!("a\n\"{}\n{}\"\nz\n", "y".repeat(30), "y".repeat(30));
        type Case<'a> = (&'a [u8], Vec<(String, u64)>);
        let cases: &[Case<'_>] = &[
            (b"b,a\n1,2\n", vec![record(r#"{"b":"1","a":"2"}"#, 2)]),
            (b"\xef\xbb\xbfa\r\n1\r\n\r\n2\r\n", vec![record(r#"{"a":"1"}"#, 2), record(r#"{"a":"2"}"#, 4)]),
            (
                b"a,b\n\"x\ny\",\"say \"\"hi\"\"\"\nz,",
                vec![record(r#"{"a":"x\ny","b":"say \"hi\""}"#, 2), record(r#"{"a":"z","b":""}"#, 4)],
            ),
            (b"a,b\n1\n1,2\n", vec![record("!csv_fields", 2), record(r#"{"a":"1","b":"2"}"#, 3)]),
            (b"a\n\xff\n1\n", vec![record("!not_utf8", 2), record(r#"{"a":"1"}"#, 3)]),
            (b"a,a\n1,2\n", vec![record("!csv_header", 1)]),
            (b"\xff\n1\n2\n", vec![record("!not_utf8", 1)]),
            (long.as_bytes(), vec![record("!too_long", 2), record(r#"{"a":"x"}"#, 3)]),
            (quoted.as_bytes(), vec![record("!too_long", 2), record(r#"{"a":"z"}"#, 4)]),
            (&quoted.as_bytes()[2..], vec![record("!too_long", 1)]),
        ];
        for (text, expected) in cases {
            for size in 1..=text.len() {
                let shown = String::from_utf8_lossy(text);
                assert_eq!(&cut(text, size, true), expected, "{shown:?} in pieces of {size}");
            }
        }
        assert_eq!(cut(b"1,x\n", 2, false), [record(r#"["1","x"]"#, 1)]);
    }
}
