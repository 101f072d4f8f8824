//! A running pipeline as its owner holds it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use karez_api::{Clock, Events, Fault, Ingress, PipelinePlan, Progress, Record};
use tokio::sync::{mpsc, oneshot, watch};

use crate::assemble::Parts;
use crate::conductor::Conductor;
use crate::counters::{Counters, End, NodeCounters};
use crate::graph::Graph;
use crate::letters::{DeadLetter, DeadLetters, LetterHead};
use crate::rewind::{Rewind, Rewindable, Rewound};
use crate::status::{Down, JournalStatus, NodeStatus, State, Status};
use crate::tap::{Tap, Taps};
use crate::tasks::TaskGroup;

/// What a pipeline is given by its owner.
#[derive(Clone)]
pub struct Services {
    pub progress: Arc<dyn Progress>,
    pub events: Arc<dyn Events>,
    pub ingress: Arc<dyn Ingress>,
    pub clock: Arc<dyn Clock>,
    pub letters: Arc<DeadLetters>,
    /// What connectors share.
    pub shared: karez_api::Shared,
    /// Whether the process ends with its sources: one that polls asks once.
    pub once: bool,
}

/// How a pipeline is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// At once: what is on its way goes back or stays in the journal.
    Now,
    /// What is on its way comes to its end, within this time.
    Window(Duration),
    /// That, and everything the journal holds.
    Everything(Duration),
}

/// How a pipeline came to its end.
#[derive(Debug, Clone)]
pub enum Finish {
    /// All sources ended and everything is settled.
    Ended,
    Stopped,
    Failed(Fault),
}

/// Where a dead letter is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayTo {
    /// At the node that failed, as the record entered it.
    Original,
    /// At the source: the original record, through all steps.
    Source,
    /// At another node.
    Node(String),
}

/// A pipeline has no node of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline has no node {0:?}")]
pub struct UnknownNode(pub String);

pub(crate) enum Control {
    Stop(Drain, oneshot::Sender<()>),
    Reload(Box<Parts>, oneshot::Sender<Result<(), Fault>>),
    Replay(Record, Option<String>, oneshot::Sender<Replayed>),
    Rewind(Rewind, Vec<Rewindable>, oneshot::Sender<Result<Rewound, Fault>>),
    Unblock,
}

/// What became of a dead letter that was tried again.
pub(crate) enum Replayed {
    Ended(End),
    /// Its node, or the source it came from, is no longer there.
    UnknownNode,
    /// The pipeline stopped or changed before its end was known.
    GivenBack,
}

/// A source's name, type and counters.
type SourceCounters = (Arc<str>, &'static str, Arc<NodeCounters>);

/// What the conductor shows to others.
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) counters: Arc<Counters>,
    state: Mutex<(State, Option<Fault>)>,
    finished: watch::Sender<Option<Finish>>,
    /// Sources that do not work at the moment.
    down: Mutex<BTreeMap<Arc<str>, Down>>,
    sources: RwLock<Vec<SourceCounters>>,
}

impl Shared {
    pub(crate) fn set_state(&self, state: State) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = state;
    }

    pub(crate) fn finish(&self, state: State, fault: Option<Fault>) {
        let finish = match (&state, &fault) {
            (State::Ended, _) => Finish::Ended,
            (_, Some(fault)) => Finish::Failed(fault.clone()),
            _ => Finish::Stopped,
        };
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (state, fault);
        self.finished.send_replace(Some(finish));
    }

    /// Notes that a source works or not; true if that is news.
    pub(crate) fn source_down(&self, source: &Arc<str>, now: Option<Down>) -> bool {
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        match now {
            Some(now) => down.insert(Arc::clone(source), now).is_none(),
            None => down.remove(source).is_some(),
        }
    }

    /// Counts records that a source gave.
    pub(crate) fn note_source(&self, source: &str, n: u64) {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, counters)) = sources.iter().find(|(name, ..)| &**name == source) {
            counters.add(n, n, 0);
        }
    }
}

