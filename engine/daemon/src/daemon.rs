//! The life of the daemon: bind, open, load, serve; follow events; stop. One loop, one closed enum.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use karez_runtime::{DeadLetters, Finish, SystemClock};
use karez_store::{Options, Store};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::admin::{Admin, Client, Guard, ReloadRequest, Token};
use crate::cli::Exit;
use crate::console::{colour, say};
use crate::diagnostics::{counted, render};
use crate::fleet::Fleet;
use crate::ingress::{Gate, Ingress};
use crate::load::Loader;
use crate::reload::Manager;
use crate::server::{Limits, Server};
use crate::settings::Settings;
use crate::signals::{Asked, Signals};
use crate::watch::Watch;

/// How often the store is asked whether it failed.
const STORE_CHECK: Duration = Duration::from_millis(500);
/// What answers in progress get once everything else has stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Until when the daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// It is told to stop.
    Told,
    /// All sources have ended.
    SourcesEnd,
}

/// Everything that can make the daemon do something.
enum Event {
    Files,
    Asked(Asked),
    Reload(ReloadRequest),
    StoreFailed(String),
    Finished,
}

/// Runs to the end.
///
/// # Errors
/// It could not start, or the store failed.
pub(crate) async fn run(settings: Settings, until: Until) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let listener = bind(settings.listen, Limits::INGRESS, "--listen").await?;
    let admin_listener = bind(settings.admin, Limits::ADMIN, "--admin").await?;
    let data_dir = settings.data_dir.clone();
    let store = tokio::task::spawn_blocking(move || Store::open(&data_dir, Options::default())).await?;
    let store = store.with_context(|| format!("cannot open the store in {}", settings.data_dir.display()))?;
    let token = Token::ensure(&settings.data_dir).context("cannot keep admin.token in the data folder")?;
    Client::announce(&settings.data_dir, admin_listener.address()).context("cannot write the data folder")?;

    let letters = Arc::new(DeadLetters::open(store.progress()).await?);
    let fleet = Arc::new(Fleet::new(letters, store.progress(), store.events()));
    let ingress = Arc::new(Ingress::new());
    let (reload, reloads) = mpsc::channel(16);
    let guard = Guard::new(token, &settings.admin_hosts, admin_listener.address());
    let admin = Arc::new(Admin { guard, fleet: Arc::clone(&fleet), ingress: Arc::clone(&ingress), reload });
    let addresses = (listener.address().to_string(), admin_listener.address().to_string());
    let (stop_ingress, ingress_stops) = watch::channel(false);
    let (stop_admin, admin_stops) = watch::channel(false);
    let mut servers = JoinSet::new();
    servers.spawn(listener.serve(Arc::clone(&ingress), ingress_stops));
    servers.spawn(admin_listener.serve(admin, admin_stops));

    let clock = Arc::new(SystemClock);
    let loader = Loader::new(settings.pipelines.clone());
    let mut manager = Manager::new(
        loader,
        Arc::clone(&fleet),
        Arc::clone(&ingress),
        clock,
        addresses.0.clone(),
        settings.drain_timeout,
    );
    // Watching begins before reading, so that no change falls between the two.
    let mut watching = watch_files(&settings, until);
    let first = manager.pass().await?;
    introduce(&fleet, &first.failed, &addresses);
    ingress.set_gate(Gate::Open);
    fleet.set_ready(true);

    let ended = follow(&mut manager, &mut signals, watching.as_mut(), reloads, until).await;

    ingress.set_gate(Gate::Shut);
    fleet.set_ready(false);
    stop_ingress.send_replace(true);
    let stopping = async {
        if ended.is_ok() {
            manager.stop_all().await;
        }
        tokio::time::timeout(LAST_ANSWERS, ingress.finish()).await.ok();
        stop_admin.send_replace(true);
        tokio::time::timeout(LAST_ANSWERS, servers.join_next()).await.ok();
        fleet.events.flush().await
    };
    let flushed = tokio::select! {
        flushed = stopping => flushed,
        code = signals.again() => {
            warn!("told to stop twice: stopping at once");
            return Ok(Exit::Signal(code));
        }
    };
    Client::withdraw(&settings.data_dir);
    let exit = ended?;
    flushed.context("the store could not be flushed")?;
    store.close().await?;
    info!("stopped");
    Ok(match until {
        Until::Told => exit,
        Until::SourcesEnd => crate::cli::run::report(&fleet, exit),
    })
}

