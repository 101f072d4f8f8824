//! What `${secret:NAME}` becomes: values where the vault is open, names alone where files are only checked.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};
use karez_api::{SECRETS, Secret, Vault};
use karez_config::StoredSecret;
use karez_store::{EncryptedVault, Keys, Options, Store};

use crate::admin::Client;
use crate::memory::Memory;
use crate::settings::Settings;

/// What a load may ask.
pub(crate) trait Secrets {
    /// Absent where none of this name is stored.
    ///
    /// # Errors
    /// A fragment: it cannot be read.
    fn get(&self, name: &str) -> Result<Option<StoredSecret>, String>;
}

/// Nobody looks at what a load makes of secrets.
pub(crate) struct Nothing;

impl Secrets for Nothing {
    fn get(&self, _: &str) -> Result<Option<StoredSecret>, String> {
        Ok(Some(StoredSecret::NotAtHand))
    }
}

/// All secrets of a vault, read for one load and gone after it.
pub(crate) struct Read(Result<BTreeMap<String, Result<Secret, String>>, String>);

impl Read {
    /// One that cannot be read is in the way only of the files that name it.
    pub(crate) async fn from(vault: &EncryptedVault) -> Self {
        let names = match vault.names(SECRETS).await {
            Ok(names) => names,
            Err(error) => return Self(Err(error.to_string())),
        };
        let mut read = BTreeMap::new();
        for name in names {
            let found = match vault.get(&name).await {
                Ok(None) => continue,
                Ok(Some(kept)) => Ok(kept.value),
                Err(error) => Err(error.to_string()),
            };
            read.insert(name[SECRETS.len()..].to_owned(), found);
        }
        Self(Ok(read))
    }
}

impl Read {
    /// Those that could be read.
    pub(crate) fn values(&self) -> Vec<Secret> {
        let read = self.0.iter().flat_map(BTreeMap::values);
        read.filter_map(|found| found.as_ref().ok()).cloned().collect()
    }
}

impl Secrets for Read {
    fn get(&self, name: &str) -> Result<Option<StoredSecret>, String> {
        let read = self.0.as_ref().map_err(String::clone)?;
        read.get(name).map(|found| found.clone().map(StoredSecret::Value)).transpose()
    }
}

/// Which secrets there are, asked of the daemon or of the store once a file wants one. Needs no key.
pub(crate) struct NamesOnly {
    settings: Settings,
    names: OnceCell<Result<BTreeSet<String>, String>>,
}

impl NamesOnly {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self { settings: settings.clone(), names: OnceCell::new() }
    }

    /// On a thread with a runtime of its own: a load knows none, and may be called inside of one.
    fn ask(&self) -> Result<BTreeSet<String>, String> {
        let settings = self.settings.clone();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(names(&settings))
        };
        let asked =
            std::thread::spawn(work).join().unwrap_or_else(|_| Err(anyhow!("asking broke off by a bug")));
        asked.map_err(|error| format!("{error:#}"))
    }
}

impl Secrets for NamesOnly {
    fn get(&self, name: &str) -> Result<Option<StoredSecret>, String> {
        let names = self.names.get_or_init(|| self.ask()).as_ref().map_err(String::clone)?;
        Ok(names.contains(name).then_some(StoredSecret::NotAtHand))
    }
}

async fn names(settings: &Settings) -> Result<BTreeSet<String>> {
    if let Some(daemon) = Client::find(settings).await? {
        let answer = daemon.get("secrets").await?;
        let listed = answer["secrets"].as_array().map_or(&[][..], Vec::as_slice);
        return Ok(listed.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect());
    }
    // Where no daemon ever ran nothing is stored, and looking makes no store.
    if !karez_store::is_store(&settings.data_dir) {
        return Ok(BTreeSet::new());
    }
    let memory = Memory::new(Store::open(&settings.data_dir, Options::default())?, Keys::default());
    let listed = super::list(memory.vault()).await;
    memory.close().await?;
    Ok(listed?.into_iter().map(|listed| listed.name).collect())
}
