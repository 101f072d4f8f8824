//! The faults of an answer that cannot be read. They show its beginning, never all of it.

use std::fmt::Display;

use karez_api::Fault;
use karez_net::excerpt;

/// Characters of an answer in a message.
const SHOWN: usize = 120;
/// Names of what is there in place of the records.
const NAMES: usize = 10;
/// Characters of one name.
const LONGEST_NAME: usize = 40;

/// The whole of it is not what it should be.
pub(super) fn bad_answer(expected: &str, why: impl Display, body: &[u8]) -> Fault {
    let message = match body.len() {
        0 => format!("the answer is empty, not {expected}"),
        length => {
            format!(
                "the answer is not {expected}: {why}; its {length} bytes begin with {}",
                excerpt(body, SHOWN)
            )
        }
    };
    bad(message)
}

/// A row of it cannot be read; `line` is the one it begins on, from 1.
pub(super) fn bad_row(expected: &str, line: u64, why: impl Display, row: &[u8]) -> Fault {
    bad(match excerpt(row, SHOWN) {
        shown if shown.is_empty() => format!("line {line} of the answer is not {expected}: {why}"),
        shown => format!("line {line} of the answer is not {expected}: {why} ({shown})"),
    })
}

pub(super) fn bad(message: impl Display) -> Fault {
    Fault::service(message).with_code("bad_answer")
}

/// There is nothing at `path`: `there` is what leads there as far as it exists, `found` what stands at its end.
pub(super) fn records_missing(path: &str, there: &str, found: impl Display) -> Fault {
    Fault::service(format!("the answer has no records at {path}: {there} {found}"))
        .with_code("records_missing")
}

/// `has a, b, c`: the first few names of what is there.
pub(super) fn names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    if count == 0 {
        return "has nothing in it".into();
    }
    let short =
        |name: &str| -> String { name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect() };
    let first: Vec<String> = names.take(NAMES).map(short).collect();
    match count.saturating_sub(NAMES) {
        0 => format!("has {}", first.join(", ")),
        more => format!("has {} and {more} more", first.join(", ")),
    }
}
