//! Tables (RFC 4180): a record per row, an object of texts by the names of the columns.

use std::collections::HashSet;
use std::sync::Arc;

use csv_core::ReadRecordResult;
use karez_api::{Body, Checker, Fault, Json, Path, Problem};

use super::fault::{bad_answer, bad_row};
use super::format::Csv;
use super::rows::{Cut, End, without_mark};

pub(super) const ACCEPTS: [&str; 8] = [
    "text/csv",
    "application/csv",
    "text/comma-separated-values",
    "text/tab-separated-values",
    "application/vnd.ms-excel",
    "text/plain",
    "application/octet-stream",
    "binary/octet-stream",
];

const EXPECTED: &str = "CSV";
/// What an answer begins with that is something else: a page, a document, an error in JSON. As a table it would be one
/// strange column without rows.
const OTHERS: [&str; 4] = ["<!", "<?", "<html", "{\""];

/// How a table is written, checked.
pub(super) struct Table {
    delimiter: u8,
    columns: Named,
    null_values: Vec<String>,
}

enum Named {
    ByHeader,
    Here(Vec<String>),
    /// `c1`, `c2` and so on: as many as the first row has.
    ByNumber,
}

impl Table {
    pub(super) fn check(cx: &Checker<'_>, at: &Path, spec: &Csv) -> Option<Self> {
        let mut fine = true;
        let mut wrong = |field: &str, message: &str| {
            fine = false;
            cx.report(Problem::error("bad-value", at.field(field), message));
        };
        let delimiter = spec.delimiter.unwrap_or(',');
        if !delimiter.is_ascii() || matches!(delimiter, '"' | '\r' | '\n' | '\0') {
            wrong("delimiter", "must be one ASCII character other than a quote or line break");
        }
        let columns = match &spec.columns {
            None if spec.header.unwrap_or(true) => Named::ByHeader,
            None => Named::ByNumber,
            Some(columns) => {
                if spec.header.unwrap_or(true) {
                    wrong("columns", "stands beside `header: false` only: else the first row has the names");
                }
                if columns.is_empty() || repeated(columns).is_some() {
                    wrong("columns", "must name each column, and none of them twice");
                }
                Named::Here(columns.clone())
            }
        };
        fine.then(|| Self { delimiter: delimiter as u8, columns, null_values: spec.null_values.clone() })
    }

    fn value(&self, text: &str) -> Json {
        match self.null_values.iter().any(|null| null == text) {
            true => Json::Null,
            false => Json::String(text.to_owned()),
        }
    }
}

/// A table that is being read.
pub(super) struct TableRows {
    table: Arc<Table>,
    reader: csv_core::Reader,
    /// Line breaks so far.
    lines: u64,
    begun: bool,
    columns: Option<Vec<String>>,
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// A row that was taken apart.
struct Row {
    fields: usize,
    /// Bytes of it.
    length: usize,
}

impl TableRows {
    pub(super) fn new(table: Arc<Table>) -> Self {
        let columns = match &table.columns {
            Named::Here(columns) => Some(columns.clone()),
            Named::ByHeader | Named::ByNumber => None,
        };
        Self {
            reader: csv_core::ReaderBuilder::new().delimiter(table.delimiter).build(),
            table,
            lines: 0,
            begun: false,
            columns,
            text: vec![0; 4 << 10],
            ends: vec![0; 64],
        }
    }

