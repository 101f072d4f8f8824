//! The owner of the loader and of every change of the fleet. A pass may be dropped half-way: what
//! it began stays here, and [`Manager::stop_all`] ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use karez_api::{Claim, Clock, Fault, Shared, SharedVault, Vault};
use karez_config::Loaded;
use karez_runtime::{Drain, Rewind, Rewound, Services};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tracing::{error, info, warn};

use super::change::{Change, Changed, Workshop};
use super::order::{Holders, Round, hold, next_round, taken};
use crate::daemon::Until;
use crate::fleet::{Fleet, Pipelines, Running};
use crate::ingress::Ingress;
use crate::load::Loader;
use crate::secrets::Read;

/// Pipelines that are opened at the same time. Opening may wait for a far end.
const OPENING: usize = 256;
/// What a pipeline gets to finish its deliveries where others wait for what it holds.
const RING_DRAIN: Duration = Duration::from_secs(5);

/// What pipelines get of the process that they run in.
pub(crate) struct Surroundings {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) until: Until,
}

/// What a pass looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// What is new or different.
    Changes,
    /// Also pipelines that failed or ended by themselves: they are started again.
    Everything,
}

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

/// See the module.
pub(crate) struct Manager {
    loader: Option<Loader>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) ingress: Arc<Ingress>,
    shop: Workshop,
    drain: Duration,
    changing: JoinSet<Changed>,
    /// Pipelines that are leaving.
    leaving: JoinSet<()>,
}

impl Manager {
    pub(crate) fn new(
        loader: Loader,
        fleet: Arc<Fleet>,
        ingress: Arc<Ingress>,
        Surroundings { clock, vault, until }: Surroundings,
        address: &str,
        drain: Duration,
    ) -> Self {
        let services = Services {
            progress: Arc::clone(fleet.memory.progress()),
            events: Arc::clone(fleet.memory.events()),
            ingress: Arc::clone(&ingress) as Arc<dyn karez_api::Ingress>,
            clock,
            letters: Arc::clone(&fleet.letters),
            shared: Shared::default().with(Arc::clone(&fleet.connections)).with(Arc::new(SharedVault(vault))),
            once: until == Until::SourcesEnd,
        };
        let shop = Workshop {
            services,
            memory: fleet.memory.clone(),
            ingress: Arc::clone(&ingress),
            address: address.into(),
            slots: Arc::new(Semaphore::new(OPENING)),
        };
        Self {
            loader: Some(loader),
            fleet,
            ingress,
            shop,
            drain,
            changing: JoinSet::new(),
            leaving: JoinSet::new(),
        }
    }

    /// Reads all files and applies what changed.
    ///
    /// # Errors
    /// A folder cannot be read: nothing was touched.
    pub(crate) async fn pass(&mut self, pass: Pass) -> Result<Report> {
        match self.load().await {
            Ok(loaded) => {
                let report = self.apply(loaded, pass).await;
                for problem in self.fleet.problems().iter().filter(|problem| problem.is_error()) {
                    warn!(%problem, "a pipeline file has a problem");
                }
                tell(&report);
                Ok(report)
            }
            Err(error) => {
                self.fleet.set_unreadable(Some(format!("{error:#}")));
                self.fleet.count_reload(false);
                Err(error)
            }
        }
    }

    /// Has records of a pipeline read again. One that had come to its end is started again for it.
    ///
    /// # Errors
    /// It does not run, or as [`karez_runtime::Pipeline::rewind`].
    pub(crate) async fn rewind(&mut self, name: &str, rewind: &Rewind) -> Result<Rewound, Fault> {
        let running = self.fleet.pipelines().get(name).filter(|running| !running.leaving).cloned();
        let gone = || Fault::validation("not_running", "the pipeline is not running");
        let pipeline = running.ok_or_else(gone)?.pipeline;
        let rewound = pipeline.rewind(rewind).await?;
        info!(pipeline = name, source = %rewound.source, "positions were set back");
        if !pipeline.is_running()
            && let Err(error) = self.pass(Pass::Everything).await
        {
            warn!(error = format!("{error:#}"), "what was rewound could not be started again");
        }
        Ok(rewound)
    }

