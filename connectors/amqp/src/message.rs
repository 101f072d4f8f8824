//! From an AMQP message to a record.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use karez_api::{Body, Decode, Meta, Millis, Record, RecordId};
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use uuid::{NoContext, Timestamp, Uuid};

/// What is the same for all messages of a source.
pub(crate) struct Reading {
    pub(crate) source: Arc<str>,
    pub(crate) decode: Decode,
}

impl Reading {
    /// A record; its id is the message's `message_id`, or new where there is none.
    pub(crate) fn record(&self, delivery: Delivery, now: Millis) -> Record {
        let properties = &delivery.properties;
        let given = properties.message_id().as_ref().map(ShortString::as_str).filter(|id| !id.is_empty());
        let id = given.map_or_else(|| fresh_id(now), RecordId::text);
        let mut meta = Meta::new(id, Arc::clone(&self.source), now);
        meta.delivery_id = given.map(Arc::from);
        meta.event_type = properties.kind().as_ref().map(|kind| Arc::from(kind.as_str()));
        meta.topic = Some(Arc::from(delivery.exchange.as_str()));
        meta.key = Some(Arc::from(delivery.routing_key.as_str()));
        if let Some(table) = properties.headers() {
            meta.attempt = attempt(table);
            copy(table, &mut meta.headers);
        }
        if let Some(content_type) = properties.content_type()
            && let Ok(value) = HeaderValue::from_str(content_type.as_str())
        {
            meta.headers.insert(http::header::CONTENT_TYPE, value);
        }
        if delivery.redelivered {
            meta.extra.insert("redelivered".into(), true.into());
        }
        Record::new(Body::from_bytes(self.decode.form(), delivery.data.into()), meta)
    }
}

fn fresh_id(now: Millis) -> RecordId {
    let nanos = u32::try_from(now.0 % 1_000).unwrap_or(0) * 1_000_000;
    RecordId::text(Uuid::new_v7(Timestamp::from_unix(NoContext, now.0 / 1_000, nanos)).to_string())
}

/// Quorum queues count deliveries before this one.
fn attempt(table: &FieldTable) -> Option<u32> {
    let before = whole(table.inner().get("x-delivery-count")?)?;
    u32::try_from(before).ok()?.checked_add(1)
}

fn whole(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(number) => Some((*number).into()),
        AMQPValue::ShortShortUInt(number) => Some((*number).into()),
        AMQPValue::ShortInt(number) => Some((*number).into()),
        AMQPValue::ShortUInt(number) => Some((*number).into()),
        AMQPValue::LongInt(number) => Some((*number).into()),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => None,
    }
}

/// Copies what can be a header: text, numbers and booleans under names that HTTP knows.
fn copy(table: &FieldTable, headers: &mut http::HeaderMap) {
    for (name, value) in table {
        let text = match value {
            AMQPValue::LongString(text) => text.to_string(),
            AMQPValue::ShortString(text) => text.to_string(),
            AMQPValue::Boolean(flag) => flag.to_string(),
            AMQPValue::Double(number) => number.to_string(),
            AMQPValue::Timestamp(seconds) => seconds.to_string(),
            other => match whole(other) {
                Some(number) => number.to_string(),
                None => continue,
            },
        };
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&text)) {
            headers.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::BasicProperties;

    #[test]
    fn a_message_keeps_what_it_says_of_itself() {
        let mut table = FieldTable::default();
        table.insert("X-Tenant".into(), AMQPValue::LongString("acme".into()));
        table.insert("x-delivery-count".into(), AMQPValue::LongLongInt(2));
        table.insert("not a name".into(), AMQPValue::Boolean(true));
        let mut delivery = Delivery::mock(1, "orders".into(), "eu.new".into(), true, b"{\"a\":1}".to_vec());
        delivery.properties = BasicProperties::default()
            .with_message_id("m-1".into())
            .with_type("order.created".into())
            .with_headers(table);
        let reading = Reading { source: "in".into(), decode: Decode::Json };
        let record = reading.record(delivery, Millis(5));
        let meta = record.meta();
        assert_eq!(meta.id, RecordId::text("m-1"));
        assert_eq!(meta.attempt, Some(3));
        assert_eq!(meta.event_type.as_deref(), Some("order.created"));
        assert_eq!((meta.topic.as_deref(), meta.key.as_deref()), (Some("orders"), Some("eu.new")));
        assert_eq!(meta.headers["x-tenant"], "acme");
        assert_eq!(meta.headers.len(), 2);
        assert_eq!(meta.extra["redelivered"], true);
        assert_eq!(record.body().tree().unwrap()["a"], 1);
    }
}
