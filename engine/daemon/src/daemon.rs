//! The life of the daemon: bind, load, open, serve; follow events; stop. One loop, one closed enum.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use karez_api::{Fault, StoreError, Vault};
use karez_config::Loaded;
use karez_connectors::net;
use karez_runtime::{DeadLetters, Drain, SystemClock};
use karez_store::{Options, Store};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::admin::{Admin, Announced, Guard, ReloadRequest, Request, RewindRequest, Token};
use crate::cli::{Exit, Usage};
use crate::console::say;
use crate::course::Course;
use crate::fleet::Fleet;
use crate::ingress::{Gate, Ingress};
use crate::introduction::{Addresses, introduce};
use crate::load::Loader;
use crate::memory::Memory;
use crate::reload::{Manager, Pass, Surroundings};
use crate::secrets::{self, Followed};
use crate::server::{Limits, Server, Serving, Tls};
use crate::settings::Settings;
use crate::signals::{Asked, Signals};
use crate::watch::Watch;

/// How often the store is asked whether it failed.
const STORE_CHECK: Duration = Duration::from_millis(250);
/// What answers in progress get once everything else has stopped, and the store to close.
const LAST_WORDS: Duration = Duration::from_secs(5);

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
    Rewind(RewindRequest),
    StoreFailed(String),
    Finished,
}

/// A daemon whose listeners answer and whose store is open.
struct Daemon {
    fleet: Arc<Fleet>,
    ingress: Arc<Ingress>,
    manager: Manager,
    requests: mpsc::Receiver<Request>,
    /// Absent where files are not watched.
    watching: Option<Watch>,
    /// Only for a run that ends with its sources.
    course: Option<Course>,
    /// Absent in a run that ends with its sources: those that push never end.
    webhooks: Option<Serving>,
    admin: Serving,
    addresses: Addresses,
    drain: Duration,
    announced: Announced,
}

/// Runs to the end.
///
/// # Errors
/// It could not start, or the store failed. [`Usage`] where what was typed is to blame.
pub(crate) async fn run(settings: Settings, until: Until) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let (mut daemon, loaded) = tokio::select! {
        prepared = prepare(&settings, until) => prepared?,
        // Nothing was accepted yet, so there is nothing to finish.
        _ = signals.stop() => return Ok(Exit::Fine),
    };
    let ended = daemon.live(loaded, &mut signals).await;
    tokio::select! {
        exit = daemon.stop(ended) => exit,
        number = signals.stop() => {
            warn!("told to stop twice: stopping at once");
            Ok(Exit::Signal(number))
        }
    }
}

async fn prepare(settings: &Settings, until: Until) -> Result<(Daemon, Loaded)> {
    let webhooks = match until {
        Until::Told => {
            let tls = settings.tls()?.map(Tls::open).transpose()?;
            Some(bind(settings.listen, Limits::INGRESS, "--listen").await?.with_tls(tls))
        }
        Until::SourcesEnd => None,
    };
    let admin = bind(admin_address(settings, until), Limits::ADMIN, "--admin").await?;
    // Watching begins before reading, so that no change falls between the two.
    let watching = if until == Until::Told { watch(settings) } else { None };
    let memory = open(settings).await?;
    let prepared = async {
        secrets::unlock(memory.vault()).await?;
        let (loader, loaded) = load(settings, &memory, until).await?;
        let daemon = assemble(settings, memory.clone(), loader, (webhooks, admin), watching, until).await?;
        Ok((daemon, loaded))
    };
    match prepared.await {
        Ok(prepared) => Ok(prepared),
        Err(error) => Err(closed(&memory, error).await),
    }
}

/// Opens the store, with the keys to what is encrypted in it.
async fn open(settings: &Settings) -> Result<Memory> {
    let keys = secrets::read_all(settings).await?;
    let folder = settings.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&folder, Options::default())).await?;
    let opened =
        opened.with_context(|| format!("cannot open the store in {}", settings.data_dir.display()))?;
    Ok(Memory::new(opened, keys))
}

async fn load(settings: &Settings, memory: &Memory, until: Until) -> Result<(Loader, Loaded)> {
    let mut loader = Loader::new(settings.pipelines.clone());
    let secrets = secrets::Read::from(memory.vault()).await;
    let loading = tokio::task::spawn_blocking(move || {
        let loaded = loader.load(&secrets);
        (loader, loaded)
    });
    let (loader, loaded) = loading.await?;
    let loaded = match until {
        Until::Told => loaded?,
        Until::SourcesEnd => refuse_endless(loaded?)?,
    };
    Ok((loader, loaded))
}

/// Closes the store of a daemon that cannot start.
async fn closed(memory: &Memory, reason: anyhow::Error) -> anyhow::Error {
    if let Err(error) = memory.close().await {
        warn!(%error, "the store could not be closed");
    }
    reason
}