    /// Checking a thousand files takes a while: it is done beside the runtime.
    async fn load(&mut self) -> Result<Loaded> {
        let secrets = Read::from(self.fleet.memory.vault()).await;
        let Some(mut loader) = self.loader.take() else { anyhow::bail!("a load broke off by a bug") };
        let work = tokio::task::spawn_blocking(move || {
            let loaded = loader.load(&secrets);
            (loader, loaded)
        });
        let (loader, loaded) = work.await?;
        self.loader = Some(loader);
        loaded
    }

    /// Applies what the files say.
    pub(crate) async fn apply(&mut self, loaded: Loaded, pass: Pass) -> Report {
        let _changing = self.ingress.changing();
        let mut report = Report { problems: loaded.problems.len(), ..Report::default() };
        let mut standing = Pipelines::clone(&self.fleet.pipelines());
        standing.retain(|_, running| !running.leaving);
        self.dismiss(&vanished(&standing, &loaded), &mut standing, &mut report);
        self.fleet.set_unreadable(None);
        self.fleet.set_problems(loaded.problems);
        self.fleet.set_far_ends(&loaded.connections);
        self.fleet.set_defined(loaded.files.into_iter().filter_map(|file| file.pipeline).collect());

        let mut holders = Holders::new();
        for (name, running) in standing.iter().filter(|(_, running)| running.pipeline.is_running()) {
            hold(&mut holders, name, &running.claims);
        }
        let mut expected: BTreeSet<Claim> =
            standing.values().flat_map(|running| running.claims.iter().cloned()).collect();
        let mut changes = Vec::new();
        for plan in loaded.pipelines {
            let old = standing.get(&plan.name);
            let same = old.is_some_and(|old| old.fingerprint == plan.fingerprint);
            let runs = old.is_some_and(|old| old.pipeline.is_running());
            if same && (runs || pass == Pass::Changes) {
                report.unchanged += 1;
                continue;
            }
            let change = Change::new(plan, old.filter(|_| runs).cloned());
            expected.extend(change.claims.iter().cloned());
            changes.push(change);
        }
        self.ingress.expect(&expected);
        self.make(changes, &mut holders, &mut report).await;
        self.fleet.set_failures(report.failed.clone());
        self.fleet.count_reload(report.failed.is_empty() && !self.fleet.has_file_errors());
        report
    }

    /// Begins to stop pipelines whose files are gone.
    fn dismiss(&mut self, gone: &[Arc<str>], standing: &mut Pipelines, report: &mut Report) {
        while self.leaving.try_join_next().is_some() {}
        self.fleet.change(|pipelines| {
            for name in gone {
                if let Some(running) = pipelines.get_mut(name) {
                    running.leaving = true;
                }
            }
        });
        for name in gone {
            let Some(old) = standing.remove(name) else {
                continue;
            };
            report.stopped.push(Arc::clone(name));
            let (fleet, name) = (Arc::clone(&self.fleet), Arc::clone(name));
            let drain = Drain::Everything(self.drain);
            self.leaving.spawn(async move {
                old.pipeline.stop(drain).await;
                // The name may belong to a successor by now.
                let is_old = |now: &Running| Arc::ptr_eq(&now.pipeline, &old.pipeline);
                fleet.change(|pipelines| pipelines.retain(|known, now| *known != name || !is_old(now)));
            });
        }
    }

    /// Makes all changes, in rounds: what takes a claim of another change comes after it.
    async fn make(&mut self, mut changes: Vec<Change>, holders: &mut Holders, report: &mut Report) {
        while !changes.is_empty() {
            match next_round(changes, holders) {
                Round::Make { now, later } => {
                    changes = later;
                    self.begin(now, holders, report);
                    self.finish_round(holders, report).await;
                }
                Round::Break(mut ring) => {
                    if let Some(old) = ring.first_mut().and_then(|change| change.old.take()) {
                        old.pipeline.stop(Drain::Window(self.drain.min(RING_DRAIN))).await;
                        hold(holders, old.pipeline.name(), &[]);
                    }
                    changes = ring;
                }
            }
        }
    }

