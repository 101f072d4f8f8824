//! A stream, compiled: everything that is needed to read it, and nothing of how far it is.

use std::sync::Arc;
use std::time::Duration;

use karez_api::{Condition, Json};

use super::ask::Ask;
use super::cursor::{Point, PointFormat};
use super::decode::Decoder;
use super::elsewhere::Elsewhere;
use super::graphql::OnErrors;
use super::page::Paging;
use super::records::Identity;
use super::rules::Judge;
use super::spec::{ExpectSpec, Order};
use super::told::Told;
use crate::http::FarEnd;

/// All streams of a source.
pub(super) struct Streams {
    pub(super) all: Vec<Stream>,
    /// Those whose records come out.
    pub(super) emit: Vec<usize>,
    /// Partitions that are read at once.
    pub(super) parallel: usize,
    /// Query parameters that the connection adds: never saved.
    pub(super) own_parameters: Vec<String>,
    pub(super) far_end: FarEnd,
}

pub(super) struct Stream {
    pub(super) name: Arc<str>,
    pub(super) parent: Parent,
    pub(super) reading: Reading,
}

/// What a stream is read once for.
pub(super) enum Parent {
    None,
    /// Each of these, as `parent.value`.
    Values(Vec<Json>),
    /// Each record of another stream.
    Stream {
        index: usize,
        key: Vec<String>,
        when: Option<Condition>,
        changed_only: bool,
    },
}

/// How one partition is read.
pub(super) struct Reading {
    pub(super) ask: Ask,
    pub(super) decoder: Decoder,
    pub(super) paging: Paging,
    pub(super) max_pages: u64,
    pub(super) identity: Identity,
    pub(super) incremental: Option<Incremental>,
    pub(super) judge: Judge,
    pub(super) expect: Option<ExpectSpec>,
    pub(super) job: Option<Job>,
    pub(super) told: Told,
    /// Of a GraphQL query: what an answer with errors is.
    pub(super) on_errors: Option<OnErrors>,
}

/// What is new since the last run.
pub(super) struct Incremental {
    pub(super) format: PointFormat,
    pub(super) start: Option<Point>,
    pub(super) step: Option<Duration>,
    pub(super) lookback: Duration,
    pub(super) order: Order,
    pub(super) retention: Option<Duration>,
    pub(super) safety_lag: Duration,
    /// What the window does not hold is left out here.
    pub(super) filters: bool,
}

/// A report that is made there first.
pub(super) struct Job {
    pub(super) create: Ask,
    pub(super) poll: Ask,
    pub(super) every: Duration,
    pub(super) timeout: Duration,
    pub(super) done: Condition,
    pub(super) failed: Option<Condition>,
    pub(super) abort: Option<Ask>,
    pub(super) elsewhere: Option<Elsewhere>,
}
