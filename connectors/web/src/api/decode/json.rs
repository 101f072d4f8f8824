//! An answer that is one JSON text.

use karez_api::Fault;

use super::Page;
use super::fault::bad_answer;
use super::records::Records;
use super::rows::without_mark;

pub(super) const ACCEPTS: [&str; 3] = ["application/json", "text/json", "text/javascript"];

pub(super) fn read(records: &Records, body: &[u8]) -> Result<Page, Fault> {
    let text = without_mark(body);
    let cut = std::str::from_utf8(text).ok().and_then(|text| records.cut(text));
    match cut {
        Some(page) => Ok(page),
        // What is not as expected is looked at more closely.
        None => records.take(karez_api::parse_json(text).map_err(|why| bad_answer("JSON", why, body))?),
    }
}
