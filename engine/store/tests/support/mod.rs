//! Names and records that the tests of a whole store use.

use std::time::Duration;

use bytes::Bytes;
use karez_api::{
    Body, DedupKey, Events, Form, Meta, Millis, NewEntry, Record, RecordId, SinkName, StoreError, StreamName,
};

pub(crate) fn stream() -> StreamName {
    StreamName { pipeline: "p".into(), source: "s".into() }
}

pub(crate) fn sink() -> SinkName {
    SinkName { pipeline: "p".into(), sink: "k".into() }
}

/// An entry whose text, before `more` bytes of padding, is also its dedup key.
pub(crate) fn entry(text: &str, more: usize) -> NewEntry {
    let meta = Meta::new(RecordId::text(text), "s".into(), Millis(1000));
    let mut body = text.as_bytes().to_vec();
    body.resize(text.len() + more, b' ');
    let record = Record::new(Body::from_bytes(Form::Text, Bytes::from(body)), meta);
    NewEntry { record, dedup: Some(key(text)) }
}

pub(crate) fn key(text: &str) -> DedupKey {
    DedupKey { scope: "p/s".into(), key: text.into(), ttl: Duration::from_secs(3600), at: Millis(1000) }
}

/// Everything unsettled, by sequence, without padding.
pub(crate) async fn held(events: &dyn Events) -> Vec<(u64, String)> {
    let all: Vec<u64> = (1..events.stats(&stream()).next).collect();
    let found = events.fetch(&stream(), &all).await.unwrap();
    let text = |record: &Record| String::from_utf8_lossy(record.body().bytes()).trim_end().to_owned();
    found.iter().map(|entry| (entry.sequence, text(&entry.record))).collect()
}

pub(crate) fn is_failed<T: std::fmt::Debug>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Failed(_)))
}
