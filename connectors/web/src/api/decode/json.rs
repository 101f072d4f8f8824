//! An answer that is one JSON text.

use karez_api::Fault;

use super::Page;
use super::fault::bad_answer;
use super::records::Records;
use super::rows::without_mark;

pub(super) const ACCEPTS: [&str; 3] = ["application/json", "text/json", "text/javascript"];

pub(super) fn read(records: &Records, body: &[u8]) -> Result<Page, Fault> {
    let tree = karez_api::parse_json(without_mark(body)).map_err(|why| bad_answer("JSON", why, body))?;
    records.take(tree)
}