async fn bind(address: std::net::SocketAddr, limits: Limits, flag: &str) -> Result<Server> {
    let bound = Server::bind(address, limits).await;
    bound.with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))
}

fn watch_files(settings: &Settings, until: Until) -> Option<Watch> {
    if until == Until::SourcesEnd {
        return None;
    }
    Watch::start(&settings.pipelines)
        .inspect_err(|error| warn!(%error, "files are not watched; reload with SIGHUP or the admin API"))
        .ok()
}

/// The first lines on the terminal.
fn introduce(
    fleet: &Fleet,
    failed: &std::collections::BTreeMap<Arc<str>, String>,
    addresses: &(String, String),
) {
    say(&format!("karez {}", env!("CARGO_PKG_VERSION")));
    say(&format!("  webhooks  http://{}", addresses.0));
    say(&format!("  admin     http://{}  (/healthz, /metrics; /api needs the token)", addresses.1));
    let pipelines = fleet.pipelines();
    say(&format!("  {}", counted(pipelines.len(), "pipeline")));
    for (name, running) in pipelines.iter().take(50) {
        say(&format!("    {name}: {}", running.summary));
    }
    if pipelines.len() > 50 {
        say(&format!("    … and {} more; `karez status` lists all", pipelines.len() - 50));
    }
    for (name, reason) in failed {
        say(&format!("    {name}: not started: {reason}"));
    }
    let problems = fleet.problems();
    if !problems.is_empty() {
        say(render(&problems, colour()).trim_end());
    }
}

async fn follow(
    manager: &mut Manager,
    signals: &mut Signals,
    mut watching: Option<&mut Watch>,
    mut reloads: mpsc::Receiver<ReloadRequest>,
    until: Until,
) -> Result<Exit> {
    loop {
        let event = tokio::select! {
            asked = signals.next() => Event::Asked(asked),
            () = changed(&mut watching) => Event::Files,
            Some(request) = reloads.recv() => Event::Reload(request),
            reason = store_failure(&manager.fleet) => Event::StoreFailed(reason),
            () = sources_end(&manager.fleet), if until == Until::SourcesEnd => Event::Finished,
        };
        match event {
            Event::Asked(Asked::Stop(_)) => {
                info!("stopping");
                return Ok(Exit::Fine);
            }
            Event::Asked(Asked::Reload) | Event::Files => {
                if let Err(error) = manager.pass().await {
                    error!(error = format!("{error:#}"), "reload failed, everything goes on as it was");
                }
            }
            Event::Reload(request) => {
                let report = manager.pass().await.map_err(|error| format!("{error:#}"));
                // Whoever asked may have gone.
                request.send(report).ok();
            }
            Event::StoreFailed(reason) => {
                manager.ingress.set_gate(Gate::Shut);
                error!(reason, "the store failed: nothing is accepted any more");
                return Err(anyhow!("the store failed: {reason}"));
            }
            Event::Finished => return Ok(Exit::Fine),
        }
    }
}

async fn changed(watching: &mut Option<&mut Watch>) {
    match watching {
        Some(watching) => watching.changed().await,
        None => std::future::pending().await,
    }
}

/// Returns when nothing will be written any more. A full disk is not that: it may have room again.
async fn store_failure(fleet: &Fleet) -> String {
    loop {
        if let Some(karez_api::StoreError::Failed(reason)) = fleet.events.unavailable() {
            return reason;
        }
        tokio::time::sleep(STORE_CHECK).await;
    }
}

/// Returns when every pipeline has come to its end.
async fn sources_end(fleet: &Fleet) {
    let mut ends = JoinSet::new();
    for running in fleet.pipelines().values().cloned() {
        ends.spawn(async move { running.pipeline.finished().await });
    }
    while let Some(end) = ends.join_next().await {
        if let Ok(Finish::Failed(fault)) = end {
            error!(%fault, "a pipeline failed");
        }
    }
}
