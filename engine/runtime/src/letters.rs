//! Dead letters: what could not be delivered, with everything needed to understand and to replay it.
//! They are small keyed state: one entry each under `dead-letters/<pipeline>/`.

use std::hash::Hasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use karez_api::{
    Body, Class, Form, JsonMap, Meta, MetaFault, Millis, Progress, Record, RecordId, StoreError, Write,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use siphasher::sip::SipHasher13;

/// Bytes of all dead letters; at the cap, records stay unsettled and their pipelines wait.
const MAX_BYTES: u64 = 1 << 30;
const PREFIX: &str = "dead-letters/";

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

/// One dead letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Unique, sorted by time.
    pub id: String,
    pub pipeline: String,
    /// Where it failed: a step, a sink, or a source that could not decode it.
    pub node: String,
    pub class: Class,
    pub code: String,
    pub message: String,
    /// Deliveries tried.
    pub attempts: u32,
    /// Milliseconds since the epoch.
    pub at: u64,
    /// The source record: its original bytes and metadata.
    pub origin: KeptRecord,
    /// The record as it entered the node.
    pub record: KeptRecord,
}

/// The dead letters of all pipelines.
pub struct DeadLetters {
    progress: Arc<dyn Progress>,
    bytes: AtomicU64,
    count: AtomicU64,
}

impl DeadLetters {
    /// Counts what is there.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open(progress: Arc<dyn Progress>) -> Result<Self, StoreError> {
        let letters = Self { progress, bytes: AtomicU64::new(0), count: AtomicU64::new(0) };
        let mut after: Option<String> = None;
        loop {
            let page = letters.progress.list(PREFIX, after.as_deref(), 1_000).await?;
            let Some((last, _)) = page.last() else {
                return Ok(letters);
            };
            after = Some(last.clone());
            letters.count.fetch_add(page.len() as u64, Relaxed);
            let bytes: u64 = page.iter().map(|(_, stored)| stored.value.len() as u64).sum();
            letters.bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// How many there are, and their bytes.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.count.load(Relaxed), self.bytes.load(Relaxed))
    }

    /// Letters of one pipeline or of all, in order, after the letter with id `after`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(
        &self,
        pipeline: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let prefix = pipeline.map_or(PREFIX.to_owned(), |name| format!("{PREFIX}{name}/"));
        let after = match after {
            Some(id) => self.key_of(id).await?,
            None => None,
        };
        let page = self.progress.list(&prefix, after.as_deref(), limit).await?;
        page.iter().map(|(key, stored)| read(key, &stored.value)).collect()
    }

    /// # Errors
    /// The store cannot be read.
    pub async fn get(&self, id: &str) -> Result<Option<DeadLetter>, StoreError> {
        let Some(key) = self.key_of(id).await? else {
            return Ok(None);
        };
        let stored = self.progress.get(&key).await?;
        stored.map(|stored| read(&key, &stored.value)).transpose()
    }

    /// Removes a letter; false if there is none of that id.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn remove(&self, id: &str) -> Result<bool, StoreError> {
        let Some(key) = self.key_of(id).await? else {
            return Ok(false);
        };
        let Some(stored) = self.progress.get(&key).await? else {
            return Ok(false);
        };
        self.progress.write(vec![Write::remove(key)]).await?;
        self.count.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(stored.value.len() as u64, Relaxed);
        Ok(true)
    }

    /// Writes letters; durable when it returns. Writing one again replaces it.
    ///
    /// # Errors
    /// [`StoreError::Full`] at the cap; what the store says.
    pub(crate) async fn bury(&self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        let mut writes = Vec::with_capacity(letters.len());
        for letter in letters {
            let value = serde_json::to_vec(letter).unwrap_or_default();
            writes.push(Write::put(format!("{PREFIX}{}/{}", letter.pipeline, letter.id), value));
        }
        let size = |write: &Write| write.value.as_ref().map_or(0, Bytes::len) as u64;
        let bytes: u64 = writes.iter().map(size).sum();
        if self.bytes.load(Relaxed) + bytes > MAX_BYTES {
            return Err(StoreError::Full(
                "1 GiB of dead letters: replay or drop some, the pipeline waits".into(),
            ));
        }
        let (mut known, mut known_bytes) = (0, 0);
        for write in &writes {
            if let Some(before) = self.progress.get(&write.key).await? {
                known += 1;
                known_bytes += before.value.len() as u64;
            }
        }
        self.progress.write(writes).await?;
        self.count.fetch_add(letters.len() as u64 - known, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.bytes.fetch_sub(known_bytes, Relaxed);
        Ok(())
    }

    /// Moves the letters of one pipeline to another name.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(crate) async fn adopt(&self, old: &str, new: &str) -> Result<(), StoreError> {
        loop {
            let letters = self.list(Some(old), None, 500).await?;
            if letters.is_empty() {
                return Ok(());
            }
            let mut writes = Vec::with_capacity(letters.len() * 2);
            for mut letter in letters {
                writes.push(Write::remove(format!("{PREFIX}{old}/{}", letter.id)));
                let stamp = letter.id.split('@').next().unwrap_or_default();
                letter.id = format!("{stamp}@{new}");
                letter.pipeline = new.to_owned();
                let value = serde_json::to_vec(&letter).unwrap_or_default();
                writes.push(Write::put(format!("{PREFIX}{new}/{}", letter.id), value));
            }
            self.progress.write(writes).await?;
        }
    }

    /// Ids hold the pipeline's name at their end, so that they find their key by themselves.
    async fn key_of(&self, id: &str) -> Result<Option<String>, StoreError> {
        let Some((_, pipeline)) = id.split_once('@') else {
            return Ok(None);
        };
        Ok(Some(format!("{PREFIX}{pipeline}/{id}")))
    }
}

fn read(key: &str, value: &[u8]) -> Result<DeadLetter, StoreError> {
    serde_json::from_slice(value)
        .map_err(|error| StoreError::Refused(format!("dead letter {key} cannot be read: {error}")))
}

/// The id of a letter: when its record was received, which record at which node, and whose. The same failure
/// seen again after a crash is the same letter, not a second one.
pub(crate) fn letter_id(record: &Record, node: &str, pipeline: &str) -> String {
    let mut hasher = SipHasher13::new_with_keys(0x6b61_7265_7a00, 2);
    hasher.write(record.id().to_string().as_bytes());
    hasher.write(node.as_bytes());
    // Two branches may bring different records of one id to one node.
    hasher.write(record.body().bytes());
    let hash = hasher.finish();
    format!("{:013}-{hash:016x}@{pipeline}", record.meta().received_at.0)
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
        put("extra", Json::Object(meta.extra.clone()));
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
    meta.key = text("key").or(meta.key.take());
    meta.partition = small("partition").or(meta.partition);
    meta.offset = json["offset"].as_u64().or(meta.offset);
    meta.topic = text("topic").or(meta.topic.take());
    meta.file = text("file").or(meta.file.take());
    meta.line = json["line"].as_u64().or(meta.line);
    if let Some(extra) = json["extra"].as_object() {
        meta.extra = extra.clone();
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
