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

mod counters;
mod dedup;
mod index;
mod ledger;
mod names;
mod planted;
mod reserve;
mod shared;
mod stream;

mod outline;
mod queue;
mod recovery;
mod tape;
mod writer;

mod alone;
mod events;
mod progress;
mod store;
mod usage;
mod verify;

pub use alone::LogAlone;
pub use counters::SyncTimes;
pub use folder::is_store;
pub use store::{Options, Store};
pub use usage::Usage;
pub use verify::{Damage, VerifyReport, verify};

#[cfg(test)]
mod tests;