/// The plan's shape that `status` shows.
struct Shape {
    file: Arc<str>,
    fingerprint: u64,
    graph: Arc<Graph>,
    sources: Vec<Rewindable>,
    steps: Vec<(Arc<str>, &'static str)>,
    sinks: Vec<(Arc<str>, &'static str)>,
}

impl Shape {
    /// Everything about a plan that is known before it is taken apart.
    fn of(plan: &PipelinePlan) -> impl FnOnce(Arc<Graph>) -> Self + use<> {
        let (file, fingerprint) = (Arc::clone(&plan.file), plan.fingerprint);
        let sources = plan.sources.iter().map(Rewindable::of).collect();
        let steps = plan.steps.iter().map(|node| (Arc::clone(&node.id), node.kind)).collect();
        let sinks = plan.sinks.iter().map(|node| (Arc::clone(&node.name), node.kind)).collect();
        move |graph| Self { file, fingerprint, graph, sources, steps, sinks }
    }
}

fn source_counters(plan: &PipelinePlan) -> Vec<SourceCounters> {
    plan.sources.iter().map(|node| (Arc::clone(&node.name), node.kind, Arc::default())).collect()
}

/// A running pipeline. Dropping it does not stop it: [`Pipeline::stop`] does.
pub struct Pipeline {
    shared: Arc<Shared>,
    services: Services,
    tasks: TaskGroup,
    taps: Arc<Taps>,
    control: mpsc::Sender<Control>,
    shape: RwLock<Shape>,
    /// What outlives the pipeline's own tasks.
    owner: TaskGroup,
}

impl Pipeline {
    /// Opens and runs a plan.
    ///
    /// # Errors
    /// What the file can be blamed for: a path that is taken, a refused declaration. A far end that
    /// cannot be reached is no error: it is tried again.
    pub async fn start(plan: PipelinePlan, services: Services) -> Result<Self, Fault> {
        if let Some(old) = &plan.renamed_from {
            adopt(old, &plan.name, &services).await?;
        }
        let (finished, _) = watch::channel(None);
        let shared = Arc::new(Shared {
            name: Arc::clone(&plan.name),
            counters: Arc::default(),
            state: Mutex::new((State::Running, None)),
            finished,
            down: Mutex::default(),
            sources: RwLock::new(source_counters(&plan)),
        });
        let (tasks, taps) = (TaskGroup::default(), Arc::new(Taps::default()));
        let shape = Shape::of(&plan);
        let parts = Parts::new(plan, &services, &shared.counters, &taps, &tasks);
        let shape = RwLock::new(shape(Arc::clone(&parts.graph)));
        let (control, commands) = mpsc::channel(16);
        let conductor =
            match Conductor::start(parts, Arc::clone(&shared), services.clone(), tasks.clone()).await {
                Ok(conductor) => conductor,
                Err(fault) => {
                    tasks.finish().await;
                    return Err(fault);
                }
            };
        // Not one of its own tasks: it awaits them.
        let owner = TaskGroup::default();
        owner.spawn(conductor.run(commands));
        Ok(Self { shared, services, tasks, taps, control, shape, owner })
    }

    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.shape.read().unwrap_or_else(PoisonError::into_inner).fingerprint
    }

    /// Swaps the plan behind the standing sources; nothing is lost, no caller is refused.
    ///
    /// # Errors
    /// What the file can be blamed for; the old plan goes on.
    pub async fn reload(&self, plan: PipelinePlan) -> Result<(), Fault> {
        let (shape, sources) = (Shape::of(&plan), source_counters(&plan));
        let parts = Parts::new(plan, &self.services, &self.shared.counters, &self.taps, &self.tasks);
        let shape = shape(Arc::clone(&parts.graph));
        let (reply, outcome) = oneshot::channel();
        let gone = || Fault::fatal("the pipeline does not run").with_code("stopped");
        self.control.send(Control::Reload(Box::new(parts), reply)).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())??;
        *self.shape.write().unwrap_or_else(PoisonError::into_inner) = shape;
        let mut known = self.shared.sources.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *known, sources);
        for (name, _, counters) in known.iter_mut() {
            if let Some((.., old)) = before.iter().find(|(old, ..)| old == name) {
                *counters = Arc::clone(old);
            }
        }
        Ok(())
    }

    /// Stops it and waits until everything is closed.
    pub async fn stop(&self, drain: Drain) {
        let (reply, stopped) = oneshot::channel();
        if self.control.send(Control::Stop(drain, reply)).await.is_ok() {
            // Without an answer it has ended by itself.
            drop(stopped.await);
        }
        self.finished().await;
    }

    /// Waits until it has come to its end.
    pub async fn finished(&self) -> Finish {
        let mut finished = self.shared.finished.subscribe();
        match finished.wait_for(Option::is_some).await {
            Ok(finish) => finish.clone().unwrap_or(Finish::Stopped),
            Err(_) => Finish::Stopped,
        }
    }

    /// Whether it runs (or drains, or reloads) at the moment.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.finished.borrow().is_none()
    }

    /// What an operator may see of it.
    #[must_use]
    pub fn status(&self) -> Status {
        let shape = self.shape.read().unwrap_or_else(PoisonError::into_inner);
        let (state, fault) = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let down = self.shared.down.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = self.shared.sources.read().unwrap_or_else(PoisonError::into_inner);
        let mut nodes = Vec::new();
        let mut journals = Vec::new();
        for (name, kind, counters) in sources.iter() {
            let node = NodeStatus::new(name, kind, "source", counters);
            let diagnosis = self.shared.counters.diagnosis(name);
            let runs = self.shared.counters.runs(name).read();
            let (down, resumes_at) = match down.get(name).cloned() {
                Some(Down { reason, resumes_at }) => (Some(reason), resumes_at),
                None => (None, None),
            };
            nodes.push(NodeStatus { down, resumes_at, runs, diagnosis, ..node });
            let stream =
                karez_api::StreamName { pipeline: Arc::clone(&self.shared.name), source: Arc::clone(name) };
            let stats = self.services.events.stats(&stream);
            if stats.next > 1 {
                journals.push(JournalStatus::new(name, stats));
            }
        }
        let steps = shape.graph.step_counters();
        for ((name, kind), (_, counters)) in shape.steps.iter().zip(steps) {
            nodes.push(NodeStatus::new(name, kind, "step", counters));
        }
        for ((name, kind), sink) in shape.sinks.iter().zip(&shape.graph.sinks) {
            nodes.push(NodeStatus::new(name, kind, "sink", &sink.counters));
        }
        Status {
            name: Arc::clone(&self.shared.name),
            file: Arc::clone(&shape.file),
            state,
            problem: fault.map(|fault| fault.to_string()),
            counters: self.shared.counters.read(),
            nodes,
            journals,
        }
    }

    /// Live records: what comes out of a source or step, what goes into a sink; of all nodes if none is named.
    ///
    /// # Errors
    /// There is no such node.
    pub fn tap(&self, node: Option<&str>) -> Result<Tap, UnknownNode> {
        let node = match node {
            None => None,
            Some(wanted) => {
                let known = self.status().nodes.into_iter().find(|node| &*node.name == wanted);
                Some(known.ok_or_else(|| UnknownNode(wanted.to_owned()))?.name)
            }
        };
        Ok(self.taps.open(node))
    }

    /// Tries a dead letter again and waits for what becomes of it. The letter goes once its record came to
    /// an end; if that is another dead letter, that one stays instead. Whoever stops waiting stops nothing.
    ///
    /// # Errors
    /// The node is no longer there, the pipeline stopped, or the record became a dead letter again.
    pub async fn replay(&self, letter: DeadLetter, to: ReplayTo) -> Result<(), Fault> {
        let (record, node) = match to {
            ReplayTo::Source => (letter.origin.restore(), None),
            ReplayTo::Original => (letter.record.restore(), Some(letter.head.node.clone())),
            ReplayTo::Node(node) => (letter.record.restore(), Some(node)),
        };
        // What failed at a source enters there again.
        let sources = self.shared.sources.read().unwrap_or_else(PoisonError::into_inner).clone();
        let node = node.filter(|node| !sources.iter().any(|(name, ..)| **name == **node));
        let record = record.with_meta(|meta| meta.error = None);
        let place = node.clone().unwrap_or_else(|| record.meta().source.to_string());
        let (reply, replayed) = oneshot::channel();
        let gone = || Fault::service("the pipeline does not run").with_code("stopped");
        self.control.send(Control::Replay(record, node, reply)).await.map_err(|_| gone())?;
        let letters = Arc::clone(&self.services.letters);
        let waiting = self.owner.spawn(async move {
            let replayed = replayed.await;
            if matches!(replayed, Ok(Replayed::Ended(_)))
                && let Err(error) = remove_replayed(&letters, &letter.head).await
            {
                tracing::warn!(letter = letter.head.id, %error, "a replayed dead letter could not be removed");
            }
            replayed
        });
        match waiting.await {
            Ok(Ok(Replayed::Ended(End::DeadLettered))) => {
                Err(Fault::validation("failed_again", "it failed again and is a dead letter again"))
            }
            Ok(Ok(Replayed::Ended(_))) => Ok(()),
            Ok(Ok(Replayed::UnknownNode)) => {
                let message = format!("the pipeline has no node {place:?} any more");
                Err(Fault::validation("unknown_node", message))
            }
            Ok(Ok(Replayed::GivenBack)) => {
                let message = "the pipeline stopped or changed meanwhile; the dead letter stays";
                Err(Fault::service(message).with_code("given_back"))
            }
            Ok(Err(_)) | Err(_) => Err(gone()),
        }
    }

    /// What a rewind would do, by the positions that are saved.
    ///
    /// # Errors
    /// As [`Rewind::look`].
    pub async fn look_back(&self, rewind: &Rewind) -> Result<Rewound, Fault> {
        rewind.look(&self.shared.name, &self.rewindable(), &*self.services.progress).await
    }

    /// Has records of a source read again. What of it is on its way comes to its end first, or comes again.
    ///
    /// # Errors
    /// As [`Rewind::perform`].
    pub async fn rewind(&self, rewind: &Rewind) -> Result<Rewound, Fault> {
        let (reply, rewound) = oneshot::channel();
        let control = Control::Rewind(rewind.clone(), self.rewindable(), reply);
        if self.control.send(control).await.is_ok()
            && let Ok(rewound) = rewound.await
        {
            return rewound;
        }
        // It has come to its end: nobody reads.
        self.finished().await;
        rewind.perform(&self.shared.name, &self.rewindable(), &*self.services.progress).await
    }

    fn rewindable(&self) -> Vec<Rewindable> {
        self.shape.read().unwrap_or_else(PoisonError::into_inner).sources.clone()
    }

    /// Records that wait for an operator (`on_failure: block`) are tried again.
    pub async fn unblock(&self) {
        // A pipeline that is gone blocks nothing.
        drop(self.control.send(Control::Unblock).await);
    }
}

/// Removes a letter whose record came to an end, unless it has become the letter of a new failure.
async fn remove_replayed(letters: &DeadLetters, letter: &LetterHead) -> Result<(), karez_api::StoreError> {
    match letters.get(&letter.id).await? {
        Some(now) if now.head.at == letter.at => letters.remove(&letter.id).await.map(drop),
        _ => Ok(()),
    }
}

/// Takes over what another name left behind.
async fn adopt(old: &str, new: &Arc<str>, services: &Services) -> Result<(), Fault> {
    let failed = |error| Fault::fatal(format_args!("cannot take over from {old:?}: {error}"));
    services.events.adopt(old, new).await.map_err(failed)?;
    services.letters.adopt(old, new).await.map_err(failed)?;
    crate::settler::adopt(&*services.progress, old, new).await.map_err(failed)
}
