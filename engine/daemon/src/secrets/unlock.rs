//! Sees to it, before anything runs, that every stored secret can be read; and takes up a change of the master key
//! where it broke off or where the settings do not know of it yet.

use anyhow::{Context, Result, bail};
use karez_store::{EncryptedVault, Rotation};
use tracing::{info, warn};

use super::master_key::from_file;
use crate::diagnostics::counted;

/// How a key is given, for messages.
const HOW: &str = "give it by master_key_file or master_key_command in karez.yaml, KAREZ_MASTER_KEY or --master-key-file, or, beside a newer one, by old_master_key_files";

/// # Errors
/// Secrets are stored that no given key opens; the message names the key that is missing.
pub(crate) async fn unlock(vault: &EncryptedVault) -> Result<()> {
    let rotation = vault.last_rotation().await?;
    if let Some(rotation) = &rotation {
        follow(vault, rotation).await?;
    }
    let missing = vault.missing_keys().await?;
    if missing.is_empty() {
        return Ok(());
    }
    let place = |key: String| {
        let known = rotation.as_ref().filter(|rotation| rotation.key == key);
        known
            .map(|Rotation { place, .. }| format!(" (`rotate-key` took it from {place})"))
            .unwrap_or_default()
    };
    let stored = missing.iter().map(|(key, secrets)| {
        let secrets = counted(*secrets, "secret");
        format!("{secrets} stored with master key {key}, which is not given{}", place(key.to_string()))
    });
    let stored = stored.collect::<Vec<_>>().join("; ");
    match vault.current_key().await {
        Some(given) => bail!("{stored}: the given one is {given}; {HOW}"),
        None => bail!("{stored}: no key is given; {HOW}"),
    }
}

/// Goes on where a rotation ended.
async fn follow(vault: &EncryptedVault, rotation: &Rotation) -> Result<()> {
    let settings_follow = encrypts(vault, rotation).await;
    if !settings_follow && vault.missing_keys().await?.keys().any(|key| key.to_string() == rotation.key) {
        adopt(vault, rotation).await;
    }
    if !encrypts(vault, rotation).await || !vault.missing_keys().await?.is_empty() {
        return Ok(());
    }
    let done = vault.rewrap_all().await.context("cannot finish the change of the master key")?;
    if done.rewrapped > 0 {
        info!(secrets = done.rewrapped, key = %done.key, "a change of the master key was finished");
    }
    if settings_follow {
        vault.forget_rotation().await?;
    }
    Ok(())
}

async fn encrypts(vault: &EncryptedVault, rotation: &Rotation) -> bool {
    vault.current_key().await.is_some_and(|key| key.to_string() == rotation.key)
}

/// Without this a daemon that was killed amid a rotation would not come up again by itself.
async fn adopt(vault: &EncryptedVault, rotation: &Rotation) {
    match from_file(rotation.place.as_ref()) {
        Ok(key) if key.id().to_string() == rotation.key => {
            let (file, key_id) = (&rotation.place, key.id());
            warn!(%file, key = %key_id, "the master key was changed by rotate-key and the settings do not say so; name this file in master_key_file");
            vault.promote(key).await;
        }
        Ok(key) => {
            warn!(file = %rotation.place, expected = rotation.key, found = %key.id(), "the file that rotate-key named holds another key")
        }
        Err(error) => warn!(error = format!("{error:#}"), "the key that rotate-key named cannot be read"),
    }
}
