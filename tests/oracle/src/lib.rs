//! The judge outside the system: sends events whose every byte is accounted for, breaks karez while it
//! works, waits until everything has come to rest, and holds what was promised against what was seen.
//! Knows karez only as a process, a folder and sockets.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "only tests are built on this")]

pub mod ids;
pub mod ledger;
pub mod seed;

pub mod observe;
pub mod produce;
pub mod verdict;

pub mod lane;
pub mod rig;
pub mod run;
pub mod stuck;

pub mod cases;
pub mod faults;
pub mod matrix;
pub mod table;

use std::sync::{Arc, Mutex, OnceLock};

use karez_tests::rabbit::Broker;

pub use run::Tier;
pub use seed::Seed;
pub use table::{Outcome, Row, Table};

use ids::{Event, Id, Maker};
use ledger::{Fate, Ledger};
use verdict::{Expect, Verdict, judge};

/// The broker of this process; it ends with it.
fn broker() -> produce::Rabbit {
    static BROKER: OnceLock<produce::Rabbit> = OnceLock::new();
    Arc::clone(BROKER.get_or_init(|| Arc::new(Mutex::new(Broker::start()))))
}