async fn bind(address: SocketAddr, limits: Limits, flag: &str) -> Result<Server> {
    let bound = Server::bind(address, limits).await;
    bound.with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))
}

/// A run that ends with its sources must not be in the way of a daemon: commands find it by its data folder.
fn admin_address(settings: &Settings, until: Until) -> SocketAddr {
    match until {
        Until::SourcesEnd if !settings.admin_is_chosen => SocketAddr::new(settings.admin.ip(), 0),
        _ => settings.admin,
    }
}

fn watch(settings: &Settings) -> Option<Watch> {
    Watch::start(&settings.pipelines)
        .inspect_err(|error| warn!(%error, "files are not watched; reload with SIGHUP or the admin API"))
        .ok()
}

/// A run that waits for an end which cannot come is a mistake.
fn refuse_endless(loaded: Loaded) -> Result<Loaded> {
    let sources = loaded.pipelines.iter().flat_map(|plan| {
        let endless = plan.sources.iter().filter(|node| !node.plan.ends());
        endless.map(move |node| format!("{}.{} ({})", plan.name, node.name, node.kind))
    });
    let sources: Vec<String> = sources.collect();
    if sources.is_empty() {
        return Ok(loaded);
    }
    Err(Usage(format!(
        "--once waits until all sources end, but these never do: {}; name other files, or leave --once out",
        sources.join(", ")
    ))
    .into())
}

async fn assemble(
    settings: &Settings,
    memory: Memory,
    loader: Loader,
    (webhooks, admin): (Option<Server>, Server),
    watching: Option<Watch>,
    until: Until,
) -> Result<Daemon> {
    let token = Token::ensure(&settings.data_dir).context("cannot keep admin.token in the data folder")?;
    let announced =
        Announced::make(&settings.data_dir, admin.address()).context("cannot write the data folder")?;
    let letters = Arc::new(DeadLetters::open(Arc::clone(memory.progress())).await?);
    let vault = Arc::clone(memory.vault()) as Arc<dyn Vault>;
    let options = net::Options { allow_private: settings.allow_private.clone(), ..net::Options::default() };
    let connections = net::Connections::new(Arc::new(SystemClock), Some(Arc::clone(&vault)), options);
    let connections = Arc::new(connections);
    let fleet = Arc::new(Fleet::new(letters, memory, connections));
    let ingress = Arc::new(Ingress::new(settings.trusted_proxies.clone(), Arc::clone(&fleet.connections)));
    let (asking, requests) = mpsc::channel(16);
    let guard = Guard::new(token, &settings.admin_hosts, admin.address());
    let addresses = Addresses { webhooks: webhooks.as_ref().map(Server::address), admin: admin.address() };
    let public_url = settings.public_url.clone().unwrap_or_else(|| {
        addresses.webhooks.map_or_else(String::new, |address| {
            let scheme = if settings.speaks_tls() { "https" } else { "http" };
            format!("{scheme}://{address}")
        })
    });
    let vault = Arc::new(Followed::new(vault, asking.clone()));
    let answers = Admin {
        guard,
        fleet: Arc::clone(&fleet),
        ingress: Arc::clone(&ingress),
        manager: asking,
        public_url,
        settings: settings.clone(),
        recordings: tokio::sync::Semaphore::new(1),
    };
    let answers = Arc::new(answers);
    let manager = Manager::new(
        loader,
        Arc::clone(&fleet),
        Arc::clone(&ingress),
        Surroundings { clock: Arc::new(SystemClock), vault, until },
        &addresses.webhooks.map_or_else(String::new, |address| address.to_string()),
        settings.drain_timeout,
    );
    Ok(Daemon {
        webhooks: webhooks.map(|server| server.begin(Arc::clone(&ingress))),
        admin: admin.begin(answers),
        course: (until == Until::SourcesEnd).then(|| Course::new(Arc::clone(&fleet))),
        fleet,
        ingress,
        manager,
        requests,
        watching,
        addresses,
        drain: settings.drain_timeout,
        announced,
    })
}

