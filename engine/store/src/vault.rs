//! Secrets in keyed state, encrypted at rest: each under a data key of its own, which a master key wraps. Several
//! master keys may be known at a time; `rotation` changes from one to another while the vault is in use.
//!
//! Where master keys come from and what the names mean is not known here.

mod master_key;
mod rotation;
mod sealed;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use karez_api::{Clock, Expect, Kept, Millis, Progress, Secret, StoreError, Stored, Vault, Write};
use tokio::sync::{Mutex, RwLock};

pub use master_key::{KeyId, Keys, MasterKey};
pub use rotation::{Rotated, Rotation};
use sealed::{Place, Sealed};

/// The largest secret, in bytes: 64 KiB.
pub const LARGEST_SECRET: usize = 64 << 10;
/// Secrets stand in keyed state under this and their name.
const PREFIX: &str = "vault/item/";
const PAGE: usize = 256;

/// A secret as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    /// When its value was stored.
    pub changed: Millis,
    /// The master key that is needed to read it.
    pub key: KeyId,
}

/// The vault of one store.
pub struct EncryptedVault {
    progress: Arc<dyn Progress>,
    store: String,
    clock: Arc<dyn Clock>,
    /// Read for as long as a write with the current key takes: a rotation that has changed it has seen them all.
    keys: RwLock<Keys>,
    rotating: Mutex<()>,
}

impl EncryptedVault {
    /// `store` is the id that its secrets are bound to.
    #[must_use]
    pub fn new(progress: Arc<dyn Progress>, store: &str, clock: Arc<dyn Clock>, keys: Keys) -> Self {
        Self { progress, store: store.into(), clock, keys: RwLock::new(keys), rotating: Mutex::default() }
    }

    /// The key that encrypts, if there is one.
    pub async fn current_key(&self) -> Option<KeyId> {
        self.keys.read().await.current().map(|key| key.id())
    }

    /// Encrypts with `key` from now on. What stands under the one before is still read.
    pub async fn promote(&self, key: MasterKey) {
        self.keys.write().await.promote(key);
    }

    /// Secrets whose names begin with `prefix`, in order. Needs no key.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let shown = |name: String, stored: &Stored| {
            let Sealed { changed, key, .. } = decode(&name, stored)?;
            Ok(Listed { name, changed, key })
        };
        self.each(prefix, shown).await
    }

    /// Master keys that secrets stand under and that are not at hand, with the number of those secrets.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn missing_keys(&self) -> Result<BTreeMap<KeyId, usize>, StoreError> {
        let mut missing = BTreeMap::new();
        let listed = self.list("").await?;
        let keys = self.keys.read().await;
        for Listed { key, .. } in listed {
            if keys.find(key).is_none() {
                *missing.entry(key).or_default() += 1;
            }
        }
        Ok(missing)
    }

    async fn each<T>(
        &self,
        prefix: &str,
        mut take: impl FnMut(String, &Stored) -> Result<T, StoreError> + Send,
    ) -> Result<Vec<T>, StoreError>
    where
        T: Send,
    {
        let mut all = Vec::new();
        let prefix = item(prefix);
        let mut after: Option<String> = None;
        loop {
            let page = self.progress.list(&prefix, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = Some(last.clone());
            for (key, stored) in &page {
                all.push(take(key[PREFIX.len()..].to_owned(), stored)?);
            }
        }
    }

    fn place<'a>(&'a self, name: &'a str) -> Place<'a> {
        Place { store: &self.store, name }
    }

    async fn find(&self, name: &str) -> Result<Option<(u64, Sealed)>, StoreError> {
        let found = self.progress.get(&item(name)).await?;
        found.map(|stored| Ok((stored.generation, decode(name, &stored)?))).transpose()
    }
}

#[async_trait]
impl Vault for EncryptedVault {
    async fn get(&self, name: &str) -> Result<Option<Kept>, StoreError> {
        let Some((_, sealed)) = self.find(name).await? else { return Ok(None) };
        let keys = self.keys.read().await;
        let key = keys.find(sealed.key).ok_or_else(|| missing(name, sealed.key, &keys))?;
        let value = sealed.open(self.place(name), key).ok_or_else(|| damaged(name))?;
        Ok(Some(Kept { value, generation: sealed.revision }))
    }

    async fn put(&self, name: &str, value: Secret, expect: Expect) -> Result<u64, StoreError> {
        check_size(name, &value)?;
        let keys = self.keys.read().await;
        let key = keys.to_encrypt(name)?;
        loop {
            let found = self.find(name).await?;
            let (generation, revision) =
                found.map(|(generation, sealed)| (generation, sealed.revision)).unzip();
            let met = match expect {
                Expect::Anything => true,
                Expect::Absent => revision.is_none(),
                Expect::Generation(wanted) => revision == Some(wanted),
            };
            if !met {
                return Err(StoreError::Conflict { key: name.into() });
            }
            // A name that was removed begins later than it ended, so that an old generation never fits again.
            let now = self.clock.now();
            let revision = revision.map_or(now.0, |revision| revision + 1);
            let sealed =
                Sealed::seal(self.place(name), key, &value, revision, now).map_err(StoreError::Refused)?;
            match self.progress.write(vec![exactly(name, generation, Some(&sealed))]).await {
                Ok(()) => return Ok(revision),
                // Another value, or only another master key around it: what is there now says which.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.progress.write(vec![Write::remove(item(name))]).await
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        // Also of what cannot be decoded, so that it can be removed.
        self.each(prefix, |name, _| Ok(name)).await
    }
}

fn item(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// A write that holds only where nothing changed since `generation` was read.
fn exactly(name: &str, generation: Option<u64>, sealed: Option<&Sealed>) -> Write {
    let expect = generation.map_or(Expect::Absent, Expect::Generation);
    Write { key: item(name), expect, value: sealed.map(Sealed::encode) }
}

fn decode(name: &str, stored: &Stored) -> Result<Sealed, StoreError> {
    Sealed::decode(&stored.value).ok_or_else(|| damaged(name))
}

fn check_size(name: &str, value: &Secret) -> Result<(), StoreError> {
    match value.expose().len() {
        0..=LARGEST_SECRET => Ok(()),
        length => Err(StoreError::Refused(format!(
            "{name} has {length} bytes; a secret has at most {LARGEST_SECRET}"
        ))),
    }
}

fn damaged(name: &str) -> StoreError {
    StoreError::Refused(format!(
        "{name} was changed on disk, or comes from another place or store; restore the data folder from a backup, or remove it and store it again"
    ))
}

fn missing(name: &str, key: KeyId, keys: &Keys) -> StoreError {
    let at_hand = keys.ids();
    StoreError::Refused(format!(
        "{name} is encrypted with master key {key}, which is not given (given: {at_hand}); name its file in master_key_file or old_master_key_files"
    ))
}

fn no_key(name: &str) -> StoreError {
    StoreError::Refused(format!(
        "there is no master key to encrypt {name} with; `karez secrets new-key FILE` makes one, and master_key_file names it"
    ))
}

#[cfg(test)]
mod tests;
