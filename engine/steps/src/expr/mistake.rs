//! What is wrong in an expression, and where in its string.

use std::ops::Range;

use karez_api::{Path, Problem};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Bytes of the string; empty and at its end where something is missing.
    pub(crate) within: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Mistake {
    pub(crate) fn new(within: Range<usize>, message: impl Into<String>) -> Self {
        Self { within, message: message.into(), help: None }
    }
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
    pub(crate) fn problem(self, code: &'static str, at: &Path) -> Problem {
        let problem = Problem::error(code, at.clone(), self.message).within(self.within);
        match self.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}
