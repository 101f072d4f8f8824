//! What is known of a record beside its body.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

use http::HeaderMap;

use crate::{JsonMap, RecordId};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Millis(pub u64);

/// A record's metadata: in templates `{{@meta.…}}`, in jq `$meta`. Absent where a source has none.
#[derive(Debug, Clone)]
pub struct Meta {
    pub id: RecordId,
    /// The source's name in its pipeline.
    pub source: Arc<str>,
    pub received_at: Millis,
    pub event_type: Option<Arc<str>>,
    pub delivery_id: Option<Arc<str>>,
    /// The sender's own count of tries, from 1.
    pub attempt: Option<u32>,
    /// How its sender proved itself.
    pub signature: Option<Signature>,
    /// Names in lower case. Credentials are removed by the connector that checked them.
    pub headers: HeaderMap,
    /// A broker's message key or routing key.
    pub key: Option<Arc<str>>,
    pub partition: Option<u32>,
    pub offset: Option<u64>,
    pub topic: Option<Arc<str>>,
    pub file: Option<Arc<str>>,
    /// From 1.
    pub line: Option<u64>,
    /// What its source says of it beside these, and what `set_meta` wrote.
    pub extra: Extra,
    /// Why the record is on a failure path.
    pub error: Option<Arc<MetaFault>>,
}

impl Meta {
    /// The names of what every record may have; [`Meta::extra`] holds others.
    pub const FIXED: [&str; 15] = [
        "id",
        "source",
        "received_at",
        "event_type",
        "delivery_id",
        "attempt",
        "signature",
        "headers",
        "key",
        "partition",
        "offset",
        "topic",
        "file",
        "line",
        "error",
    ];

    #[must_use]
    pub fn new(id: RecordId, source: Arc<str>, received_at: Millis) -> Self {
        Self {
            id,
            source,
            received_at,
            event_type: None,
            delivery_id: None,
            attempt: None,
            signature: None,
            headers: HeaderMap::new(),
            key: None,
            partition: None,
            offset: None,
            topic: None,
            file: None,
            line: None,
            extra: Extra::default(),
            error: None,
        }
    }
}

/// Metadata under names of its own; clones share it until one is changed.
#[derive(Debug, Clone, Default)]
pub struct Extra(Option<Arc<JsonMap>>);

impl Deref for Extra {
    type Target = JsonMap;
    fn deref(&self) -> &JsonMap {
        static NOTHING: LazyLock<JsonMap> = LazyLock::new(JsonMap::new);
        self.0.as_deref().unwrap_or_else(|| &NOTHING)
    }
}

impl DerefMut for Extra {
    fn deref_mut(&mut self) -> &mut JsonMap {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl From<JsonMap> for Extra {
    fn from(fields: JsonMap) -> Self {
        Self((!fields.is_empty()).then(|| Arc::new(fields)))
    }
}

/// `@meta.signature`: what is known of a sender's proof.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signature {
    /// Which secret or key of several matched, from 0.
    pub secret: Option<u16>,
    /// When it was made, where that is signed too.
    pub at: Option<Millis>,
}

/// `@meta.error`: what happened at the node that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaFault {
    pub class: crate::Class,
    pub code: Arc<str>,
    pub node: Arc<str>,
    pub message: Arc<str>,
    /// Deliveries tried, 0 for a step.
    pub attempts: u32,
    pub at: Millis,
}
