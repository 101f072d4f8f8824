//! A secret that a provider makes up and sends, on its way into the vault; it stands in no log. The
//! first one counts: whoever sends another one later is turned away, so that nobody can put a secret
//! of his own in place of the provider's.

use std::sync::Arc;

use karez_api::{Class, Expect, Fault, Secret, Shared, SharedVault, StoreError, secret_item};
use subtle::ConstantTimeEq;
use tracing::{error, warn};

use super::answer::{self, Refusal};

/// Longest secret in bytes.
const LONGEST: usize = 1_024;

pub(super) struct HandOver {
    vault: Arc<SharedVault>,
    name: String,
    /// Its name in the vault.
    item: String,
}

impl HandOver {
    /// # Errors
    /// Class fatal: there is no vault to keep it in.
    pub(super) fn new(name: &str, shared: &Shared) -> Result<Self, Fault> {
        let missing = || Fault::new(Class::Fatal, "no_vault", "there is no vault to keep a secret in");
        let vault = shared.get::<SharedVault>().ok_or_else(missing)?;
        let item = secret_item(name).map_err(|what| Fault::validation("bad_name", what))?;
        Ok(Self { vault, name: name.to_owned(), item })
    }

    /// Returns once it is on disk, or was already.
    ///
    /// # Errors
    /// 400 for what can be no secret, 403 if there is another one already, 503 if it cannot be kept.
    pub(super) async fn take(&self, secret: &str) -> Result<(), Refusal> {
        if secret.is_empty() || secret.len() > LONGEST || !secret.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(answer::bad_request("handshake", "what was sent can be no secret"));
        }
        match self.kept(secret).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(answer::forbidden("another secret was sent already")),
            Err(error) => {
                error!(%error, name = self.name, "the secret of a provider cannot be kept");
                Err(answer::unavailable("handshake", "the secret cannot be kept at the moment"))
            }
        }
    }

    /// Whether it is the one that is kept.
    async fn kept(&self, secret: &str) -> Result<bool, StoreError> {
        let SharedVault(vault) = &*self.vault;
        match vault.put(&self.item, Secret::new(secret), Expect::Absent).await {
            Ok(_) => {
                let name = &self.name;
                warn!(
                    name,
                    "a provider sent the secret of this webhook: name it as `secret` in place of `pending`, like \"${{secret:NAME}}\""
                );
                Ok(true)
            }
            Err(StoreError::Conflict { .. }) => {
                let kept = vault.get(&self.item).await?;
                let same = |kept: &Secret| bool::from(kept.expose().as_bytes().ct_eq(secret.as_bytes()));
                Ok(kept.is_some_and(|kept| same(&kept.value)))
            }
            Err(error) => Err(error),
        }
    }
}
