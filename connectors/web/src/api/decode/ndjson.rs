//! One JSON text per line.

use karez_api::{Fault, Json};

use super::fault::bad_row;
use super::rows::{Cut, End};

pub(super) const ACCEPTS: [&str; 8] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/json",
    "text/plain",
    "application/octet-stream",
    "binary/octet-stream",
];

pub(super) struct Lines {
    /// Lines so far.
    line: u64,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { line: 0 }
    }

    fn line(&mut self, line: &[u8], rows: &mut Vec<Json>) -> Result<(), Fault> {
        self.line += 1;
        let text = line.trim_ascii();
        if !text.is_empty() {
            let row = karez_api::parse_json(text);
            rows.push(row.map_err(|why| bad_row("JSON", self.line, why.message, text))?);
        }
        Ok(())
    }
}

impl Cut for Lines {
    fn cut(&mut self, text: &[u8], end: End, rows: &mut Vec<Json>) -> Result<usize, Fault> {
        let mut done = 0;
        for at in memchr::memchr_iter(b'\n', text) {
            self.line(&text[done..at], rows)?;
            done = at + 1;
        }
        if end == End::Here {
            self.line(&text[done..], rows)?;
            done = text.len();
        }
        Ok(done)
    }
}
