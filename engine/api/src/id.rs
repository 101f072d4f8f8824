//! `record.id`: stable across redelivery, cheap to make, printed only where it is needed.

use std::fmt;
use std::sync::Arc;

/// What identifies one record, for ever.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum RecordId {
    /// Given by the sender or made at first sight.
    Text(Arc<str>),
    /// A place in something that can be read again: topic and partition with an offset, file identity with a byte position.
    At { base: Arc<str>, offset: u64 },
    /// Made from another record by a node.
    Child { parent: Arc<RecordId>, node: Arc<str>, index: u32 },
    /// One of several records in one delivery of a sender: `<delivery>.<index>`.
    Part { delivery: Arc<RecordId>, index: u32 },
}

impl RecordId {
    #[must_use]
    pub fn text(id: impl Into<Arc<str>>) -> Self {
        Self::Text(id.into())
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::At { base, offset } => write!(f, "{base}/{offset}"),
            Self::Child { parent, node, index } => write!(f, "{parent}/{node}/{index}"),
            Self::Part { delivery, index } => write!(f, "{delivery}.{index}"),
        }
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
