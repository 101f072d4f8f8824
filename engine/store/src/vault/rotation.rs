//! From one master key to another while secrets are read and written: data keys are wrapped anew, one compare-and-set
//! each, so it can break off anywhere and be done again. Values stay as they are.

use karez_api::{StoreError, Vault as _, Write};
use serde::{Deserialize, Serialize};

use super::{EncryptedVault, KeyId, MasterKey, damaged, exactly, missing, no_key};

/// Where the last rotation is written down.
const ROTATION: &str = "vault/rotation";

/// The last rotation that was begun: where its key is found by whoever comes after a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// [`KeyId`] as text.
    pub key: String,
    /// As the caller named it: the path of a file.
    pub place: String,
}

/// What a rotation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    pub key: KeyId,
    /// Secrets whose data key was wrapped anew; the others were under this key already.
    pub rewrapped: usize,
}

impl EncryptedVault {
    /// Makes `to` the key that encrypts and brings every secret under it. `place` is kept for the next start; it is
    /// durable before the first secret needs the new key.
    ///
    /// # Errors
    /// A key is missing, and nothing was changed; or the store fails, and the rest can be done by doing it again.
    pub async fn rotate(&self, to: MasterKey, place: Option<&str>) -> Result<Rotated, StoreError> {
        let _alone = self.rotating.lock().await;
        let key = to.id();
        self.check_readable(key).await?;
        if let Some(place) = place {
            let rotation = Rotation { key: key.to_string(), place: place.into() };
            let text =
                serde_json::to_vec(&rotation).map_err(|error| StoreError::Refused(error.to_string()))?;
            self.progress.write(vec![Write::put(ROTATION, text)]).await?;
        }
        self.promote(to).await;
        self.bring_under(key).await
    }

    /// Brings every secret under the key that encrypts, which is written down nowhere.
    ///
    /// # Errors
    /// As [`EncryptedVault::rotate`]; there is no key that encrypts.
    pub async fn rewrap_all(&self) -> Result<Rotated, StoreError> {
        let _alone = self.rotating.lock().await;
        let key = self.current_key().await.ok_or_else(|| no_key("secrets"))?;
        self.check_readable(key).await?;
        self.bring_under(key).await
    }

    /// The last rotation that was begun with a place.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn last_rotation(&self) -> Result<Option<Rotation>, StoreError> {
        let found = self.progress.get(ROTATION).await?;
        Ok(found.and_then(|stored| serde_json::from_slice(&stored.value).ok()))
    }

    /// # Errors
    /// It cannot be written.
    pub async fn forget_rotation(&self) -> Result<(), StoreError> {
        self.progress.write(vec![Write::remove(ROTATION)]).await
    }

    async fn check_readable(&self, with: KeyId) -> Result<(), StoreError> {
        let listed = self.list("").await?;
        let keys = self.keys.read().await;
        let lost = listed.iter().find(|listed| listed.key != with && keys.find(listed.key).is_none());
        lost.map_or(Ok(()), |lost| Err(missing(&lost.name, lost.key, &keys)))
    }

    /// Brings everything under `key`, which encrypts by now: whatever is written meanwhile stands under it, too.
    async fn bring_under(&self, key: KeyId) -> Result<Rotated, StoreError> {
        let mut rewrapped = 0;
        for name in self.names("").await? {
            rewrapped += usize::from(self.rewrap(&name).await?);
        }
        self.keys.write().await.drop_old();
        Ok(Rotated { key, rewrapped })
    }

    /// Whether there was anything to do.
    async fn rewrap(&self, name: &str) -> Result<bool, StoreError> {
        let keys = self.keys.read().await;
        let Some(to) = keys.current() else { return Ok(false) };
        loop {
            let Some((generation, sealed)) = self.find(name).await? else { return Ok(false) };
            if sealed.key == to.id() {
                return Ok(false);
            }
            let from = keys.find(sealed.key).ok_or_else(|| missing(name, sealed.key, &keys))?;
            let sealed = sealed.rewrap(self.place(name), from, to).ok_or_else(|| damaged(name))?;
            match self.progress.write(vec![exactly(name, Some(generation), Some(&sealed))]).await {
                Ok(()) => return Ok(true),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
