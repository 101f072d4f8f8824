//! Deliveries that hold several events: one record for each, with an id and a type of its own.

use std::sync::Arc;

use karez_api::{Body, Fault, Json, Record, Unpack};

use super::identity::record_id;
use super::provider::Provider;
use super::verify::BodyPath;

/// Where a provider's events stand in a delivery.
pub(super) enum Each {
    /// The body is the list.
    Body,
    Field(BodyPath),
}

impl Each {
    /// # Errors
    /// A sentence that says how it is written.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "." => Ok(Self::Body),
            path => BodyPath::parse(path).map(Self::Field),
        }
    }

    /// A field of its first event.
    pub(super) fn first(&self, field: &BodyPath) -> BodyPath {
        match self {
            Self::Body => BodyPath::of_item(0, field),
            Self::Field(list) => list.below(0, field),
        }
    }

    /// The events; nothing where there is no such list.
    pub(super) fn of<'j>(&self, tree: &'j Json) -> Option<&'j Vec<Json>> {
        match self {
            Self::Body => tree.as_array(),
            Self::Field(path) => path.find(tree)?.as_array(),
        }
    }
}

/// Takes apart what a provider sends.
pub(super) struct Packed {
    pub(super) provider: &'static Provider,
    pub(super) each: &'static Each,
    /// Whether the provider's word on the type of an event counts, rather than the file's.
    pub(super) typed: bool,
}

impl Unpack for Packed {
    fn unpack(&self, delivery: Record) -> Result<Vec<Record>, Fault> {
        let tree = delivery.body().tree().map_err(|error| Fault::validation("undecodable", error))?;
        let Some(events) = self.each.of(tree) else {
            return Ok(vec![delivery]);
        };
        Ok((0_u32..).zip(events).map(|(index, event)| self.one(&delivery, index, event)).collect())
    }
}

impl Packed {
    fn one(&self, delivery: &Record, index: u32, event: &Json) -> Record {
        let headers = &delivery.meta().headers;
        let id = self.provider.event_id().of(headers, Some(event));
        let event_type = match self.typed {
            true => self.provider.event_type().of(headers, Some(event)),
            false => None,
        };
        let record = delivery.part(index, Body::from_tree(event.clone()));
        let bytes = record.body().bytes().clone();
        record.with_meta(|meta| {
            if id.is_some() || self.provider.hashes() {
                meta.id = record_id(&meta.source, id.as_deref(), &bytes);
            }
            meta.delivery_id = meta.delivery_id.take().or(id.map(Arc::from));
            if let Some(event_type) = event_type {
                meta.event_type = Some(event_type.into());
            }
        })
    }
}

#[cfg(test)]
#[path = "packed_tests.rs"]
mod tests;
