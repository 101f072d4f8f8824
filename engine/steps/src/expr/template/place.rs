//! Places in a template, and the parts of it that `${…}` wrote: those are kept out of the parser's sight, as
//! placeholders that no rule of the grammar reads into, and put back afterwards.

use std::ops::Range;

/// A template with its literal parts replaced.
pub(super) struct Protected {
    pub(super) source: String,
    mark: char,
    parts: Vec<Part>,
}

struct Part {
    /// In the protected source.
    placeholder: Range<usize>,
    /// In the setting.
    original: Range<usize>,
    text: String,
}

impl Protected {
    /// `literal` are byte ranges of `text`. `None` where `text` uses every private character there is.
    pub(super) fn new(text: &str, literal: &[Range<usize>]) -> Option<Self> {
        let mark = ('\u{e000}'..='\u{f8ff}').find(|mark| !text.contains(*mark))?;
        let mut protected = Self { source: String::with_capacity(text.len()), mark, parts: Vec::new() };
        let mut end = 0;
        for range in literal.iter().filter(|range| !range.is_empty()) {
            let (Some(before), Some(inside)) = (text.get(end..range.start), text.get(range.clone())) else {
                continue;
            };
            protected.source.push_str(before);
            let start = protected.source.len();
            protected.source.push_str(&format!("{mark}{}{mark}", protected.parts.len()));
            let placeholder = start..protected.source.len();
            protected.parts.push(Part { placeholder, original: range.clone(), text: inside.to_owned() });
            end = range.end;
        }
        protected.source.push_str(text.get(end..).unwrap_or_default());
        Some(protected)
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        text.contains(self.mark)
    }

    /// Puts the literal parts back.
    pub(super) fn restore(&self, text: &str) -> String {
        if !self.is_in(text) {
            return text.to_owned();
        }
        let mut pieces = text.split(self.mark);
        let mut restored = pieces.next().unwrap_or_default().to_owned();
        while let (Some(number), Some(after)) = (pieces.next(), pieces.next()) {
            let part = number.parse::<usize>().ok().and_then(|number| self.parts.get(number));
            restored.push_str(part.map_or("", |part| &part.text));
            restored.push_str(after);
        }
        restored
    }

    /// The expression or character at a line and column (from 1) of the protected source, as bytes of the setting.
    pub(super) fn place(&self, line: usize, column: usize) -> Range<usize> {
        let start_of_line: usize =
            self.source.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let rest = &self.source[start_of_line.min(self.source.len())..];
        let start =
            start_of_line + rest.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum::<usize>();
        let here = &self.source[start..];
        let length = match here.find("}}") {
            Some(end) if here.starts_with("{{") => end + 2,
            _ => here.chars().next().map_or(0, char::len_utf8),
        };
        self.bytes(start..start + length)
    }

    /// Bytes of the protected source, as bytes of the setting.
    pub(super) fn bytes(&self, protected: Range<usize>) -> Range<usize> {
        self.original(protected.start)..self.original(protected.end)
    }

    fn original(&self, at: usize) -> usize {
        let before = self.parts.iter().rev().find(|part| part.placeholder.start < at);
        match before {
            Some(part) if at < part.placeholder.end => part.original.start,
            Some(part) => at - part.placeholder.end + part.original.end,
            None => at,
        }
    }
}
