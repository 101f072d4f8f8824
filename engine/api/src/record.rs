//! One event with its metadata, and the lineage that ties it to the source record it was made from.

use std::sync::Arc;

use crate::{Body, Meta, RecordId};

/// The source record that a record belongs to; given by the engine at admission, 0 before.
///
/// Only [`Record::with_body`], [`Record::with_meta`] and [`Record::child`] make records from records,
/// and they all carry it over: it cannot be lost or forged by a step or a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Origin(u64);

impl Origin {
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A record. Clones share body and metadata.
#[derive(Debug, Clone)]
pub struct Record {
    body: Body,
    meta: Arc<Meta>,
    origin: Origin,
}

impl Record {
    /// A new record at a source; the engine gives it its origin at admission.
    #[must_use]
    pub fn new(body: Body, meta: Meta) -> Self {
        Self { body, meta: Arc::new(meta), origin: Origin::default() }
    }

    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }
    #[must_use]
    pub fn id(&self) -> &RecordId {
        &self.meta.id
    }
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// This record with another body.
    #[must_use]
    pub fn with_body(self, body: Body) -> Self {
        Self { body, ..self }
    }

    /// This record with changed metadata; copied only where it is shared.
    #[must_use]
    pub fn with_meta(mut self, change: impl FnOnce(&mut Meta)) -> Self {
        change(Arc::make_mut(&mut self.meta));
        self
    }

    /// The `index`-th record that `node` makes from this one: a child id, the same lineage.
    #[must_use]
    pub fn child(&self, node: &Arc<str>, index: u32, body: Body) -> Self {
        let parent = Arc::new(self.meta.id.clone());
        self.derived(RecordId::Child { parent, node: Arc::clone(node), index }, body)
    }

    /// The `index`-th record of a delivery that held several.
    #[must_use]
    pub fn part(&self, index: u32, body: Body) -> Self {
        let delivery = Arc::new(self.meta.id.clone());
        self.derived(RecordId::Part { delivery, index }, body)
    }

    fn derived(&self, id: RecordId, body: Body) -> Self {
        let meta = Meta { id, ..Meta::clone(&self.meta) };
        Self { body, meta: Arc::new(meta), origin: self.origin }
    }

    /// Body and metadata apart, for a step that builds its result from what it was given.
    #[must_use]
    pub fn into_body(self) -> (Body, Unbodied) {
        (self.body, Unbodied { meta: self.meta, origin: self.origin })
    }

    /// This record with its body as it came, see [`Body::unparsed`].
    #[must_use]
    pub fn unparsed(&self) -> Self {
        Self { body: self.body.unparsed(), meta: Arc::clone(&self.meta), origin: self.origin }
    }

    /// Gives a record its origin. For the engine, at admission only.
    #[must_use]
    pub fn admitted(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }
}

/// A record whose body was taken out, waiting for the next one.
#[derive(Debug)]
pub struct Unbodied {
    meta: Arc<Meta>,
    origin: Origin,
}

impl Unbodied {
    #[must_use]
    pub fn with_body(self, body: Body) -> Record {
        Record { body, meta: self.meta, origin: self.origin }
    }
}
