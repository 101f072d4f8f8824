//! Secrets as the daemon and the command line deal with them: where master keys come from, whether what is stored can
//! be read, and what pipeline files are given of it. How it is encrypted is the store's business.

mod followed;
mod lookup;
mod master_key;
mod unlock;

pub(crate) use followed::Followed;
pub(crate) use lookup::{NamesOnly, Nothing, Read, Secrets};
pub(crate) use master_key::{KeySource, read_all, write_new};
pub(crate) use unlock::unlock;

use std::path::Path;

use anyhow::{Context, Result};
use karez_api::{SECRETS, StoreError};
use karez_store::{EncryptedVault, Listed, Rotated};

/// What is stored, by the names that `karez secrets` uses.
///
/// # Errors
/// It cannot be read.
pub(crate) async fn list(vault: &EncryptedVault) -> std::result::Result<Vec<Listed>, StoreError> {
    let listed = vault.list(SECRETS).await?.into_iter();
    let plain = |listed: Listed| Listed { name: listed.name[SECRETS.len()..].to_owned(), ..listed };
    Ok(listed.map(plain).collect())
}

/// Brings everything under the key in `file`, or under the one that encrypts already.
///
/// # Errors
/// The file holds no key that may be used; a key is missing; the store fails.
pub(crate) async fn rotate(vault: &EncryptedVault, file: Option<&Path>) -> Result<Rotated> {
    let Some(file) = file else { return Ok(vault.rewrap_all().await?) };
    let place = file.to_str().context("the path of the key is not UTF-8")?;
    Ok(vault.rotate(master_key::from_file(file)?, Some(place)).await?)
}
