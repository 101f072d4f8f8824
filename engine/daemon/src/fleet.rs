//! The pipelines that run at this moment and what is known of their files: written by the reload
//! manager, read by everybody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use karez_api::{Claim, Events, PipelinePlan, Progress};
use karez_config::Placed;
use karez_runtime::{DeadLetters, Pipeline};

/// A running pipeline with what its plan said.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) file: Arc<str>,
    pub(crate) fingerprint: u64,
    pub(crate) claims: Arc<Vec<Claim>>,
    /// `webhook /webhooks/orders -> crm, lake`.
    pub(crate) summary: Arc<str>,
}

pub(crate) type Pipelines = BTreeMap<Arc<str>, Running>;

/// What all parts of the daemon may look at.
pub(crate) struct Fleet {
    pipelines: ArcSwap<Pipelines>,
    problems: ArcSwap<Vec<Placed>>,
    /// Pipelines whose last reload failed, with the reason.
    failures: ArcSwap<BTreeMap<Arc<str>, String>>,
    pub(crate) letters: Arc<DeadLetters>,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) events: Arc<dyn Events>,
    ready: AtomicBool,
    reloads_done: AtomicU64,
    reloads_failed: AtomicU64,
}

impl Fleet {
    pub(crate) fn new(
        letters: Arc<DeadLetters>,
        progress: Arc<dyn Progress>,
        events: Arc<dyn Events>,
    ) -> Self {
        Self {
            pipelines: ArcSwap::default(),
            problems: ArcSwap::default(),
            failures: ArcSwap::default(),
            letters,
            progress,
            events,
            ready: AtomicBool::new(false),
            reloads_done: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
        }
    }

    pub(crate) fn pipelines(&self) -> Arc<Pipelines> {
        self.pipelines.load_full()
    }
    pub(crate) fn set_pipelines(&self, pipelines: Pipelines) {
        self.pipelines.store(Arc::new(pipelines));
    }
    pub(crate) fn problems(&self) -> Arc<Vec<Placed>> {
        self.problems.load_full()
    }
    pub(crate) fn set_problems(&self, problems: Vec<Placed>) {
        self.problems.store(Arc::new(problems));
    }
    pub(crate) fn failures(&self) -> Arc<BTreeMap<Arc<str>, String>> {
        self.failures.load_full()
    }
    pub(crate) fn set_failures(&self, failures: BTreeMap<Arc<str>, String>) {
        self.failures.store(Arc::new(failures));
    }
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Why the daemon cannot accept durably at the moment; a dead sink is no reason.
    pub(crate) fn not_ready(&self) -> Option<String> {
        if let Some(fault) = self.events.unavailable() {
            return Some(fault.to_string());
        }
        let ready = self.ready.load(Ordering::Acquire);
        (!ready).then(|| "pipelines are being started or stopped".to_owned())
    }

    pub(crate) fn count_reload(&self, good: bool) {
        let counter = if good { &self.reloads_done } else { &self.reloads_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
    /// Reloads that went through, and those that left something on its last good version.
    pub(crate) fn reloads(&self) -> (u64, u64) {
        (self.reloads_done.load(Ordering::Relaxed), self.reloads_failed.load(Ordering::Relaxed))
    }
}

/// Everything that only one pipeline of the process may hold.
pub(crate) fn claims(plan: &PipelinePlan) -> Vec<Claim> {
    let sources = plan.sources.iter().flat_map(|node| node.plan.claims());
    sources.chain(plan.sinks.iter().flat_map(|node| node.plan.claims())).collect()
}

/// One line about a pipeline: where its records come from and go to.
pub(crate) fn summary(plan: &PipelinePlan, ingress: &str) -> String {
    let sources = plan.sources.iter().map(|node| {
        let paths: Vec<String> = node
            .plan
            .claims()
            .into_iter()
            .filter_map(|claim| match claim {
                Claim::IngressPath(path) => Some(format!("http://{ingress}{path}")),
                Claim::File(_) | Claim::Stdio(_) => None,
            })
            .collect();
        if paths.is_empty() { node.kind.to_owned() } else { format!("{} {}", node.kind, paths.join(" ")) }
    });
    let sinks = plan.sinks.iter().map(|node| {
        if *node.name == *"sink" { node.kind.to_owned() } else { format!("{} ({})", node.name, node.kind) }
    });
    format!("{} -> {}", sources.collect::<Vec<_>>().join(", "), sinks.collect::<Vec<_>>().join(", "))
}
