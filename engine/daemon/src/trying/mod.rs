//! Reading an API to see how it goes: what a source would ask for, one page of it, or a whole run written down. Nothing
//! of it is saved. The command line does it, or asks the daemon that holds the secrets.

mod explained;
mod one_page;
mod recorded;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use karez_api::{
    Clock, Json, Lane, PipelinePlan, Position, Secret, Shared, SharedVault, SourceNode, StreamName, Vault,
};
use karez_config::{Loaded, StoredSecret};
use karez_connectors::net;
use karez_store::{Keys, Options, Store};

use crate::admin::{Client, encoded};
use crate::cli::Usage;
use crate::console::{self, say};
use crate::diagnostics;
use crate::load::Loader;
use crate::memory::Memory;
use crate::secrets::{self, Read, Secrets};
use crate::settings::Settings;

pub(crate) use explained::{Wish, explained};
pub(crate) use recorded::{Recording, recorded};

/// What holds the state of a data folder.
pub(crate) enum Holder {
    /// A daemon that runs.
    Daemon(Client),
    /// We, until it is closed.
    Store(Memory),
    /// The daemon that we are.
    Lent(Memory),
    /// There is none yet, and none is made.
    Nobody,
}

impl Holder {
    /// `keys` open the secrets in the store; without them only positions can be read.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub(crate) async fn find(settings: &Settings, keys: Keys) -> Result<Self> {
        if let Some(daemon) = Client::find(settings).await? {
            return Ok(Self::Daemon(daemon));
        }
        if !karez_store::is_store(&settings.data_dir) {
            return Ok(Self::Nobody);
        }
        let folder = settings.data_dir.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(&folder, Options::default())).await?;
        let opened =
            opened.with_context(|| format!("cannot open the store in {}", settings.data_dir.display()))?;
        Ok(Self::Store(Memory::new(opened, keys)))
    }

    /// What it holds, where that is in this process.
    fn memory(&self) -> Option<&Memory> {
        match self {
            Self::Store(memory) | Self::Lent(memory) => Some(memory),
            Self::Daemon(_) | Self::Nobody => None,
        }
    }

    /// The pipeline of this name with the values of its secrets: requests will be sent.
    ///
    /// # Errors
    /// No pipeline has that name, its file is wrong, or a secret cannot be had.
    pub(crate) async fn plan(&self, name: &str, settings: &Settings) -> Result<PipelinePlan> {
        if let Self::Store(memory) = self {
            secrets::unlock(memory.vault()).await?;
        }
        let secrets: Box<dyn Secrets + Send> = match self {
            Self::Store(memory) | Self::Lent(memory) => Box::new(Read::from(memory.vault()).await),
            Self::Daemon(_) => {
                Box::new(Kept("the daemon that runs holds it, and reads its own files: leave the paths out"))
            }
            Self::Nobody => Box::new(Kept("nothing is stored yet")),
        };
        let mut loader = Loader::new(settings.pipelines.clone());
        // Many files take a while: they are checked beside the runtime.
        let loaded = tokio::task::spawn_blocking(move || loader.load(&*secrets)).await??;
        if !loaded.problems.is_empty() && !matches!(self, Self::Lent(_)) {
            say(diagnostics::render(&loaded.problems, console::colour()).trim_end());
        }
        chosen(loaded, name)
    }

    /// All stored secrets: whatever a file makes of them is not shown.
    pub(crate) async fn hidden(&self) -> Vec<Secret> {
        match self.memory() {
            Some(memory) => Read::from(memory.vault()).await.values(),
            None => Vec::new(),
        }
    }

    /// Where a source was left. What a daemon tells is without tokens.
    ///
    /// # Errors
    /// The daemon or the store does not answer.
    pub(crate) async fn positions(
        &self,
        plan: &PipelinePlan,
        source: &SourceNode,
    ) -> Result<BTreeMap<Lane, Position>> {
        match self {
            Self::Nobody => Ok(BTreeMap::new()),
            Self::Store(memory) | Self::Lent(memory) => {
                let stream =
                    StreamName { pipeline: Arc::clone(&plan.name), source: Arc::clone(&source.name) };
                Ok(karez_runtime::positions(&**memory.progress(), &stream).await?)
            }
            Self::Daemon(daemon) => {
                let answer = daemon.get(&format!("pipelines/{}/positions", encoded(&plan.name))).await?;
                let listed = answer["positions"].as_array().into_iter().flatten();
                let ours = listed.filter(|one| one["source"] == *source.name);
                let position = |one: &Json| {
                    let lane = Lane::new(one["lane"].as_str()?);
                    Some((lane, Position(one["position"].to_string().into())))
                };
                Ok(ours.filter_map(position).collect())
            }
        }
    }

    /// Connections as a daemon has them, but for what stands between them and the network.
    pub(crate) fn shared(&self, clock: Arc<dyn Clock>, options: net::Options) -> Shared {
        let vault = self.memory().map(|memory| Arc::clone(memory.vault()) as Arc<dyn Vault>);
        let connections = net::Connections::new(clock, vault.clone(), options);
        let shared = Shared::default().with(Arc::new(connections));
        match vault {
            Some(vault) => shared.with(Arc::new(SharedVault(vault))),
            None => shared,
        }
    }

    /// # Errors
    /// The last writes did not reach the disk.
    pub(crate) async fn close(self) -> Result<()> {
        match self {
            Self::Store(memory) => Ok(memory.close().await?),
            Self::Lent(_) | Self::Daemon(_) | Self::Nobody => Ok(()),
        }
    }
}

/// The pipeline of this name.
///
/// # Errors
/// [`Usage`]: there is none, or its file is wrong.
pub(crate) fn chosen(loaded: Loaded, name: &str) -> Result<PipelinePlan> {
    let wrong = loaded.files.iter().any(|file| file.pipeline.as_deref() == Some(name));
    let names: Vec<Arc<str>> = loaded.pipelines.iter().map(|plan| Arc::clone(&plan.name)).collect();
    let found = loaded.pipelines.into_iter().find(|plan| *plan.name == *name);
    found.ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        Usage(match wrong {
            true => format!("the file of {name:?} has problems"),
            false => diagnostics::unknown(&format!("no pipeline is called {name:?}"), name, &names),
        })
        .into()
    })
}

/// The sources of a plan that poll.
///
/// # Errors
/// [`Usage`]: none of them does.
pub(crate) fn asked(plan: &PipelinePlan) -> Result<Vec<&SourceNode>> {
    let asked: Vec<&SourceNode> = plan.sources.iter().filter(|node| node.plan.polls()).collect();
    if asked.is_empty() {
        let kinds: Vec<&str> = plan.sources.iter().map(|node| node.kind).collect();
        let message = format!("{} has no source that asks an API, only {}", plan.name, kinds.join(", "));
        return Err(Usage(message).into());
    }
    Ok(asked)
}

/// Why no secret can be had.
struct Kept(&'static str);

impl Secrets for Kept {
    fn get(&self, _: &str) -> Result<Option<StoredSecret>, String> {
        Err(self.0.to_owned())
    }
}