    fn begin(&mut self, changes: Vec<Change>, holders: &Holders, report: &mut Report) {
        let fleet = self.fleet.pipelines();
        for change in changes {
            if let Some((claim, holder)) = taken(&change, holders) {
                let message = format!("{} is held by {holder}, which still runs as it was", words(claim));
                let fault = Fault::validation("claim-taken", message);
                note_failure(Arc::clone(change.name()), &fault, report);
                continue;
            }
            let in_the_way = |(name, running): &(&Arc<str>, &Running)| {
                // A path comes free at once, long before its pipeline has drained.
                let until_the_end = |claim: &&Claim| !matches!(claim, Claim::IngressPath(_));
                let mut held = running.claims.iter().filter(until_the_end);
                running.leaving && (*name == change.name() || held.any(|claim| change.claims.contains(claim)))
            };
            let wait_for = fleet.iter().filter(in_the_way).map(|(_, running)| running.clone()).collect();
            self.changing.spawn(change.make(wait_for, self.shop.clone()));
        }
    }

    /// Waits for the changes that were begun; each shows as soon as it is made.
    async fn finish_round(&mut self, holders: &mut Holders, report: &mut Report) {
        while let Some(first) = self.changing.join_next().await {
            let mut made = Vec::new();
            made.extend(survived(first));
            while let Some(more) = self.changing.try_join_next() {
                made.extend(survived(more));
            }
            self.note(made, holders, report);
        }
    }

    fn note(&self, made: Vec<Changed>, holders: &mut Holders, report: &mut Report) {
        let mut changed = Vec::new();
        for Changed { name, replaced, outcome } in made {
            match outcome {
                Ok(now) => {
                    hold(holders, &name, &now.claims);
                    if replaced { &mut report.reloaded } else { &mut report.started }.push(Arc::clone(&name));
                    changed.push((name, now));
                }
                Err(fault) => note_failure(name, &fault, report),
            }
        }
        self.fleet.change(|pipelines| pipelines.extend(changed));
    }

    /// Stops all pipelines at the same time, those too whose start or end is under way.
    pub(crate) async fn stop_all(&mut self, drain: Drain) {
        while let Some(begun) = self.changing.join_next().await {
            if let Some(Changed { name, outcome: Ok(now), .. }) = survived(begun) {
                self.fleet.change(|pipelines| drop(pipelines.insert(name, now)));
            }
        }
        let mut stopping = JoinSet::new();
        for old in self.fleet.pipelines().values().cloned() {
            stopping.spawn(async move { old.pipeline.stop(drain).await });
        }
        while stopping.join_next().await.is_some() {}
        while self.leaving.join_next().await.is_some() {}
    }
}

fn survived(made: Result<Changed, JoinError>) -> Option<Changed> {
    made.inspect_err(|error| error!(%error, "a pipeline could not be changed for a bug")).ok()
}

fn note_failure(name: Arc<str>, fault: &Fault, report: &mut Report) {
    warn!(pipeline = %name, %fault, "the pipeline was not changed");
    report.failed.insert(name, fault.to_string());
}

fn tell(report: &Report) {
    let Report { started, reloaded, stopped, failed, .. } = report;
    if !(started.is_empty() && reloaded.is_empty() && stopped.is_empty() && failed.is_empty()) {
        let (started, reloaded, stopped) = (started.len(), reloaded.len(), stopped.len());
        info!(started, reloaded, stopped, failed = failed.len(), "pipelines follow their files");
    }
}

fn words(claim: &Claim) -> String {
    match claim {
        Claim::IngressPath(path) => format!("the path {path}"),
        Claim::File(path) => format!("the file {path}"),
        Claim::Stdio(name) => (*name).to_owned(),
    }
}

/// Pipelines whose file is gone, or defines another pipeline now. One whose file is merely wrong stays.
fn vanished(standing: &Pipelines, loaded: &Loaded) -> Vec<Arc<str>> {
    let good: BTreeSet<&str> = loaded.pipelines.iter().map(|plan| &*plan.name).collect();
    let in_error = |file: &str, name: &str| {
        loaded.files.iter().any(|report| {
            report.in_error && (report.path == file || report.pipeline.as_deref() == Some(name))
        })
    };
    let stays = |name: &str, running: &Running| {
        good.contains(name) || (Path::new(&*running.file).exists() && in_error(&running.file, name))
    };
    let gone = standing.iter().filter(|(name, running)| !stays(name, running));
    gone.map(|(name, _)| Arc::clone(name)).collect()
}
