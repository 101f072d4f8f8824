//! A place in the text that is parsed, with a bound on nesting.

use super::Mistake;

/// Nesting of brackets, parentheses and functions.
const MAX_DEPTH: usize = 32;

pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }
    /// Bytes from the start of the text.
    pub(super) fn at(&self) -> usize {
        self.at
    }
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
    pub(super) fn back_to(&mut self, at: usize) {
        self.at = at;
    }
    pub(super) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    pub(super) fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// `S`: blanks as RFC 9535 has them.
    pub(super) fn blank(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    /// `member-name-shorthand`, empty where there is none.
    pub(super) fn name(&mut self) -> &'a str {
        let rest = self.rest();
        let first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
        let end = match rest.chars().next() {
            Some(next) if first(next) => {
                rest.find(|c: char| !first(c) && !c.is_ascii_digit()).unwrap_or(rest.len())
            }
            _ => 0,
        };
        self.at += end;
        &rest[..end]
    }

    pub(super) fn enter(&mut self, at: usize) -> Result<(), Mistake> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Mistake::new(at..at + 1, format!("nested more than {MAX_DEPTH} deep")));
        }
        Ok(())
    }
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }
}
