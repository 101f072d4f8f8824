//! A record as bytes: a version byte, its metadata, its body to the end. What the journal holds.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use karez_api::{Body, Class, Form, Meta, MetaFault, Millis, Record, RecordId, Signature};

use crate::codec::{Reader, put_bytes, put_text, put_varint};

const VERSION: u8 = 1;
/// Ids nest as deep as nodes derive records; deeper ones are kept as their text.
const MAX_ID_DEPTH: usize = 32;

const EVENT_TYPE: u16 = 1;
const DELIVERY_ID: u16 = 1 << 1;
const ATTEMPT: u16 = 1 << 2;
const KEY: u16 = 1 << 3;
const PARTITION: u16 = 1 << 4;
const OFFSET: u16 = 1 << 5;
const TOPIC: u16 = 1 << 6;
const FILE: u16 = 1 << 7;
const LINE: u16 = 1 << 8;
const EXTRA: u16 = 1 << 9;
const ERROR: u16 = 1 << 10;
const SIGNATURE_SECRET: u16 = 1 << 11;
const SIGNATURE_TIME: u16 = 1 << 12;

/// Appends `record`; its origin is not kept, the engine gives a new one when it is read.
pub(crate) fn encode(out: &mut Vec<u8>, record: &Record) {
    let meta = record.meta();
    out.push(VERSION);
    out.push(match record.body().form() {
        Form::Json => 0,
        Form::Text => 1,
        Form::Opaque => 2,
        Form::Urlencoded => 3,
    });
    put_id(out, &meta.id, 0);
    put_text(out, &meta.source);
    put_varint(out, meta.received_at.0);
    out.extend_from_slice(&present(meta).to_le_bytes());
    let texts = [&meta.event_type, &meta.delivery_id, &meta.key, &meta.topic, &meta.file];
    for text in texts.into_iter().flatten() {
        put_text(out, text);
    }
    let Signature { secret, at } = meta.signature.unwrap_or_default();
    let numbers = [
        meta.attempt.map(u64::from),
        meta.partition.map(u64::from),
        meta.offset,
        meta.line,
        secret.map(u64::from),
        at.map(|at| at.0),
    ];
    for number in numbers.into_iter().flatten() {
        put_varint(out, number);
    }
    if !meta.extra.is_empty() {
        put_bytes(out, &serde_json::to_vec(&*meta.extra).unwrap_or_default());
    }
    if let Some(error) = &meta.error {
        put_error(out, error);
    }
    put_varint(out, meta.headers.len() as u64);
    for (name, value) in &meta.headers {
        put_text(out, name.as_str());
        put_bytes(out, value.as_bytes());
    }
    out.extend_from_slice(record.body().bytes());
}

fn present(meta: &Meta) -> u16 {
    [
        (EVENT_TYPE, meta.event_type.is_some()),
        (DELIVERY_ID, meta.delivery_id.is_some()),
        (ATTEMPT, meta.attempt.is_some()),
        (KEY, meta.key.is_some()),
        (PARTITION, meta.partition.is_some()),
        (OFFSET, meta.offset.is_some()),
        (TOPIC, meta.topic.is_some()),
        (FILE, meta.file.is_some()),
        (LINE, meta.line.is_some()),
        (EXTRA, !meta.extra.is_empty()),
        (ERROR, meta.error.is_some()),
        (SIGNATURE_SECRET, meta.signature.is_some_and(|signature| signature.secret.is_some())),
        (SIGNATURE_TIME, meta.signature.is_some_and(|signature| signature.at.is_some())),
    ]
    .into_iter()
    .fold(0, |flags, (flag, is)| if is { flags | flag } else { flags })
}

fn put_id(out: &mut Vec<u8>, id: &RecordId, depth: usize) {
    match id {
        _ if depth == MAX_ID_DEPTH => {
            out.push(0);
            put_text(out, &id.to_string());
        }
        RecordId::Text(text) => {
            out.push(0);
            put_text(out, text);
        }
        RecordId::At { base, offset } => {
            out.push(1);
            put_text(out, base);
            put_varint(out, *offset);
        }
        RecordId::Child { parent, node, index } => {
            out.push(2);
            put_id(out, parent, depth + 1);
            put_text(out, node);
            put_varint(out, u64::from(*index));
        }
        RecordId::Part { delivery, index } => {
            out.push(3);
            put_id(out, delivery, depth + 1);
            put_varint(out, u64::from(*index));
        }
    }
}

fn put_error(out: &mut Vec<u8>, error: &MetaFault) {
    let class = Class::ALL.iter().position(|class| *class == error.class).unwrap_or_default();
    put_varint(out, class as u64);
    for text in [&error.code, &error.node, &error.message] {
        put_text(out, text);
    }
    put_varint(out, u64::from(error.attempts));
    put_varint(out, error.at.0);
}

/// Reads what [`encode`] wrote; the body shares `bytes`. `None` where it is anything else.
pub(crate) fn decode(bytes: &Bytes) -> Option<Record> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != VERSION {
        return None;
    }
    let form = match reader.u8()? {
        0 => Form::Json,
        1 => Form::Text,
        2 => Form::Opaque,
        3 => Form::Urlencoded,
        _ => return None,
    };
    let meta = take_meta(&mut reader)?;
    let body = bytes.slice(bytes.len() - reader.rest().len()..);
    Some(Record::new(Body::from_bytes(form, body), meta))
}

