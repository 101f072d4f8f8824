//! Brings what runs in line with what the files say: one pass at a time, pipelines in parallel,
//! and whatever goes wrong leaves the last good version running.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use karez_api::{Clock, Fault, PipelinePlan};
use karez_config::Loaded;
use karez_runtime::{Drain, Pipeline, Services};
use serde::Serialize;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::fleet::{Fleet, Pipelines, Running, claims, summary};
use crate::ingress::Ingress;
use crate::load::Loader;

/// What a pass did.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) started: Vec<Arc<str>>,
    pub(crate) reloaded: Vec<Arc<str>>,
    pub(crate) stopped: Vec<Arc<str>>,
    pub(crate) unchanged: usize,
    /// Why a pipeline was not started or goes on as it was.
    pub(crate) failed: BTreeMap<Arc<str>, String>,
    pub(crate) problems: usize,
}

/// Owns the loader and every change of the fleet.
pub(crate) struct Manager {
    loader: Option<Loader>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) ingress: Arc<Ingress>,
    clock: Arc<dyn Clock>,
    /// For the first lines: where webhooks are reached.
    address: String,
    drain: Duration,
    /// Pipelines whose file was deleted, draining.
    stopping: JoinSet<Arc<str>>,
}

/// One pipeline after the attempt to bring it in line.
type Outcome = (Arc<str>, Result<Running, (Option<Running>, Fault)>);

impl Manager {
    pub(crate) fn new(
        loader: Loader,
        fleet: Arc<Fleet>,
        ingress: Arc<Ingress>,
        clock: Arc<dyn Clock>,
        address: String,
        drain: Duration,
    ) -> Self {
        Self { loader: Some(loader), fleet, ingress, clock, address, drain, stopping: JoinSet::new() }
    }

    /// Reads all files and applies what changed.
    ///
    /// # Errors
    /// A folder cannot be read: nothing was touched.
    pub(crate) async fn pass(&mut self) -> Result<Report> {
        let report = match self.load().await {
            Ok(loaded) => Ok(self.apply(loaded).await),
            Err(error) => Err(error),
        };
        let good = report.as_ref().is_ok_and(|report| {
            report.failed.is_empty() && !self.fleet.problems().iter().any(karez_config::Placed::is_error)
        });
        self.fleet.count_reload(good);
        report
    }

    /// Checking a thousand files takes a while: it is done beside the runtime.
    async fn load(&mut self) -> Result<Loaded> {
        let Some(mut loader) = self.loader.take() else { anyhow::bail!("a load broke off by a bug") };
        let (loader, loaded) = tokio::task::spawn_blocking(move || {
            let loaded = loader.load();
            (loader, loaded)
        })
        .await?;
        self.loader = Some(loader);
        loaded
    }

    async fn apply(&mut self, loaded: Loaded) -> Report {
        let running = self.fleet.pipelines();
        let mut next: Pipelines = BTreeMap::clone(&running);
        let mut report = Report { problems: loaded.problems.len(), ..Report::default() };
        for problem in loaded.problems.iter().filter(|problem| problem.is_error()) {
            warn!(%problem, "a pipeline file has a problem");
        }
        let good: BTreeSet<Arc<str>> = loaded.pipelines.iter().map(|plan| Arc::clone(&plan.name)).collect();
        let gone = vanished(&running, &loaded, &good);
        self.fleet.set_problems(loaded.problems);

        let mut changed: Vec<PipelinePlan> = Vec::new();
        for plan in loaded.pipelines {
            match running.get(&plan.name) {
                Some(old) if old.fingerprint == plan.fingerprint => report.unchanged += 1,
                _ => changed.push(plan),
            }
        }
        self.stop_vanished(&gone, &changed, &mut next, &mut report).await;
        for (name, outcome) in self.bring_in_line(changed, &running).await {
            let known = running.contains_key(&name);
            match outcome {
                Ok(now) => {
                    if known { &mut report.reloaded } else { &mut report.started }.push(Arc::clone(&name));
                    next.insert(name, now);
                }
                Err((_, fault)) => {
                    warn!(pipeline = %name, %fault, "the pipeline was not changed");
                    report.failed.insert(name, fault.to_string());
                }
            }
        }
        self.fleet.set_failures(report.failed.clone());
        self.fleet.set_pipelines(next);
        if !report.started.is_empty() || !report.reloaded.is_empty() || !report.stopped.is_empty() {
            let count = |names: &[Arc<str>]| names.len();
            info!(
                started = count(&report.started),
                reloaded = count(&report.reloaded),
                stopped = count(&report.stopped),
                failed = report.failed.len(),
                "pipelines follow their files"
            );
        }
        report
    }

