//! Takes a plan apart into what the tasks of a pipeline need.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use karez_api::{Fault, InFlight, PipelinePlan, Shape, SinkName, SourceNode, StreamName};
use tokio::time::Instant;

use crate::Services;
use crate::core::{Limits, SinkSettings, SinkState, SourceSettings};
use crate::counters::Counters;
use crate::delivery::SinkDriver;
use crate::graph::Graph;
use crate::intake::JournalIntake;
use crate::prepare::Prepare;
use crate::tap::Taps;
use crate::tasks::TaskGroup;

/// Bytes of one delivery where the file does not say.
const BATCH_BYTES: usize = 4 << 20;

/// A plan, taken apart; sources and sinks are not open yet.
pub(crate) struct Parts {
    pub(crate) graph: Arc<Graph>,
    pub(crate) sources: Vec<SourcePart>,
    pub(crate) sinks: Vec<Arc<SinkDriver>>,
    pub(crate) limit: InFlight,
}

pub(crate) struct SourcePart {
    pub(crate) node: Arc<SourceNode>,
    pub(crate) intake: Arc<JournalIntake>,
}

impl SourcePart {
    pub(crate) fn settings(&self) -> SourceSettings {
        SourceSettings { name: Arc::clone(&self.node.name), ordered: self.node.plan.ordered() }
    }
}

impl Parts {
    pub(crate) fn new(
        mut plan: PipelinePlan,
        services: &Services,
        counters: &Arc<Counters>,
        taps: &Arc<Taps>,
        tasks: &TaskGroup,
    ) -> Self {
        let steps = !plan.steps.is_empty();
        let graph = Arc::new(Graph::new(&mut plan, Arc::clone(taps)));
        let name = Arc::clone(&plan.name);
        let sources = (0_u16..)
            .zip(plan.sources)
            .map(|(n, node)| SourcePart {
                intake: Arc::new(JournalIntake {
                    prepare: Arc::new(Prepare::new(&name, n, &node, steps, Arc::clone(counters))),
                    stream: StreamName { pipeline: Arc::clone(&name), source: Arc::clone(&node.name) },
                    events: Arc::clone(&services.events),
                    clock: Arc::clone(&services.clock),
                    requests: counters.requests(&node.name),
                    counters: Arc::clone(counters),
                    closed: tokio::sync::RwLock::default(),
                }),
                node: Arc::new(node),
            })
            .collect();
        let sinks = plan
            .sinks
            .into_iter()
            .map(|node| {
                let sink = SinkName { pipeline: Arc::clone(&name), sink: Arc::clone(&node.name) };
                Arc::new(SinkDriver::new(node, sink, services, tasks.clone()))
            })
            .collect();
        Self { graph, sources, sinks, limit: plan.max_in_flight }
    }

    /// The sinks as the core knows them.
    pub(crate) fn sink_states(&self, services: &Services) -> Vec<SinkState> {
        let now = Instant::now();
        self.sinks
            .iter()
            .enumerate()
            .map(|(n, driver)| {
                let (ledger, _) = services.events.ledger(&driver.name);
                SinkState::new(self.sink_settings(n, driver), ledger, now)
            })
            .collect()
    }

    fn sink_settings(&self, n: usize, driver: &SinkDriver) -> SinkSettings {
        let node = &driver.node;
        let (atomic, most) = match driver.shape() {
            Shape::Single => (false, 1),
            Shape::Batch { atomic, max } => (atomic, max.max(1)),
        };
        let batch = node.batch;
        SinkSettings {
            name: Arc::clone(&node.name),
            limits: Limits {
                records: batch.map_or(most, |batch| batch.records.clamp(1, most)),
                bytes: batch.map_or(BATCH_BYTES, |batch| batch.bytes),
                atomic,
            },
            linger: batch.map_or(Duration::ZERO, |batch| batch.linger),
            concurrency: driver.concurrency(),
            on_error: node.on_error,
            on_failure: node.on_failure,
            counters: Arc::clone(&self.graph.sinks[n].counters),
            asks: self.graph.sinks[n].asks,
            rate_limit: node.rate_limit.clone(),
        }
    }
}

/// Opens sinks that are not open yet, all at the same time.
///
/// # Errors
/// The first fault that the file can be blamed for; anything else is tried again with the first delivery.
pub(crate) async fn open_sinks(sinks: &[Arc<SinkDriver>]) -> Result<(), Fault> {
    let opening = sinks.iter().map(|driver| async move {
        match tokio::time::timeout(crate::reader::OPEN_WITHIN, driver.open()).await {
            Ok(Err(fault)) if !fault.class().is_transient() => {
                Err(fault.clone().with_message(format!("sink {}: {fault}", driver.node.name)))
            }
            Ok(Err(fault)) => {
                tracing::warn!(sink = %driver.name, error = %fault, "sink is not there yet, will retry");
                Ok(())
            }
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    });
    futures_util::future::join_all(opening).await.into_iter().collect()
}

/// Names of sinks that are in both lists with equal settings: they stay open through a reload.
pub(crate) fn kept(old: &[Arc<SinkDriver>], new: &[Arc<SinkDriver>]) -> HashSet<Arc<str>> {
    let same = |driver: &&Arc<SinkDriver>| {
        old.iter().any(|before| {
            before.node.name == driver.node.name && before.node.fingerprint == driver.node.fingerprint
        })
    };
    new.iter().filter(same).map(|driver| Arc::clone(&driver.node.name)).collect()
}
