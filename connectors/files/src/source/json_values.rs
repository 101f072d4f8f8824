//! JSON texts one after another; the elements of a list at the top are records of their own.
//!
//! Only the ends of values are looked for. Each value is parsed, strictly, by whoever looks inside.

use bytes::Bytes;
use karez_api::{Body, Form};

use super::frame::{BYTE_ORDER_MARK, Cut, KEPT_OF_TOO_LONG, More, Refusal, awaits_mark, is_full, too_long};

/// Between which tokens the reader stands; its number is saved with positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Top = 0,
    /// After `[`.
    First = 1,
    /// After an element.
    Separator = 2,
    /// After `,`.
    Element = 3,
    /// After something that is not JSON: nothing more can be told apart.
    Lost = 4,
}

impl State {
    fn from_number(number: u8) -> Self {
        match number {
            1 => Self::First,
            2 => Self::Separator,
            3 => Self::Element,
            4 => Self::Lost,
            _ => Self::Top,
        }
    }
}

pub(crate) struct JsonValues {
    max: usize,
    line: u64,
    state: State,
    skipping: Option<Skipping>,
}

/// A value beyond the limit, whose rest is passed over.
struct Skipping {
    start: u64,
    line: u64,
    kept: Bytes,
    inside: Inside,
}

impl JsonValues {
    pub(crate) fn new(max: usize, line: u64, state: u8) -> Self {
        Self { max, line, state: State::from_number(state), skipping: None }
    }

    pub(crate) fn cut(&mut self, data: &Bytes, base: u64, more: More, out: &mut Vec<Cut>) -> usize {
        if awaits_mark(data, base, more) {
            return 0;
        }
        let mut at = 0;
        if base == 0 && data.starts_with(BYTE_ORDER_MARK) {
            at = BYTE_ORDER_MARK.len();
        }
        while at < data.len() && !is_full(out, at) {
            let byte = data[at];
            if let Some(skipping) = self.skipping.take() {
                at = self.skip(skipping, data, at, base, out);
                continue;
            }
            match (self.state, byte) {
                (State::Lost, _) => return data.len(),
                (_, b' ' | b'\t' | b'\r' | b'\n') => {
                    self.line += u64::from(byte == b'\n');
                    at += 1;
                }
                (State::Top, b'[') => {
                    self.state = State::First;
                    at += 1;
                }
                (State::First | State::Separator, b']') => {
                    self.state = State::Top;
                    at += 1;
                }
                (State::Separator, b',') => {
                    self.state = State::Element;
                    at += 1;
                }
                (State::Separator, _) | (State::First | State::Element, b',' | b']') => {
                    self.lose(data, at, base, bad(byte), out);
                }
                (State::Top | State::First | State::Element, _) => {
                    let length = match value_length(&data[at..]) {
                        Some(0) => {
                            self.lose(data, at, base, bad(byte), out);
                            continue;
                        }
                        Some(length) => length,
                        None if more == More::Never => data.len() - at,
                        None if data.len() - at <= self.max => break,
                        None => {
                            self.skipping = Some(Skipping {
                                start: base + at as u64,
                                line: self.line + 1,
                                kept: Bytes::copy_from_slice(
                                    &data[at..data.len().min(at + KEPT_OF_TOO_LONG)],
                                ),
                                inside: Inside::default(),
                            });
                            continue;
                        }
                    };
                    self.take(data, at..at + length, base, out);
                    at += length;
                }
            }
        }
        if more == More::Never
            && at == data.len()
            && let Some(skipping) = self.skipping.take()
        {
            self.skipped(skipping, base + at as u64, out);
        }
        if more == More::Never && at == data.len() && !matches!(self.state, State::Top | State::Lost) {
            let message = "file ends inside a list".to_owned();
            self.lose(data, at, base, Refusal { code: "bad_json", message }, out);
        }
        at
    }

    /// Passes over as much as there is of a value that is too long.
    fn skip(
        &mut self,
        mut skipping: Skipping,
        data: &Bytes,
        at: usize,
        base: u64,
        out: &mut Vec<Cut>,
    ) -> usize {
        let length = skipping.inside.rest(&data[at..]);
        let end = at + length.unwrap_or(data.len() - at);
        self.line += memchr::memchr_iter(b'\n', &data[at..end]).count() as u64;
        match length {
            Some(_) => self.skipped(skipping, base + end as u64, out),
            None => self.skipping = Some(skipping),
        }
        end
    }

    fn skipped(&mut self, skipping: Skipping, end: u64, out: &mut Vec<Cut>) {
        let Skipping { start, line, kept, .. } = skipping;
        if self.state != State::Top {
            self.state = State::Separator;
        }
        out.push(Cut {
            start,
            end,
            body: Body::from_bytes(Form::Opaque, kept),
            line,
            lines: self.line,
            state: self.state as u8,
            refusal: Some(too_long("value", self.max)),
        });
    }

