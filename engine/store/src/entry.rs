//! A journal entry's payload: stream, sequence, time, perhaps a dedup key, then the record.

use bytes::Bytes;
use karez_api::{Entry, Millis, Record};

use crate::codec::Reader;
use crate::dedup::Key;
use crate::record;

/// What stands before the record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) stream: u64,
    pub(crate) sequence: u64,
    pub(crate) time: Millis,
    pub(crate) key: Option<Key>,
}

/// Appends what a caller knows of an entry; the writer puts [`place`] in front of it.
pub(crate) fn encode(out: &mut Vec<u8>, record: &Record, key: Option<Key>) {
    out.reserve(192 + record.body().bytes().len());
    out.extend_from_slice(&record.meta().received_at.0.to_le_bytes());
    out.push(u8::from(key.is_some()));
    if let Some(key) = key {
        key.put(out);
    }
    record::encode(out, record);
}

/// Bytes of [`place`].
pub(crate) const PLACE: usize = 16;

/// The first part of a payload: stream and sequence.
pub(crate) fn place(stream: u64, sequence: u64) -> [u8; PLACE] {
    (u128::from(stream) | u128::from(sequence) << 64).to_le_bytes()
}

/// What stands before the record, and the record's bytes.
pub(crate) fn head(payload: &[u8]) -> Option<(Head, &[u8])> {
    let mut reader = Reader::new(payload);
    let (stream, sequence, time) = (reader.u64()?, reader.u64()?, Millis(reader.u64()?));
    let key = match reader.u8()? {
        0 => None,
        _ => Some(Key::take(&mut reader)?),
    };
    Some((Head { stream, sequence, time, key }, reader.rest()))
}

/// The entry in a payload.
pub(crate) fn decode(payload: &Bytes) -> Option<Entry> {
    let (head, rest) = head(payload)?;
    let record = record::decode(&payload.slice(payload.len() - rest.len()..))?;
    Some(Entry { sequence: head.sequence, record })
}
