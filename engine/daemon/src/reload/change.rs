//! One pipeline that is to be started, or changed while it runs.

use std::sync::Arc;
use std::time::Duration;

use karez_api::{Claim, Fault, PipelinePlan, StreamName};
use karez_runtime::{Pipeline, Services};
use tokio::sync::Semaphore;

use crate::fleet::{Running, claims, summary};
use crate::ingress::Ingress;
use crate::memory::Memory;

/// How long a path of the ingress may take to come free after its holder let go.
const HANDOVER: Duration = Duration::from_secs(5);

/// A plan, and what it takes the place of.
pub(super) struct Change {
    pub(super) plan: PipelinePlan,
    pub(super) claims: Vec<Claim>,
    /// What runs under its name; absent where nothing does, or not any more.
    pub(super) old: Option<Running>,
}

/// What became of a change.
pub(super) struct Changed {
    pub(super) name: Arc<str>,
    pub(super) replaced: bool,
    pub(super) outcome: Result<Running, Fault>,
}

/// What changes are made with.
#[derive(Clone)]
pub(super) struct Workshop {
    pub(super) services: Services,
    pub(super) memory: Memory,
    pub(super) ingress: Arc<Ingress>,
    /// Where webhooks are reached, for people.
    pub(super) address: Arc<str>,
    /// How many pipelines are opened at the same time.
    pub(super) slots: Arc<Semaphore>,
}

impl Change {
    pub(super) fn new(plan: PipelinePlan, old: Option<Running>) -> Self {
        Self { claims: claims(&plan), plan, old }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.plan.name
    }

    /// Makes it, once those that `wait_for` names have come to their end.
    pub(super) async fn make(self, wait_for: Vec<Running>, shop: Workshop) -> Changed {
        let Self { plan, claims, old } = self;
        for leaving in wait_for {
            leaving.pipeline.finished().await;
        }
        // A mount ends a moment after its holder let go.
        tokio::time::timeout(HANDOVER, shop.ingress.free(&plan.name, &claims)).await.ok();
        // Never closed: an error only says that there is no bound.
        let _slot = shop.slots.acquire().await.ok();
        limit_journals(&shop.memory, &plan);
        let name = Arc::clone(&plan.name);
        let replaced = old.is_some();
        let (file, fingerprint) = (Arc::clone(&plan.file), plan.fingerprint);
        let summary = summary(&plan, &shop.address).into();
        let opened = match old {
            Some(old) => old.pipeline.reload(plan).await.map(|()| old.pipeline),
            None => Pipeline::start(plan, shop.services).await.map(Arc::new),
        };
        let claims = Arc::new(claims);
        let outcome =
            opened.map(|pipeline| Running { pipeline, file, fingerprint, claims, summary, leaving: false });
        Changed { name, replaced, outcome }
    }
}

/// `journal.max_bytes` bounds a pipeline: its sources share it.
fn limit_journals(memory: &Memory, plan: &PipelinePlan) {
    let journaled: Vec<_> = plan.sources.iter().filter(|node| node.journal).collect();
    let share = plan.journal_max_bytes / (journaled.len() as u64).max(1);
    for node in journaled {
        let stream = StreamName { pipeline: Arc::clone(&plan.name), source: Arc::clone(&node.name) };
        memory.limit(&stream, share);
    }
}