    /// What must be free before others can take it is awaited; the rest drains on its own.
    async fn stop_vanished(
        &mut self,
        gone: &[Arc<str>],
        changed: &[PipelinePlan],
        next: &mut Pipelines,
        report: &mut Report,
    ) {
        while self.stopping.try_join_next().is_some() {}
        let wanted: BTreeSet<_> = changed.iter().flat_map(claims).collect();
        let names: BTreeSet<_> = changed.iter().map(|plan| Arc::clone(&plan.name)).collect();
        let mut first = JoinSet::new();
        for name in gone {
            let Some(old) = next.remove(name) else {
                continue;
            };
            report.stopped.push(Arc::clone(name));
            let (name, drain) = (Arc::clone(name), Drain::Everything(self.drain));
            let clashes = old.claims.iter().any(|claim| wanted.contains(claim));
            let stop = async move {
                old.pipeline.stop(drain).await;
                name
            };
            if clashes {
                first.spawn(stop)
            } else {
                self.stopping.spawn(stop)
            };
        }
        first.join_all().await;
        // A file that came back must not meet its former self.
        if names.iter().any(|name| !self.fleet.pipelines().contains_key(name)) {
            while !self.stopping.is_empty() && self.stopping.join_next().await.is_some() {}
        }
    }

    async fn bring_in_line(&self, changed: Vec<PipelinePlan>, running: &Pipelines) -> Vec<Outcome> {
        let mut work = JoinSet::new();
        for plan in changed {
            let old = running.get(&plan.name).cloned();
            let (services, address) = (self.services(), self.address.clone());
            work.spawn(bring(plan, old, services, address));
        }
        work.join_all().await
    }

    fn services(&self) -> Services {
        Services {
            progress: Arc::clone(&self.fleet.progress),
            events: Arc::clone(&self.fleet.events),
            ingress: Arc::clone(&self.ingress) as Arc<dyn karez_api::Ingress>,
            clock: Arc::clone(&self.clock),
            letters: Arc::clone(&self.fleet.letters),
        }
    }

    /// Stops all pipelines, at the same time, within the deadline.
    pub(crate) async fn stop_all(&mut self) {
        let mut work = JoinSet::new();
        for old in self.fleet.pipelines().values().cloned() {
            let drain = Drain::Window(self.drain);
            work.spawn(async move { old.pipeline.stop(drain).await });
        }
        work.join_all().await;
        while self.stopping.join_next().await.is_some() {}
    }
}

async fn bring(plan: PipelinePlan, old: Option<Running>, services: Services, address: String) -> Outcome {
    let name = Arc::clone(&plan.name);
    let described = |pipeline, plan: &PipelinePlan| Running {
        pipeline,
        file: Arc::clone(&plan.file),
        fingerprint: plan.fingerprint,
        claims: Arc::new(claims(plan)),
        summary: summary(plan, &address).into(),
    };
    match old {
        Some(old) => {
            let now = described(Arc::clone(&old.pipeline), &plan);
            match old.pipeline.reload(plan).await {
                Ok(()) => (name, Ok(now)),
                Err(fault) => (name, Err((Some(old), fault))),
            }
        }
        None => {
            let (file, fingerprint) = (Arc::clone(&plan.file), plan.fingerprint);
            let (claims, summary) = (Arc::new(claims(&plan)), summary(&plan, &address).into());
            let started = Pipeline::start(plan, services).await;
            let running = started.map(|pipeline| Running {
                pipeline: Arc::new(pipeline),
                file,
                fingerprint,
                claims,
                summary,
            });
            (name, running.map_err(|fault| (None, fault)))
        }
    }
}

/// Pipelines whose file is gone, or defines another pipeline now. One whose file is merely wrong stays.
fn vanished(running: &Pipelines, loaded: &Loaded, good: &BTreeSet<Arc<str>>) -> Vec<Arc<str>> {
    let in_error = |file: &str, name: &str| {
        loaded.files.iter().any(|report| {
            report.in_error && (report.path == file || report.pipeline.as_deref() == Some(name))
        })
    };
    let stays = |name: &Arc<str>, running: &Running| {
        good.contains(name) || (Path::new(&*running.file).exists() && in_error(&running.file, name))
    };
    running.iter().filter(|(name, running)| !stays(name, running)).map(|(name, _)| Arc::clone(name)).collect()
}
