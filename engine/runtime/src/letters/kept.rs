//! Records as dead letters and taps show them: text where it is text, base64 where it is not, metadata as JSON.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use karez_api::{Body, Form, JsonMap, Meta, MetaFault, Millis, Record, RecordId, Signature};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// A record as a dead letter keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptRecord {
    pub form: String,
    /// The body, where it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub body: Option<String>,
    /// The body in base64, where it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub body_base64: Option<String>,
    pub meta: Json,
}

impl KeptRecord {
    pub(crate) fn keep(record: &Record) -> Self {
        let bytes = record.body().bytes();
        let text = std::str::from_utf8(bytes).ok().map(str::to_owned);
        Self {
            form: form_name(record.body().form()).into(),
            body_base64: text.is_none().then(|| BASE64.encode(bytes)),
            body: text,
            meta: meta_json(record.meta()),
        }
    }

    /// The record again, for a replay.
    #[must_use]
    pub fn restore(&self) -> Record {
        let bytes = match (&self.body, &self.body_base64) {
            (Some(text), _) => Bytes::from(text.clone()),
            (None, Some(text)) => BASE64.decode(text).unwrap_or_default().into(),
            (None, None) => Bytes::new(),
        };
        let form = match self.form.as_str() {
            "text" => Form::Text,
            "form" => Form::Urlencoded,
            "bytes" => Form::Opaque,
            _ => Form::Json,
        };
        Record::new(Body::from_bytes(form, bytes), meta_from_json(&self.meta))
    }
}

fn form_name(form: Form) -> &'static str {
    match form {
        Form::Json => "json",
        Form::Text => "text",
        Form::Urlencoded => "form",
        Form::Opaque => "bytes",
    }
}

/// A body for people: its JSON, else its text, else its size.
pub(crate) fn body_json(body: &Body) -> Json {
    match body.tree() {
        Ok(tree) => tree.clone(),
        Err(_) => match std::str::from_utf8(body.bytes()) {
            Ok(text) => Json::String(text.to_owned()),
            Err(_) => json!({ "base64": BASE64.encode(body.bytes()) }),
        },
    }
}

/// Metadata as JSON, absent fields left out.
pub(crate) fn meta_json(meta: &Meta) -> Json {
    let mut map = JsonMap::new();
    let mut put = |name: &str, value: Json| {
        if !value.is_null() {
            map.insert(name.to_owned(), value);
        }
    };
    put("id", json!(meta.id.to_string()));
    put("source", json!(&*meta.source));
    put("received_at", json!(meta.received_at.0));
    put("event_type", json!(meta.event_type.as_deref()));
    put("delivery_id", json!(meta.delivery_id.as_deref()));
    put("attempt", json!(meta.attempt));
    if let Some(Signature { secret, at }) = meta.signature {
        put("signature", json!({"secret": secret, "at": at.map(|at| at.0)}));
    }
    if !meta.headers.is_empty() {
        let headers: JsonMap = meta
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), json!(String::from_utf8_lossy(value.as_bytes()))))
            .collect();
        put("headers", Json::Object(headers));
    }
    put("key", json!(meta.key.as_deref()));
    put("partition", json!(meta.partition));
    put("offset", json!(meta.offset));
    put("topic", json!(meta.topic.as_deref()));
    put("file", json!(meta.file.as_deref()));
    put("line", json!(meta.line));
    if !meta.extra.is_empty() {
        put("extra", Json::Object((*meta.extra).clone()));
    }
    if let Some(error) = &meta.error {
        put("error", fault_json(error));
    }
    Json::Object(map)
}

fn fault_json(error: &MetaFault) -> Json {
    json!({
        "class": error.class, "code": &*error.code, "node": &*error.node,
        "message": &*error.message, "attempts": error.attempts, "at": error.at.0,
    })
}

fn meta_from_json(json: &Json) -> Meta {
    let text = |name: &str| json[name].as_str().map(Arc::<str>::from);
    let id = RecordId::text(text("id").unwrap_or_else(|| "unknown".into()));
    let source = text("source").unwrap_or_else(|| "unknown".into());
    let mut meta = Meta::new(id, source, Millis::default());
    overlay_meta(&mut meta, json);
    meta
}

/// Writes the fields that `json` names over `meta`.
pub(crate) fn overlay_meta(meta: &mut Meta, json: &Json) {
    let text = |name: &str| json[name].as_str().map(Arc::<str>::from);
    let small = |name: &str| json[name].as_u64().and_then(|n| u32::try_from(n).ok());
    if let Some(id) = text("id") {
        meta.id = RecordId::text(id);
    }
    if let Some(at) = json["received_at"].as_u64() {
        meta.received_at = Millis(at);
    }
    for (name, value) in json["headers"].as_object().into_iter().flatten() {
        let value = value.as_str().map(HeaderValue::from_str);
        if let (Ok(name), Some(Ok(value))) = (HeaderName::try_from(name), value) {
            meta.headers.insert(name, value);
        }
    }
    meta.event_type = text("event_type").or(meta.event_type.take());
    meta.delivery_id = text("delivery_id").or(meta.delivery_id.take());
    meta.attempt = small("attempt").or(meta.attempt);
    if let Some(signature) = json["signature"].as_object() {
        let number = |name: &str| signature.get(name).and_then(Json::as_u64);
        let secret = number("secret").and_then(|secret| u16::try_from(secret).ok());
        meta.signature = Some(Signature { secret, at: number("at").map(Millis) });
    }
    meta.key = text("key").or(meta.key.take());
    meta.partition = small("partition").or(meta.partition);
    meta.offset = json["offset"].as_u64().or(meta.offset);
    meta.topic = text("topic").or(meta.topic.take());
    meta.file = text("file").or(meta.file.take());
    meta.line = json["line"].as_u64().or(meta.line);
    if let Some(extra) = json["extra"].as_object() {
        meta.extra = extra.clone().into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_record_comes_back_with_its_bytes_and_metadata() {
        for (form, body) in [(Form::Json, &b"{\"a\": 1}"[..]), (Form::Opaque, &b"\xff\x00"[..])] {
            let mut meta = Meta::new(RecordId::text("r1"), "hook".into(), Millis(17));
            meta.headers.insert("x-type", HeaderValue::from_static("t"));
            meta.extra.insert("tenant".into(), json!("acme"));
            meta.line = Some(3);
            let record = Record::new(Body::from_bytes(form, Bytes::from_static(body)), meta);
            let kept = serde_json::to_string(&KeptRecord::keep(&record)).unwrap();
            let back = serde_json::from_str::<KeptRecord>(&kept).unwrap().restore();
            assert_eq!(back.body().bytes(), body);
            assert_eq!(back.body().form(), form);
            assert_eq!(meta_json(back.meta()), meta_json(record.meta()));
        }
    }
}
