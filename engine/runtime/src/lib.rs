//! Runs one checked pipeline on tokio: reading, journaling, ordering, batching, retrying,
//! settling, dead letters, reload and drain. Knows no connector by name.
//!
//! `pipeline` is what an owner holds, `conductor` the one task behind it; `core` decides, and is
//! a state machine without time or I/O of its own; `graph` and `worker` run the steps; `reader`,
//! `delivery` and `settler` are the tasks that wait for the world.

mod alone;
mod counters;
mod letters;
mod pipeline;
mod remains;
mod rewind;
mod runs;
mod status;
mod tap;
mod trial;

mod assemble;
mod conductor;
mod core;
mod delivery;
mod graph;
mod intake;
mod prepare;
mod reader;
mod requests;
mod settler;
mod worker;

mod clock;
mod tasks;

mod planted;

pub use alone::{Alone, Company, Taken, positions};
pub use clock::{Standing, SystemClock};
pub use counters::{BUCKETS, Counters, Histogram, HistogramReading, Hold, Reading};
pub use letters::{DeadLetter, DeadLetters, KeptRecord, LetterHead};
pub use pipeline::{Drain, Finish, Pipeline, ReplayTo, Services, UnknownNode};
pub use remains::{Forgotten, forget};
pub use requests::RequestReading;
pub use rewind::{LanePosition, Rewind, Rewindable, Rewound, list_positions};
pub use runs::{RunTotals, StreamRuns};
pub use status::{JournalStatus, NodeStatus, State, Status};
pub use tap::{Tap, TapRecord};
pub use trial::{FarEnd, Mismatch, PlannedFault, Play, Replayed, Stage, Tested, run_tests};
