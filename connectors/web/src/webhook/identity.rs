//! What a delivery says of itself: its id and its event type.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName};
use karez_api::{Fault, Json, Record, RecordId, Value, Wanted};
use sha2::{Digest, Sha256};

use super::Parts;
use super::provider::Naming;

/// Longest id that is kept as it is, in bytes.
const LONGEST_ID: usize = 255;

/// Where a piece of text is taken from.
pub(super) enum Taken {
    Header(HeaderName),
    Value(Value),
    /// Where the catalogue says.
    Provider(&'static Naming),
}

impl Taken {
    /// The text, absent where the sender gave none. `record` is absent where the body has no tree.
    ///
    /// # Errors
    /// Class validation: the expression cannot be computed for this record.
    pub(super) fn of(&self, headers: &HeaderMap, record: Option<&Record>) -> Result<Option<String>, Fault> {
        match (self, record) {
            (Self::Header(name), _) => Ok(header_text(headers, name)),
            (Self::Provider(naming), record) => {
                Ok(naming.of(headers, record.and_then(|record| record.body().tree().ok())))
            }
            (Self::Value(value), Some(record)) => {
                value.eval(record).map(|found| found.as_ref().and_then(scalar))
            }
            (Self::Value(_), None) => Ok(None),
        }
    }
}

impl Taken {
    pub(super) fn looks_into_the_body(&self) -> bool {
        match self {
            Self::Header(_) => false,
            Self::Value(_) => true,
            Self::Provider(naming) => naming.looks_into_the_body(),
        }
    }
}

fn header_text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(text) if !text.is_empty() => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The record's id: the sender's, or a hash where that is unusable or missing, so that the
/// same delivery has the same id each time it is tried.
pub(super) fn record_id(source: &str, given: Option<&str>, body: &[u8]) -> RecordId {
    match given {
        Some(id) if id.len() <= LONGEST_ID && !id.contains(char::is_control) => RecordId::text(id),
        Some(id) => hashed(&[id.as_bytes()]),
        None => hashed(&[source.as_bytes(), b"\0", body]),
    }
}

fn hashed(parts: &[&[u8]]) -> RecordId {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    RecordId::text(format!("sha256-{}", hex::encode(hash.finalize())))
}

/// `events`: which records are wanted.
pub(super) struct Events(pub(super) Arc<Parts>);

impl Wanted for Events {
    fn wants(&self, record: &Record) -> bool {
        let Some(events) = &self.0.events else {
            return true;
        };
        // A part of a split delivery may carry a type of its own.
        let own = match &self.0.event_type {
            Some(Taken::Value(value)) => match value.eval(record) {
                Ok(found) => found.as_ref().and_then(scalar),
                // What cannot be judged is never thrown away.
                Err(_) => return true,
            },
            Some(Taken::Provider(naming)) => naming.of(&record.meta().headers, record.body().tree().ok()),
            _ => None,
        };
        let event_type = own.as_deref().or(record.meta().event_type.as_deref());
        event_type.is_some_and(|event_type| events.iter().any(|event| event == event_type))
    }
}