    /// Takes apart the row that `text` begins with; nothing where its end is not there yet.
    fn row(&mut self, text: &[u8], end: End) -> Result<Option<Row>, Fault> {
        let (mut used, mut texts, mut fields) = (0, 0, 0);
        self.reader.reset();
        // The reader would take a byte order mark off each row; what is there now is a part of a value.
        let mut until = if without_mark(text).len() < text.len() { 1 } else { text.len() };
        loop {
            let input = if used < text.len() { &text[used..until] } else { &b"\n"[..] };
            let (result, n_in, n_text, n_ends) =
                self.reader.read_record(input, &mut self.text[texts..], &mut self.ends[fields..]);
            let ended = used == text.len();
            used = (used + n_in).min(text.len());
            (texts, fields) = (texts + n_text, fields + n_ends);
            match result {
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::InputEmpty if until < text.len() => until = text.len(),
                ReadRecordResult::InputEmpty if end == End::Open => return Ok(None),
                // The text ends without a line break: with one, each row ends but one whose quote is open.
                ReadRecordResult::InputEmpty if !ended => {}
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {
                    return Err(bad_row(EXPECTED, self.lines + 1, "a quote is never closed", text));
                }
                ReadRecordResult::Record => break,
            }
        }
        Ok(Some(Row { fields, length: used }))
    }

    /// What a row becomes; nothing for the header.
    fn record(&mut self, row: &Row, text: &[u8]) -> Result<Option<Json>, Fault> {
        let line = self.lines + 1;
        let wrong = |why: String| bad_row(EXPECTED, line, why, text);
        let fields = fields(&self.text, &self.ends[..row.fields]);
        let fields = fields.map_err(|_| wrong("it is not UTF-8".into()))?;
        let Some(columns) = &self.columns else {
            let header: Vec<String> = fields.into_iter().map(str::to_owned).collect();
            if let Some(name) = repeated(&header) {
                return Err(wrong(format!("the header has {name:?} twice")));
            }
            self.columns = Some(header);
            return Ok(None);
        };
        if columns.len() != fields.len() {
            let (has, there) = (fields.len(), columns.len());
            return Err(wrong(format!("the row has {has} fields where there are {there} columns")));
        }
        let values = fields.into_iter().map(|field| self.table.value(field));
        Ok(Some(Json::Object(columns.iter().cloned().zip(values).collect())))
    }

    fn pass(&mut self, text: &[u8]) {
        self.lines += memchr::memchr_iter(b'\n', text).count() as u64;
    }
}

impl Cut for TableRows {
    fn cut(&mut self, text: &[u8], end: End, rows: &mut Vec<Body>) -> Result<usize, Fault> {
        let mut done = 0;
        loop {
            // Empty lines are no rows; so is the second half of CRLF.
            let breaks = text[done..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.pass(&text[done..done + breaks]);
            done += breaks;
            let rest = &text[done..];
            if rest.is_empty() {
                break;
            }
            let Some(row) = self.row(rest, end)? else { break };
            let first = rest[..row.length].trim_ascii_start();
            if !self.begun && OTHERS.iter().any(|other| begins(first, other)) {
                return Err(bad_answer(EXPECTED, "it is something else", rest));
            }
            self.begun = true;
            if self.columns.is_none() && matches!(self.table.columns, Named::ByNumber) {
                self.columns = Some((1..=row.fields).map(|number| format!("c{number}")).collect());
            }
            let record = self.record(&row, &rest[..row.length])?;
            rows.extend(record.map(Body::from_tree));
            self.pass(&rest[..row.length]);
            done += row.length;
        }
        if end == End::Here && self.columns.is_none() && matches!(self.table.columns, Named::ByHeader) {
            return Err(bad_answer("CSV with a header", "", b""));
        }
        Ok(done)
    }
}

fn fields<'t>(text: &'t [u8], ends: &[usize]) -> Result<Vec<&'t str>, std::str::Utf8Error> {
    let mut start = 0;
    let field = |end: &usize| {
        let bytes = &text[start..*end];
        start = *end;
        std::str::from_utf8(bytes)
    };
    ends.iter().map(field).collect()
}

fn begins(text: &[u8], with: &str) -> bool {
    text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
}

fn repeated(names: &[String]) -> Option<&String> {
    let mut seen = HashSet::new();
    names.iter().find(|name| !seen.insert(name.as_str()))
}
