//! Keeps what karez must not forget: a segmented log (journal, dedup keys, sink ledger) and keyed state in sled.
//!
//! Nothing here knows pipelines or connectors, and nothing outside names the engines. There is no clock: times
//! come with records and keys.

mod codec;
mod entry;
mod folder;
mod frame;
mod record;
mod segment;

mod dedup;
mod index;
mod ledger;
mod names;
mod shared;
mod stream;

mod queue;
mod recovery;
mod tape;
mod writer;

mod events;
mod progress;
mod store;
mod verify;

pub use store::{Options, Store, Usage};
pub use verify::{Damage, VerifyReport, verify};

#[cfg(test)]
mod tests;
