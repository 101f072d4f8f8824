//! Keeps what karez must not forget: a segmented log (journal, dedup keys, sink ledger), keyed state in sled, and in
//! that the vault.
//!
//! Nothing here knows pipelines or connectors, and nothing outside names the engines. Times come with records and
//! keys; only the vault is lent a clock.

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
mod vault;
mod verify;

pub use alone::LogAlone;
pub use counters::SyncTimes;
pub use folder::is_store;
pub use store::{Options, Store};
pub use usage::Usage;
pub use vault::{EncryptedVault, KeyId, Keys, LARGEST_SECRET, Listed, MasterKey, Rotated, Rotation};
pub use verify::{Damage, VerifyReport, verify};

#[cfg(test)]
mod tests;
