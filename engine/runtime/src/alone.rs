//! A source that is read without a pipeline around it: by whoever tries, records or tests it. Nothing is delivered and
//! nothing is stored; positions are kept in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use karez_api::{
    Accepted, Ack, Batch, Clock, Endpoint, Fault, Incoming, Ingress, Intake, Lane, Mount, Opened, Position,
    Positions, Progress, Record, Runs, Shared, Source, SourceContext, SourceNode, StoreError, StreamName,
    Tasks, Verdict,
};

use crate::settler;
use crate::tasks::TaskGroup;

/// Where the lanes of a source were left.
///
/// # Errors
/// The store cannot be read.
pub async fn positions(
    progress: &dyn Progress,
    stream: &StreamName,
) -> Result<BTreeMap<Lane, Position>, StoreError> {
    settler::positions(progress, stream).await
}

/// What such a source is given.
#[derive(Clone)]
pub struct Company {
    pub clock: Arc<dyn Clock>,
    pub shared: Shared,
    pub runs: Arc<dyn Runs>,
    /// Whether it asks also for what it has read to the end before; else it goes on only with what is unfinished.
    pub once: bool,
}

/// An open source with its tasks.
pub struct Alone {
    source: Box<dyn Source>,
    positions: BTreeMap<Lane, Position>,
    tasks: TaskGroup,
}

impl Alone {
    /// Opens it to be read to its end, from these positions. Within a tokio runtime.
    ///
    /// # Errors
    /// What the source said; class fatal where it is none that is asked.
    pub async fn open(
        pipeline: &str,
        node: &SourceNode,
        positions: BTreeMap<Lane, Position>,
        company: Company,
    ) -> Result<Self, Fault> {
        let tasks = TaskGroup::default();
        let source = open(pipeline, node, positions.clone(), company, Arc::new(tasks.clone())).await?;
        Ok(Self { source, positions, tasks })
    }

    /// What comes next; none at the end. What came before is settled by then.
    ///
    /// # Errors
    /// What the source said.
    pub async fn next(&mut self) -> Result<Option<Taken>, Fault> {
        Ok(self.source.pull().await?.map(Taken::of))
    }

    /// Keeps where a batch ends, and tells the source that all of it is delivered.
    ///
    /// # Errors
    /// The source cannot be told.
    pub async fn settle(&mut self, taken: Taken) -> Result<(), Fault> {
        taken.settle(&mut self.positions).await
    }

    #[must_use]
    pub fn positions(&self) -> &BTreeMap<Lane, Position> {
        &self.positions
    }

    /// Ends its tasks and waits for them.
    pub async fn close(self) {
        drop(self.source);
        self.tasks.finish().await;
    }
}

/// A batch that waits to be settled.
pub struct Taken {
    pub lane: Lane,
    pub records: Vec<Record>,
    positions: Positions,
    ack: Box<dyn Ack>,
}

impl Taken {
    pub(crate) fn of(batch: Batch) -> Self {
        let Batch { lane, records, positions, ack } = batch;
        Self { lane, records, positions, ack }
    }

    /// Where its lane is left after it; none where that comes with a later batch, or the lane is over.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        match &self.positions {
            Positions::After(position) | Positions::Now(position) => Some(position),
            Positions::Each(each) => each.last(),
            Positions::None | Positions::Later | Positions::Gone => None,
        }
    }

    /// # Errors
    /// The source cannot be told.
    pub(crate) async fn settle(mut self, known: &mut BTreeMap<Lane, Position>) -> Result<(), Fault> {
        match self.position() {
            Some(position) => {
                known.insert(self.lane.clone(), position.clone());
            }
            None if matches!(self.positions, Positions::Gone) => {
                known.remove(&self.lane);
            }
            None => {}
        }
        let verdicts: Vec<(u32, Verdict)> =
            (0_u32..).zip(&self.records).map(|(n, _)| (n, Verdict::Durable)).collect();
        if !verdicts.is_empty() {
            self.ack.settle(&verdicts).await?;
        }
        Ok(())
    }
}

/// # Errors
/// As [`Alone::open`].
pub(crate) async fn open(
    pipeline: &str,
    node: &SourceNode,
    positions: BTreeMap<Lane, Position>,
    company: Company,
    tasks: Arc<dyn Tasks>,
) -> Result<Box<dyn Source>, Fault> {
    let cx = SourceContext {
        pipeline: pipeline.into(),
        source: Arc::clone(&node.name),
        positions,
        clock: company.clock,
        tasks,
        shared: company.shared,
        ingress: Arc::new(Nobody),
        intake: Arc::new(Nobody),
        decode: node.decode,
        timetable: None,
        once: company.once,
        runs: company.runs,
    };
    match node.plan.open(cx).await? {
        Opened::Pull(source) => Ok(source),
        Opened::Push(_) => Err(nobody()),
    }
}

/// Nobody calls such a source.
struct Nobody;

fn nobody() -> Fault {
    Fault::fatal("a source that calls by itself cannot be read alone").with_code("no_intake")
}

impl Ingress for Nobody {
    fn mount(&self, _: &str, _: &str, _: Arc<dyn Endpoint>) -> Result<Mount, Fault> {
        Err(nobody())
    }
}

#[async_trait]
impl Intake for Nobody {
    async fn accept(&self, _: Incoming) -> Accepted {
        Accepted::Undecodable(nobody())
    }
    fn refused(&self, _: &'static str) {}
}
