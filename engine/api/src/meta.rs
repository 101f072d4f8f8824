//! What is known of a record beside its body.

use std::sync::Arc;

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
    /// What `set_meta` wrote.
    pub extra: JsonMap,
    /// Why the record is on a failure path.
    pub error: Option<Arc<MetaFault>>,
}

impl Meta {
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
            extra: JsonMap::new(),
            error: None,
        }
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
