//! Cuts a text that is all there, in pieces of any size and from any place on, as a file would be. For checks from
//! outside of this crate: however a text arrives, and wherever reading is resumed, the records are the same.

use std::convert::Infallible;

use bytes::Bytes;
use karez_api::{Body, Form};

use super::csv_rows::{CsvRows, Dialect};
use super::frame::{Cut, Framer, More};
use super::json_values::JsonValues;
use super::lines::Lines;

/// How the text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Ndjson,
    Text,
    Json,
    Csv { delimiter: u8, header: bool },
}

/// One record of the text.
pub struct Piece {
    /// Where it begins, in bytes.
    pub start: u64,
    /// Where the next one can begin.
    pub end: u64,
    /// The line it begins on, from 1; 0 where lines are not counted.
    pub line: u64,
    pub body: Body,
    /// Code and message, where it cannot be read.
    pub refusal: Option<(&'static str, String)>,
    lines: u64,
    state: u8,
}

/// All records of `text` behind `after`, of which `step` more bytes arrive at a time. A record of more than
/// `max_record` bytes is refused.
#[must_use]
pub fn cut(
    layout: Layout,
    max_record: usize,
    text: &Bytes,
    step: usize,
    after: Option<&Piece>,
) -> Vec<Piece> {
    let Ok(mut framer) = framer(layout, max_record, text, after);
    let (mut given, mut records) = (after.map_or(0, |piece| piece.end as usize), Vec::new());
    let mut done = given;
    loop {
        given = given.saturating_add(step.max(1)).min(text.len());
        let last = given == text.len();
        for more in [More::Possible, More::Never].into_iter().take(1 + usize::from(last)) {
            loop {
                let mut cuts = Vec::new();
                done += framer.cut(&text.slice(done..given), done as u64, more, &mut cuts);
                if cuts.is_empty() {
                    break;
                }
                records.extend(cuts.into_iter().map(Piece::from));
            }
        }
        if last {
            return records;
        }
    }
}

fn framer(layout: Layout, max: usize, text: &Bytes, after: Option<&Piece>) -> Result<Framer, Infallible> {
    let lines = after.map_or(0, |piece| piece.lines);
    Ok(match layout {
        Layout::Ndjson => Framer::Lines(Lines::new(Form::Json, max, lines)),
        Layout::Text => Framer::Lines(Lines::new(Form::Text, max, lines)),
        Layout::Json => Framer::Json(JsonValues::new(max, lines, after.map_or(0, |piece| piece.state))),
        Layout::Csv { delimiter, header } => {
            let rows = CsvRows::new(Dialect { delimiter, header }, max);
            Framer::Csv(Box::new(match after {
                None => rows,
                Some(piece) => rows.resumed(lines, |most| {
                    Result::<_, Infallible>::Ok(text.slice(..most.min(piece.end as usize)))
                })?,
            }))
        }
    })
}

impl From<Cut> for Piece {
    fn from(cut: Cut) -> Self {
        let Cut { start, end, body, line, lines, state, refusal } = cut;
        Self { start, end, line, body, refusal: refusal.map(|it| (it.code, it.message)), lines, state }
    }
}
