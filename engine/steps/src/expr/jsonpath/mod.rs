//! JSONPath (RFC 9535): picks and conditions. The grammar is checked here, strictly and with places,
//! because jsonpath-rust takes `@.t in ['5']` for a field named "t in". Singular paths are walked
//! directly; chains of plain selectors go through jsonpath-rust; filters are evaluated here, because
//! the library compares numbers as doubles with a tolerance, and integers must not lose digits.

mod ast;
mod evaluate;
mod parse;
mod regexp;

pub(crate) use ast::{Logical, Query, Step};
pub(crate) use parse::{parse_condition, parse_pick};

#[cfg(test)]
mod tests;
