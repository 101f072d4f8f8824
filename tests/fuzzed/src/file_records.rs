//! The readers of the `files` source: however a text arrives and wherever reading goes on, the records are the same.

use bytes::Bytes;
use karez_files::{Layout, Piece, cut};

const LAYOUTS: [Layout; 6] = [
    Layout::Ndjson,
    Layout::Text,
    Layout::Json,
    Layout::Csv { delimiter: b',', header: true },
    Layout::Csv { delimiter: b';', header: true },
    Layout::Csv { delimiter: b',', header: false },
];

/// The first byte chooses the layout, the second the limit, the third how much arrives at a time; then the text.
pub fn file_records(data: &[u8]) {
    let Some((&[layout, limit, step], text)) = data.split_first_chunk() else { return };
    let layout = LAYOUTS[usize::from(layout) % LAYOUTS.len()];
    // Small limits are the interesting ones.
    let limit = if limit.is_multiple_of(2) { 1 << 20 } else { usize::from(limit) };
    let step = usize::from(step).max(1);
    let text = Bytes::copy_from_slice(text);
    let whole = cut(layout, limit, &text, usize::MAX, None);
    assert_ordered(&whole, &text, limit);
    assert_same(&cut(layout, limit, &text, step, None), &whole, layout);
    for (n, piece) in whole.iter().enumerate().take(8) {
        assert_same(&cut(layout, limit, &text, step, Some(piece)), &whole[n + 1..], layout);
    }
}

/// Records follow each other, lie in the text and keep to the limit.
fn assert_ordered(records: &[Piece], text: &Bytes, limit: usize) {
    let mut at = 0;
    for record in records {
        assert!(record.start >= at && record.end >= record.start && record.end <= text.len() as u64);
        assert!(record.end > record.start || record.refusal.is_some());
        let bytes = record.body.bytes();
        assert!(record.refusal.is_some() || record.end - record.start <= limit as u64 + 4, "{bytes:?}");
        at = record.end;
    }
}

fn assert_same(records: &[Piece], expected: &[Piece], layout: Layout) {
    let shown = |records: &[Piece]| -> Vec<_> { records.iter().map(shown).collect() };
    assert_eq!(shown(records), shown(expected), "{layout:?}");
}

fn shown(piece: &Piece) -> String {
    let Piece { start, end, line, body, refusal, .. } = piece;
    // How much is kept of what is too long depends on how much had arrived when that was known.
    let body = if refusal.is_some() { "" } else { &format!("{:?}", body.bytes()) };
    format!("{start}..{end} line {line} {refusal:?} {body}")
}
