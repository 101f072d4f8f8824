//! Dead letters: what could not be delivered, with everything needed to understand and to replay it.
//! Small keyed state: a letter under `dead-letters/<pipeline>/`, and the source record that it came of once for
//! all letters of that record, since one delivery may be split into thousands that are refused.

mod kept;
mod origins;

use std::hash::Hasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use karez_api::{Class, Progress, Record, StoreError, Write};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use tokio::sync::Mutex;

pub use kept::KeptRecord;
pub(crate) use kept::{body_json, meta_json, overlay_meta};
use origins::Origins;

use crate::core::Burial;

/// Bytes of all dead letters; at the cap, records stay unsettled and their pipelines wait.
const MAX_BYTES: u64 = 1 << 30;
const PREFIX: &str = "dead-letters/";

/// What a dead letter says of itself, without its records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LetterHead {
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
}

/// One dead letter.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub head: LetterHead,
    /// The source record: its original bytes and metadata.
    pub origin: KeptRecord,
    /// The record as it entered the node.
    pub record: KeptRecord,
}

impl DeadLetter {
    /// For people and tools: the head's fields, `origin` and `record`.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let mut json = serde_json::json!(self.head);
        json["origin"] = serde_json::json!(self.origin);
        json["record"] = serde_json::json!(self.record);
        json
    }
}

/// A letter at rest.
#[derive(Serialize, Deserialize)]
struct Stored {
    head: LetterHead,
    /// Where its origin is kept.
    origin: String,
    /// Absent where it failed as it came.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    record: Option<KeptRecord>,
}

/// The dead letters of all pipelines.
pub struct DeadLetters {
    progress: Arc<dyn Progress>,
    bytes: AtomicU64,
    count: AtomicU64,
    /// Letters are written and removed one after the other: they share origins, which are counted.
    writing: Mutex<()>,
}

impl DeadLetters {
    /// Counts what is there.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open(progress: Arc<dyn Progress>) -> Result<Self, StoreError> {
        let (count, letters) = measure(&*progress, PREFIX).await?;
        let (_, origins) = measure(&*progress, origins::PREFIX).await?;
        let bytes = AtomicU64::new(letters + origins);
        Ok(Self { progress, bytes, count: AtomicU64::new(count), writing: Mutex::default() })
    }

    /// How many there are, and their bytes.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.count.load(Relaxed), self.bytes.load(Relaxed))
    }

    /// Letters of one pipeline or of all, without their records, in order, after the letter with id `after`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(
        &self,
        pipeline: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<LetterHead>, StoreError> {
        let after = after.and_then(key_of);
        let page = self.progress.list(&prefix(pipeline), after.as_deref(), limit).await?;
        page.iter().map(|(key, stored)| Ok(read(key, &stored.value)?.head)).collect()
    }

    /// # Errors
    /// The store cannot be read.
    pub async fn get(&self, id: &str) -> Result<Option<DeadLetter>, StoreError> {
        let Some((key, Stored { head, origin, record })) = self.stored(id).await? else {
            return Ok(None);
        };
        let Some(origin) = Origins(&*self.progress).get(&origin).await? else {
            return Err(StoreError::Refused(format!("dead letter {key} has lost its origin")));
        };
        let record = record.unwrap_or_else(|| origin.clone());
        Ok(Some(DeadLetter { head, origin, record }))
    }

    /// Removes a letter; false if there is none of that id.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn remove(&self, id: &str) -> Result<bool, StoreError> {
        let _writing = self.writing.lock().await;
        let Some((key, stored)) = self.stored(id).await? else {
            return Ok(false);
        };
        let mut writes = Origins(&*self.progress).released(&stored.origin).await?;
        writes.push(Write::remove(key));
        self.write(writes).await?;
        self.count.fetch_sub(1, Relaxed);
        Ok(true)
    }

    /// Writes letters; durable when it returns. Writing one again replaces it.
    ///
    /// # Errors
    /// [`StoreError::Full`] at the cap; what the store says.
    pub(crate) async fn bury(&self, pipeline: &str, burials: &[Burial]) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        let (mut writes, mut fresh, mut origins) = (Vec::new(), 0, origins::Taken::default());
        for burial in burials {
            let Burial { refusal, origin, at } = burial;
            let head = LetterHead {
                id: letter_id(&refusal.record, &refusal.node, pipeline),
                pipeline: pipeline.to_owned(),
                node: refusal.node.to_string(),
                class: refusal.fault.class(),
                code: refusal.fault.code().to_owned(),
                message: refusal.fault.message().to_owned(),
                attempts: refusal.attempts,
                at: at.0,
            };
            let key = format!("{PREFIX}{pipeline}/{}", head.id);
            let name = origins::name(pipeline, origin);
            if writes.iter().any(|write: &Write| write.key == key) {
                continue;
            }
            if self.progress.get(&key).await?.is_none() {
                fresh += 1;
                origins.take(&name, origin);
            }
            let record = (!origins::same(&refusal.record, origin)).then(|| KeptRecord::keep(&refusal.record));
            writes.push(Write::put(key, json(&Stored { head, origin: name, record })));
        }
        writes.extend(Origins(&*self.progress).taken(origins).await?);
        let bytes: usize = writes.iter().map(size).sum();
        if self.bytes.load(Relaxed) + bytes as u64 > MAX_BYTES {
            return Err(StoreError::Full(
                "1 GiB of dead letters: replay or drop some, the pipeline waits".into(),
            ));
        }
        fail::fail_point!("crash::before_letter");
        self.write(writes).await?;
        fail::fail_point!("crash::after_letter");
        self.count.fetch_add(fresh, Relaxed);
        Ok(())
    }

    /// Moves the letters of one pipeline to another name.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(crate) async fn adopt(&self, old: &str, new: &str) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        loop {
            let page = self.progress.list(&prefix(Some(old)), None, 500).await?;
            if page.is_empty() {
                return Ok(());
            }
            let mut writes = Vec::with_capacity(page.len() * 2);
            for (key, value) in page {
                let mut stored = read(&key, &value.value)?;
                let stamp = stored.head.id.split('@').next().unwrap_or_default();
                stored.head.id = format!("{stamp}@{new}");
                stored.head.pipeline = new.to_owned();
                writes.push(Write::put(format!("{PREFIX}{new}/{}", stored.head.id), json(&stored)));
                writes.push(Write::remove(key));
            }
            self.write(writes).await?;
        }
    }

    async fn stored(&self, id: &str) -> Result<Option<(String, Stored)>, StoreError> {
        let Some(key) = key_of(id) else {
            return Ok(None);
        };
        let Some(found) = self.progress.get(&key).await? else {
            return Ok(None);
        };
        let stored = read(&key, &found.value)?;
        Ok(Some((key, stored)))
    }

    /// Writes, and keeps the sum of bytes right.
    async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let (mut more, mut less) = (0, 0);
        for write in &writes {
            more += size(write) as u64;
            less += self.progress.get(&write.key).await?.map_or(0, |before| before.value.len() as u64);
        }
        self.progress.write(writes).await?;
        self.bytes.fetch_add(more, Relaxed);
        self.bytes.fetch_sub(less, Relaxed);
        Ok(())
    }
}