    fn take(&mut self, data: &Bytes, range: std::ops::Range<usize>, base: u64, out: &mut Vec<Cut>) {
        let value = data.slice(range.clone());
        let line = self.line + 1;
        self.line += memchr::memchr_iter(b'\n', &value).count() as u64;
        if self.state != State::Top {
            self.state = State::Separator;
        }
        let too_long = (value.len() > self.max).then(|| too_long("value", self.max));
        let body = match too_long {
            None => Body::from_bytes(Form::Json, value),
            Some(_) => Body::from_bytes(Form::Opaque, value.slice(..value.len().min(KEPT_OF_TOO_LONG))),
        };
        out.push(Cut {
            start: base + range.start as u64,
            end: base + range.end as u64,
            body,
            line,
            lines: self.line,
            state: self.state as u8,
            refusal: too_long,
        });
    }

    /// One refusal for the rest of the data.
    fn lose(&mut self, data: &Bytes, at: usize, base: u64, why: Refusal, out: &mut Vec<Cut>) {
        self.state = State::Lost;
        let rest = data.slice(at..data.len().min(at + KEPT_OF_TOO_LONG));
        let message = format!("{}; nothing after it can be read", why.message);
        out.push(Cut {
            start: base + at as u64,
            end: base + at as u64,
            body: Body::from_bytes(Form::Opaque, rest),
            line: self.line + 1,
            lines: self.line,
            state: self.state as u8,
            refusal: Some(Refusal { message, ..why }),
        });
    }
}

fn bad(byte: u8) -> Refusal {
    let shown = char::from(byte).escape_default();
    Refusal { code: "bad_json", message: format!("unexpected '{shown}' between values") }
}

/// How long the value at the start of `data` is; `None` if its end is not there.
fn value_length(data: &[u8]) -> Option<usize> {
    match data.first()? {
        b'{' | b'[' => nested_length(data),
        b'"' => string_length(data),
        _ => data.iter().position(|byte| ends_scalar(*byte)),
    }
}

/// Where in a value its bytes so far end: what [`value_length`] would find, for a value that does not fit in memory.
#[derive(Default)]
struct Inside {
    begun: bool,
    depth: usize,
    string: bool,
    escaped: bool,
}

impl Inside {
    /// How much of the next bytes still belongs to the value; `None` where all of them do.
    fn rest(&mut self, data: &[u8]) -> Option<usize> {
        data.iter().enumerate().find_map(|(at, byte)| self.ends(*byte).map(|included| at + included))
    }

    /// With this byte (1) or before it (0), if so.
    fn ends(&mut self, byte: u8) -> Option<usize> {
        let first = !std::mem::replace(&mut self.begun, true);
        if self.string {
            let escaped = std::mem::replace(&mut self.escaped, false);
            match byte {
                b'\\' if !escaped => self.escaped = true,
                b'"' if !escaped => self.string = false,
                _ => {}
            }
            return (!self.string && self.depth == 0).then_some(1);
        }
        match byte {
            b'"' if first || self.depth > 0 => self.string = true,
            b'{' | b'[' if first || self.depth > 0 => self.depth += 1,
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                return (self.depth == 0).then_some(1);
            }
            _ if self.depth == 0 && !first && ends_scalar(byte) => return Some(0),
            _ => {}
        }
        None
    }
}

fn ends_scalar(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b",]}[{\":".contains(&byte)
}

fn nested_length(data: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    while at < data.len() {
        match data[at] {
            b'"' => at += string_length(&data[at..])? - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn string_length(data: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', data.get(at..)?)?;
        if data[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Framer, testing::cut_all};
    use super::*;

    #[test]
    fn values_are_cut_alike_however_they_arrive() {
        let cases: &[(&str, &[(&str, u64)])] = &[
            ("", &[]),
            ("{\"a\":\n1}\n", &[("{\"a\":\n1}", 1)]),
            (
                "[{\"a\":\"]\\\"\"},\n 2 , \"x\", [3]]\n",
                &[("{\"a\":\"]\\\"\"}", 1), ("2", 2), ("\"x\"", 2), ("[3]", 2)],
            ),
            ("[] {}", &[("{}", 1)]),
            ("{}{} 5", &[("{}", 1), ("{}", 1), ("5", 1)]),
            ("[1,]", &[("1", 1), ("!bad_json", 1)]),
            ("[1 2]", &[("1", 1), ("!bad_json", 1)]),
            ("[1,\n2", &[("1", 1), ("2", 2), ("!bad_json", 2)]),
            ("{} }", &[("{}", 1), ("!bad_json", 1)]),
            ("{\"a\":", &[("{\"a\":", 1)]),
        ];
        for (text, expected) in cases {
            for size in 1..=text.len().max(1) {
                let mut framer = Framer::Json(JsonValues::new(1_000, 0, 0));
                let found = cut_all(&mut framer, text.as_bytes(), size);
                let found: Vec<_> = found.iter().map(|(text, line)| (text.as_str(), *line)).collect();
                assert_eq!(&found, expected, "{text:?} in pieces of {size}");
            }
        }
    }
}