impl Daemon {
    /// Starts the pipelines and follows events until there is a reason to stop.
    async fn live(&mut self, loaded: Loaded, signals: &mut Signals) -> Result<Exit> {
        tokio::select! {
            biased;
            _ = signals.stop() => return Ok(Exit::Fine),
            _ = self.manager.apply(loaded, Pass::Everything) => {}
        }
        introduce(&self.fleet, self.addresses);
        self.ingress.set_gate(Gate::Open);
        self.fleet.set_ready(true);
        if let Some(course) = &mut self.course {
            course.begin();
        }
        loop {
            match self.next(signals).await {
                Event::Asked(Asked::Stop) => {
                    info!("stopping");
                    return Ok(Exit::Fine);
                }
                Event::Finished => return Ok(Exit::Fine),
                Event::StoreFailed(reason) => return Err(anyhow!("the store failed: {reason}")),
                Event::Rewind(RewindRequest { pipeline, rewind, tell }) => {
                    let rewound = tokio::select! {
                        biased;
                        _ = signals.stop() => return Ok(Exit::Fine),
                        reason = store_failure(&self.fleet) => {
                            return Err(anyhow!("the store failed: {reason}"));
                        }
                        rewound = self.manager.rewind(&pipeline, &rewind) => rewound,
                    };
                    // Whoever asked may have gone.
                    tell.send(rewound).ok();
                }
                event => {
                    let pass = match &event {
                        Event::Files => Pass::Changes,
                        Event::Reload(request) => request.pass,
                        _ => Pass::Everything,
                    };
                    let report = tokio::select! {
                        biased;
                        _ = signals.stop() => return Ok(Exit::Fine),
                        reason = store_failure(&self.fleet) => {
                            return Err(anyhow!("the store failed: {reason}"));
                        }
                        report = self.manager.pass(pass) => report,
                    };
                    if let Err(error) = &report {
                        error!(error = format!("{error:#}"), "reload failed, everything goes on as it was");
                    }
                    if let Event::Reload(request) = event {
                        // Whoever asked may have gone.
                        request.tell.send(report.map_err(|error| format!("{error:#}"))).ok();
                    }
                }
            }
        }
    }

    async fn next(&mut self, signals: &mut Signals) -> Event {
        loop {
            let event = tokio::select! {
                asked = signals.next() => Event::Asked(asked),
                () = changed(self.watching.as_mut()) => Event::Files,
                Some(request) = self.requests.recv() => match request {
                    Request::Reload(request) => Event::Reload(request),
                    Request::Rewind(request) => Event::Rewind(request),
                },
                reason = store_failure(&self.fleet) => Event::StoreFailed(reason),
                () = end(self.course.as_mut()) => Event::Finished,
            };
            match event {
                // A run with an end follows the pipelines that it began with.
                Event::Asked(Asked::Reload) if self.course.is_some() => info!("--once does not reload"),
                Event::Reload(request) if self.course.is_some() => {
                    request.tell.send(Err("a run with --once does not reload".into())).ok();
                }
                Event::Rewind(request) if self.course.is_some() => {
                    let fault = Fault::validation("once", "a run with --once goes on to its end as it began");
                    request.tell.send(Err(fault)).ok();
                }
                event => return event,
            }
        }
    }

    /// Ends everything in order: no new requests, pipelines drained, answers given, store closed.
    async fn stop(mut self, ended: Result<Exit>) -> Result<Exit> {
        self.ingress.set_gate(Gate::Shut);
        self.fleet.set_ready(false);
        if let Some(webhooks) = &self.webhooks {
            webhooks.stop();
        }
        let (drain, within) = match &ended {
            // A tenth of the time is kept for closing.
            Ok(_) => (Drain::Window(self.drain - self.drain / 10), self.drain.max(LAST_WORDS)),
            // Nothing that is delivered now could be noted.
            Err(error) => {
                error!(error = format!("{error:#}"), "nothing is accepted any more, stopping");
                (Drain::Now, LAST_WORDS)
            }
        };
        if timeout(within, self.manager.stop_all(drain)).await.is_err() {
            warn!("pipelines did not end in time; what was under way comes again");
        }
        timeout(LAST_WORDS, self.ingress.finish()).await.ok();
        if let Some(mut webhooks) = self.webhooks {
            webhooks.finish(LAST_WORDS).await;
        }
        self.admin.stop();
        self.admin.finish(LAST_WORDS).await;
        timeout(LAST_WORDS, self.fleet.connections.close()).await.ok();
        let closed = timeout(LAST_WORDS, self.fleet.memory.close()).await;
        drop(self.announced);
        let exit = ended?;
        match closed {
            Ok(closed) => closed.context("the store could not be closed")?,
            Err(_) => return Err(anyhow!("the store did not close in time")),
        }
        match self.course {
            Some(course) => Ok(course.report()),
            None => {
                say("stopped");
                Ok(exit)
            }
        }
    }
}

async fn changed(watching: Option<&mut Watch>) {
    match watching {
        Some(watching) => watching.changed().await,
        None => std::future::pending().await,
    }
}

async fn end(course: Option<&mut Course>) {
    match course {
        Some(course) => course.end().await,
        None => std::future::pending().await,
    }
}

/// Returns when nothing will be written any more. A full disk is not that: it may have room again.
async fn store_failure(fleet: &Fleet) -> String {
    loop {
        if let Some(StoreError::Failed(reason)) = fleet.memory.events().unavailable() {
            return reason;
        }
        tokio::time::sleep(STORE_CHECK).await;
    }
}
