//! A step: pure, synchronous, without state. It may run for chunks of one lane on several cores at once.

use crate::{Fault, Record};

/// An output of a step: 0 is the default one, `route` has more.
pub type Port = u16;

/// The output that a step without named outputs writes to.
pub const DEFAULT_PORT: Port = 0;

/// Where a step puts what it makes.
#[derive(Default)]
pub struct Emit(Vec<(Port, Record)>);

impl Emit {
    pub fn push(&mut self, record: Record) {
        self.0.push((DEFAULT_PORT, record));
    }
    pub fn push_to(&mut self, port: Port, record: Record) {
        self.0.push((port, record));
    }
    pub fn drain(&mut self) -> impl DoubleEndedIterator<Item = (Port, Record)> + '_ {
        self.0.drain(..)
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// How many records there are and what their bodies weigh in bytes; of a single one only that it is there.
    #[must_use]
    pub fn weigh(&self) -> (usize, usize) {
        match &self.0[..] {
            [] | [_] => (self.0.len(), 0),
            many => (many.len(), many.iter().map(|(_, record)| record.body().weight()).sum()),
        }
    }
}

pub trait Step: Send + Sync {
    /// Puts what becomes of `record` into `out`; nothing at all means that it is filtered.
    ///
    /// # Errors
    /// The record is refused as it is (class validation); what was put into `out` is discarded.
    fn apply(&self, record: Record, out: &mut Emit) -> Result<(), Fault>;

    /// Names of the outputs beside the default one, by port from 1; each must be taken by another node.
    fn outputs(&self) -> Vec<String> {
        Vec::new()
    }
    /// Whether records of the default output exist at all (`route` with `else: drop` has none).
    fn has_default_output(&self) -> bool {
        true
    }
}
