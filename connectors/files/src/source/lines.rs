//! One record per line. Bodies are slices of what was read: nothing is copied.

use bytes::Bytes;
use karez_api::{Body, Form};

use super::frame::{BYTE_ORDER_MARK, Cut, KEPT_OF_TOO_LONG, More, is_full, too_long};

pub(crate) struct Lines {
    form: Form,
    max: usize,
    /// Line breaks so far.
    line: u64,
    /// A line beyond the limit is being skipped: where it began and what is kept of it.
    skipping: Option<(u64, Bytes)>,
}

impl Lines {
    /// `line`: line breaks before the place where reading begins.
    pub(crate) fn new(form: Form, max: usize, line: u64) -> Self {
        Self { form, max, line, skipping: None }
    }

    pub(crate) fn cut(&mut self, data: &Bytes, base: u64, more: More, out: &mut Vec<Cut>) -> usize {
        let mut at = 0;
        while at < data.len() && !is_full(out, at) {
            let rest = &data[at..];
            match memchr::memchr(b'\n', rest) {
                Some(length) => {
                    self.line += 1;
                    self.take(data, base, at..at + length, at + length + 1, out);
                    at += length + 1;
                }
                None if more == More::Never => {
                    self.take(data, base, at..data.len(), data.len(), out);
                    at = data.len();
                    self.line += 1;
                }
                None => {
                    if self.skipping.is_some() || rest.len() > self.max {
                        self.skipping.get_or_insert_with(|| (base + at as u64, kept(rest)));
                        at = data.len();
                    }
                    break;
                }
            }
        }
        if data.is_empty() && more == More::Never && self.skipping.is_some() {
            self.take(data, base, 0..0, 0, out);
        }
        at
    }

    fn take(
        &mut self,
        data: &Bytes,
        base: u64,
        range: std::ops::Range<usize>,
        end: usize,
        out: &mut Vec<Cut>,
    ) {
        let line = if end > range.end { self.line } else { self.line + 1 };
        let cut = |start: u64, body: Body| Cut {
            start,
            end: base + end as u64,
            body,
            line,
            lines: self.line,
            state: 0,
            refusal: None,
        };
        let start = base + range.start as u64;
        let too_long_from = match self.skipping.take() {
            Some(skipped) => Some(skipped),
            None if range.len() > self.max => Some((start, kept(&data[range.clone()]))),
            None => None,
        };
        if let Some((start, bytes)) = too_long_from {
            let refusal = Some(too_long("line", self.max));
            out.push(Cut { refusal, ..cut(start, Body::from_bytes(Form::Opaque, bytes)) });
            return;
        }
        let mut text = range;
        if start == 0 && data[text.clone()].starts_with(BYTE_ORDER_MARK) {
            text.start += BYTE_ORDER_MARK.len();
        }
        if data[text.clone()].ends_with(b"\r") {
            text.end -= 1;
        }
        if !data[text.clone()].iter().all(u8::is_ascii_whitespace) {
            out.push(cut(start, Body::from_bytes(self.form, data.slice(text))));
        }
    }
}

fn kept(line: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&line[..line.len().min(KEPT_OF_TOO_LONG)])
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Framer, testing::cut_all};
    use super::*;

    fn cut(text: &[u8], size: usize) -> Vec<(String, u64)> {
        cut_all(&mut Framer::Lines(Lines::new(Form::Text, 8, 0)), text, size)
    }

    #[test]
    fn lines_are_cut_alike_however_they_arrive() {
        let record = |text: &str, line: u64| (text.to_owned(), line);
        type Case<'a> = (&'a [u8], Vec<(String, u64)>);
        let cases: &[Case<'_>] = &[
            (b"", vec![]),
            (b"a\nb\n", vec![record("a", 1), record("b", 2)]),
            (b"a\r\n\r\n  \nb", vec![record("a", 1), record("b", 4)]),
            (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", vec![record("a", 1), record("\u{feff}b", 2)]),
            (b"123456789\nok\n", vec![record("!too_long", 1), record("ok", 2)]),
            (b"ok\n1234567890123456789", vec![record("ok", 1), record("!too_long", 2)]),
            (b"12345678\n", vec![record("12345678", 1)]),
        ];
        for (text, expected) in cases {
            for size in 1..=text.len().max(1) {
                let shown = String::from_utf8_lossy(text);
                assert_eq!(&cut(text, size), expected, "{shown:?} in pieces of {size}");
            }
        }
    }
}
