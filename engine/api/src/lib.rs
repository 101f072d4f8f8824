//! The contract between the engine and everything that plugs into it: records,
//! batches, acknowledgements, faults, problems, settings, traits and the registry.
//!
//! There is no I/O here, no async runtime and no engine state; every other crate
//! of the workspace depends on this one and it depends on none of them.

mod body;
mod id;
mod json;
mod meta;
mod record;

mod fault;
mod problem;

mod expression;
mod intake;
mod runs;
mod sink;
mod source;
mod step;
mod store;

mod calendar;
mod times;

mod check;
mod plan;
mod registry;
mod services;
mod settings;
pub mod suggest;
mod vault;

pub use body::{Body, Form};
pub use check::{Checker, Neighbour, Reuse, Scope};
pub use expression::{Condition, Escape, Evaluate, Expressions, Place, Put, Text, Value, constant};
pub use fault::{Class, Fault};
pub use id::RecordId;
pub use intake::{
    Accepted, Diagnosis, Endpoint, Fate, Incoming, Ingress, Intake, Mount, RequestHead, Response, Wanted,
};
pub use json::{JsonError, MAX_DEPTH, field, parse as parse_json, verify as verify_json};
pub use meta::{Extra, Meta, MetaFault, Millis, Signature};
pub use plan::{
    Act, Asking, Backoff, BatchPlan, Dedup, DedupScope, InFlight, Input, OnError, OnFailure, PipelinePlan,
    RateLimit, RecordedRun, Retry, SinkNode, SourceNode, StepNode, Test, Unrouted, Upstream,
};
pub use problem::{Key, Path, Problem, Severity};
pub use record::{Origin, Record};
pub use registry::{Build, Component, Connections, Registry, Role, SinkSpec, SourceSpec, StepSpec};
pub use runs::{NoRuns, RunCounts, RunReport, RunState, Runs, Timetable};
pub use services::{Clock, Shared, Tasks};
pub use settings::{ByteSize, Duration, Network, Rate, Secret};
pub use sink::{Delivery, Encode, Mark, Outcome, Shape, Sink, SinkContext, SinkPlan};
pub use source::{
    Ack, Batch, Claim, Decode, Lane, NoAck, Opened, Position, Positions, Replay, Settled, Source,
    SourceContext, SourcePlan, Unpack, Verdict,
};
pub use step::{DEFAULT_PORT, Emit, Port, Step};
pub use store::{
    Appended, DedupKey, Entry, Events, Expect, LARGEST_RECORD, NewEntry, Progress, SinkName, StoreError,
    Stored, StreamName, StreamStats, Write,
};
pub use times::{Schedule, Times};
pub use vault::{Kept, SECRETS, SharedVault, Vault, secret_item};

/// A JSON value; field order is kept, numbers are kept or refused, never altered.
pub type Json = serde_json::Value;
/// A JSON object with its field order.
pub type JsonMap = serde_json::Map<String, serde_json::Value>;
