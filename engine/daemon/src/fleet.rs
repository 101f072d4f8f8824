//! The pipelines that run at this moment and what is known of their files: written by the reload
//! manager, read by everybody else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use karez_api::{Claim, Json, PipelinePlan, StreamName, StreamStats};
use karez_config::Placed;
use karez_connectors::net::{Checked, Connections};
use karez_runtime::{DeadLetters, Pipeline, Status};

use crate::memory::Memory;

/// A pipeline with what its plan said.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) file: Arc<str>,
    pub(crate) fingerprint: u64,
    pub(crate) claims: Arc<Vec<Claim>>,
    /// `webhook http://127.0.0.1:7070/webhooks/orders -> crm (http), lake (files)`.
    pub(crate) summary: Arc<str>,
    /// Its file is gone: it drains, and is listed until it has come to its end.
    pub(crate) leaving: bool,
}

pub(crate) type Pipelines = BTreeMap<Arc<str>, Running>;

/// What all parts of the daemon may look at.
pub(crate) struct Fleet {
    pipelines: ArcSwap<Pipelines>,
    /// Held while the pipelines are replaced.
    writer: Mutex<()>,
    problems: ArcSwap<Vec<Placed>>,
    /// Names of the pipelines that files define, those too whose file is in error.
    defined: ArcSwap<BTreeSet<String>>,
    /// Pipelines that could not be started or changed at the last pass, with the reason.
    failures: ArcSwap<BTreeMap<Arc<str>, String>>,
    /// Why the files could not be read at the last pass.
    unreadable: ArcSwapOption<String>,
    pub(crate) letters: Arc<DeadLetters>,
    pub(crate) memory: Memory,
    pub(crate) connections: Arc<Connections>,
    /// The connections that files define and nothing is wrong with, by name.
    far_ends: ArcSwap<BTreeMap<String, Checked>>,
    ready: AtomicBool,
    reloads_done: AtomicU64,
    reloads_failed: AtomicU64,
}

impl Fleet {
    pub(crate) fn new(letters: Arc<DeadLetters>, memory: Memory, connections: Arc<Connections>) -> Self {
        Self {
            pipelines: ArcSwap::default(),
            writer: Mutex::default(),
            problems: ArcSwap::default(),
            defined: ArcSwap::default(),
            failures: ArcSwap::default(),
            unreadable: ArcSwapOption::default(),
            letters,
            memory,
            connections,
            far_ends: ArcSwap::default(),
            ready: AtomicBool::new(false),
            reloads_done: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
        }
    }

    pub(crate) fn set_far_ends(&self, settings: &[(String, Json)]) {
        let checked = settings.iter().filter_map(|(name, settings)| {
            Some((name.clone(), karez_connectors::net::check(name, settings).ok()?))
        });
        self.far_ends.store(Arc::new(checked.collect()));
    }
    pub(crate) fn far_ends(&self) -> Arc<BTreeMap<String, Checked>> {
        self.far_ends.load_full()
    }

    pub(crate) fn pipelines(&self) -> Arc<Pipelines> {
        self.pipelines.load_full()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Pipelines)) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pipelines = Pipelines::clone(&self.pipelines.load());
        change(&mut pipelines);
        self.pipelines.store(Arc::new(pipelines));
    }

    /// What every pipeline shows of itself.
    pub(crate) fn statuses(&self) -> Vec<(Running, Status)> {
        let pipelines = self.pipelines();
        pipelines.values().map(|running| (running.clone(), running.pipeline.status())).collect()
    }

    pub(crate) fn problems(&self) -> Arc<Vec<Placed>> {
        self.problems.load_full()
    }
    pub(crate) fn set_problems(&self, problems: Vec<Placed>) {
        self.problems.store(Arc::new(problems));
    }
    /// Whether what is kept under this name has an owner: a pipeline that runs, or a file, right or wrong.
    pub(crate) fn owns(&self, name: &str) -> bool {
        self.defined.load().contains(name) || self.pipelines.load().contains_key(name)
    }
    /// Journals with unsettled entries that no pipeline takes.
    pub(crate) fn orphans(&self) -> Vec<(StreamName, StreamStats)> {
        self.memory.unsettled().filter(|(stream, _)| !self.owns(&stream.pipeline)).collect()
    }
    pub(crate) fn set_defined(&self, names: BTreeSet<String>) {
        self.defined.store(Arc::new(names));
    }
    pub(crate) fn has_file_errors(&self) -> bool {
        self.problems.load().iter().any(Placed::is_error)
    }
    pub(crate) fn failures(&self) -> Arc<BTreeMap<Arc<str>, String>> {
        self.failures.load_full()
    }
    pub(crate) fn set_failures(&self, failures: BTreeMap<Arc<str>, String>) {
        self.failures.store(Arc::new(failures));
    }
    pub(crate) fn unreadable(&self) -> Option<Arc<String>> {
        self.unreadable.load_full()
    }
    pub(crate) fn set_unreadable(&self, reason: Option<String>) {
        self.unreadable.store(reason.map(Arc::new));
    }
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Why the daemon cannot accept durably at the moment; a dead sink is no reason.
    pub(crate) fn not_ready(&self) -> Option<String> {
        if let Some(fault) = self.memory.events().unavailable() {
            return Some(fault.to_string());
        }
        let ready = self.ready.load(Ordering::Acquire);
        (!ready).then(|| "pipelines are being started or stopped".to_owned())
    }

    pub(crate) fn count_reload(&self, good: bool) {
        let counter = if good { &self.reloads_done } else { &self.reloads_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
    /// Passes that went through, and those that left something on its last good version.
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
        let claims = node.plan.claims();
        let paths = claims.iter().filter_map(|claim| match claim {
            Claim::IngressPath(path) => Some(format!(" http://{ingress}{path}")),
            Claim::File(_) | Claim::Stdio(_) => None,
        });
        format!("{}{}", node.kind, paths.collect::<String>())
    });
    let sinks = plan.sinks.iter().map(|node| match &*node.name {
        "sink" => node.kind.to_owned(),
        name => format!("{name} ({})", node.kind),
    });
    format!("{} -> {}", sources.collect::<Vec<_>>().join(", "), sinks.collect::<Vec<_>>().join(", "))
}
