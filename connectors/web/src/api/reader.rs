//! Answers read without the API that gave them: for tools that judge how they are read.

use bytes::Bytes;
use http::HeaderMap;
use karez_api::{Body, Checker, Fault, Path};

use super::decode::{Decoder, Format, MAX_ROW, Rows};
use super::link;

/// What reads the answers of one stream.
pub struct Reader(Decoder);

impl Reader {
    /// `format`, `gzip` and `records` as a stream has them. What is wrong is reported.
    #[must_use]
    pub fn check(
        cx: &Checker<'_>,
        format: &karez_api::Json,
        gzip: bool,
        records: Option<&str>,
    ) -> Option<Self> {
        let format: Format = serde_json::from_value(format.clone()).ok()?;
        Decoder::check(cx, &Path::root(), &format, gzip, records).map(Self)
    }

    /// The records of an answer that is there as a whole.
    ///
    /// # Errors
    /// It is not what it should be.
    pub fn whole(&self, body: Bytes) -> Result<Vec<Body>, Fault> {
        self.0.read(body).map(|page| page.records)
    }

    /// The same of one that comes in pieces of so many bytes; nothing where it cannot be read like that.
    #[must_use]
    pub fn in_pieces(&self, body: &Bytes, size: usize) -> Option<Result<Vec<Body>, Fault>> {
        let rows = self.0.lines().or_else(|| self.0.items(MAX_ROW))?;
        Some(fed(rows, body, size.max(1)))
    }
}

fn fed(mut rows: Rows, body: &Bytes, size: usize) -> Result<Vec<Body>, Fault> {
    let mut records = Vec::new();
    for piece in body.chunks(size) {
        records.extend(rows.feed(Some(body.slice_ref(piece)))?);
    }
    records.extend(rows.feed(None)?);
    Ok(records)
}

/// Where a `Link` header of this relation leads, as it is written.
#[must_use]
pub fn linked(headers: &HeaderMap, relation: &str) -> Option<String> {
    link::target(headers, relation)
}