async fn measure(progress: &dyn Progress, prefix: &str) -> Result<(u64, u64), StoreError> {
    let (mut count, mut bytes) = (0, 0);
    let mut after: Option<String> = None;
    loop {
        let page = progress.list(prefix, after.as_deref(), 100).await?;
        let Some((last, _)) = page.last() else {
            return Ok((count, bytes));
        };
        after = Some(last.clone());
        count += page.len() as u64;
        bytes += page.iter().map(|(_, stored)| stored.value.len() as u64).sum::<u64>();
    }
}

fn size(write: &Write) -> usize {
    write.value.as_ref().map_or(0, Bytes::len)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Plain structures with text keys: they always have a JSON form.
    serde_json::to_vec(value).unwrap_or_default()
}

fn prefix(pipeline: Option<&str>) -> String {
    pipeline.map_or(PREFIX.to_owned(), |name| format!("{PREFIX}{name}/"))
}

/// Ids hold the pipeline's name at their end, so that they find their key by themselves.
fn key_of(id: &str) -> Option<String> {
    let (_, pipeline) = id.split_once('@')?;
    Some(format!("{PREFIX}{pipeline}/{id}"))
}

fn read(key: &str, value: &[u8]) -> Result<Stored, StoreError> {
    serde_json::from_slice(value)
        .map_err(|error| StoreError::Refused(format!("dead letter {key} cannot be read: {error}")))
}

/// The id of a letter: when its record was received, which record at which node, and whose. The same failure
/// seen again after a crash is the same letter, not a second one.
fn letter_id(record: &Record, node: &str, pipeline: &str) -> String {
    let mut hasher = SipHasher13::new_with_keys(0x6b61_7265_7a00, 2);
    hasher.write(record.id().to_string().as_bytes());
    hasher.write(node.as_bytes());
    // Two branches may bring different records of one id to one node.
    hasher.write(record.body().bytes());
    let hash = hasher.finish();
    format!("{:013}-{hash:016x}@{pipeline}", record.meta().received_at.0)
}
