//! One JSON text per line.

use bytes::Bytes;
use karez_api::{Body, Fault, Form};

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

    fn line(&mut self, line: &[u8], rows: &mut Vec<Body>) -> Result<(), Fault> {
        self.line += 1;
        let text = line.trim_ascii();
        if !text.is_empty() {
            karez_api::verify_json(text).map_err(|why| bad_row("JSON", self.line, why.message, text))?;
            rows.push(Body::from_bytes(Form::Json, Bytes::copy_from_slice(text)));
        }
        Ok(())
    }
}

impl Cut for Lines {
    fn cut(&mut self, text: &[u8], end: End, rows: &mut Vec<Body>) -> Result<usize, Fault> {
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