fn take_meta(reader: &mut Reader<'_>) -> Option<Meta> {
    let id = take_id(reader, 0)?;
    let source = Arc::from(reader.text()?);
    let mut meta = Meta::new(id, source, Millis(reader.varint()?));
    let flags = reader.u16()?;
    let has = |flag| flags & flag != 0;
    let texts = [
        (EVENT_TYPE, &mut meta.event_type),
        (DELIVERY_ID, &mut meta.delivery_id),
        (KEY, &mut meta.key),
        (TOPIC, &mut meta.topic),
        (FILE, &mut meta.file),
    ];
    for (flag, place) in texts {
        if has(flag) {
            *place = Some(Arc::from(reader.text()?));
        }
    }
    if has(ATTEMPT) {
        meta.attempt = Some(u32::try_from(reader.varint()?).ok()?);
    }
    if has(PARTITION) {
        meta.partition = Some(u32::try_from(reader.varint()?).ok()?);
    }
    if has(OFFSET) {
        meta.offset = Some(reader.varint()?);
    }
    if has(LINE) {
        meta.line = Some(reader.varint()?);
    }
    if has(SIGNATURE_SECRET) || has(SIGNATURE_TIME) {
        let signature = meta.signature.get_or_insert_default();
        if has(SIGNATURE_SECRET) {
            signature.secret = Some(u16::try_from(reader.varint()?).ok()?);
        }
        if has(SIGNATURE_TIME) {
            signature.at = Some(Millis(reader.varint()?));
        }
    }
    if has(EXTRA) {
        meta.extra = serde_json::from_slice::<karez_api::JsonMap>(reader.bytes()?).ok()?.into();
    }
    if has(ERROR) {
        meta.error = Some(Arc::new(take_error(reader)?));
    }
    meta.headers = take_headers(reader)?;
    Some(meta)
}

fn take_id(reader: &mut Reader<'_>, depth: usize) -> Option<RecordId> {
    if depth > MAX_ID_DEPTH {
        return None;
    }
    let index = |reader: &mut Reader<'_>| u32::try_from(reader.varint()?).ok();
    Some(match reader.u8()? {
        0 => RecordId::text(reader.text()?),
        1 => RecordId::At { base: Arc::from(reader.text()?), offset: reader.varint()? },
        2 => RecordId::Child {
            parent: Arc::new(take_id(reader, depth + 1)?),
            node: Arc::from(reader.text()?),
            index: index(reader)?,
        },
        3 => RecordId::Part { delivery: Arc::new(take_id(reader, depth + 1)?), index: index(reader)? },
        _ => return None,
    })
}

fn take_error(reader: &mut Reader<'_>) -> Option<MetaFault> {
    Some(MetaFault {
        class: *Class::ALL.get(usize::try_from(reader.varint()?).ok()?)?,
        code: Arc::from(reader.text()?),
        node: Arc::from(reader.text()?),
        message: Arc::from(reader.text()?),
        attempts: u32::try_from(reader.varint()?).ok()?,
        at: Millis(reader.varint()?),
    })
}

fn take_headers(reader: &mut Reader<'_>) -> Option<HeaderMap> {
    let count = reader.count(2)?;
    let mut headers = HeaderMap::new();
    for _ in 0..count {
        let name = HeaderName::from_bytes(reader.bytes()?).ok()?;
        let value = HeaderValue::from_bytes(reader.bytes()?).ok()?;
        headers.try_append(name, value).ok()?;
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full() -> Record {
        let delivery = Arc::new(RecordId::At { base: "t/0".into(), offset: 7 });
        let parent = Arc::new(RecordId::Part { delivery, index: 3 });
        let id = RecordId::Child { parent, node: "clean".into(), index: 0 };
        let mut meta = Meta::new(id, "orders".into(), Millis(1_700_000_000_123));
        meta.event_type = Some("created".into());
        meta.delivery_id = Some("d-1".into());
        meta.attempt = Some(2);
        meta.key = Some("k".into());
        meta.partition = Some(9);
        meta.offset = Some(u64::MAX);
        meta.topic = Some("t".into());
        meta.file = Some("f".into());
        meta.line = Some(1);
        meta.signature = Some(Signature { secret: Some(1), at: Some(Millis(1_700_000_000_000)) });
        meta.headers.append("x-a", HeaderValue::from_static("1"));
        meta.headers.append("x-a", HeaderValue::from_static("2"));
        meta.extra.insert("tenant".into(), "acme".into());
        meta.error = Some(Arc::new(MetaFault {
            class: Class::Service,
            code: "http_503".into(),
            node: "crm".into(),
            message: "no".into(),
            attempts: 8,
            at: Millis(5),
        }));
        Record::new(Body::from_bytes(Form::Text, Bytes::from_static(b"body")), meta)
    }

    fn bytes_of(record: &Record) -> Bytes {
        let mut out = Vec::new();
        encode(&mut out, record);
        out.into()
    }

    #[test]
    fn everything_known_of_a_record_comes_back() {
        let record = full();
        let again = decode(&bytes_of(&record)).unwrap();
        assert_eq!(format!("{:?}", again.meta()), format!("{:?}", record.meta()));
        assert_eq!(again.id(), record.id());
        assert_eq!(again.body().bytes(), record.body().bytes());
        assert_eq!(again.body().form(), Form::Text);
    }

    #[test]
    fn an_id_of_any_depth_keeps_its_text() {
        let mut id = RecordId::text("a");
        for index in 0..100 {
            id = RecordId::Child { parent: Arc::new(id), node: "n".into(), index };
        }
        let meta = Meta::new(id.clone(), "s".into(), Millis(0));
        let record = Record::new(Body::from_bytes(Form::Json, Bytes::from_static(b"1")), meta);
        assert_eq!(decode(&bytes_of(&record)).unwrap().id().to_string(), id.to_string());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>, genuine: bool, cut in 0..400_usize) {
            if genuine {
                bytes = bytes_of(&full()).to_vec();
                bytes.truncate(cut);
            }
            let _record = decode(&Bytes::from(bytes));
        }
    }
}
