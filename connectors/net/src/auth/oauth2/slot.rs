//! A connection's place in the vault: read, and written only over what was read.

use std::sync::Arc;

use karez_api::{Expect, Fault, StoreError, Vault};

use super::token::Entry;

pub(crate) struct Slot {
    vault: Option<Arc<dyn Vault>>,
    name: String,
}

/// What stood there, and how to write over exactly that.
pub(crate) struct Found {
    pub(crate) entry: Entry,
    pub(crate) expect: Expect,
}

/// Why it was not written.
pub(crate) enum Unwritten {
    /// Somebody else wrote first.
    Conflict,
    Failed(Fault),
}

impl Slot {
    pub(crate) fn new(connection: &str, vault: Option<Arc<dyn Vault>>) -> Self {
        Self { vault, name: format!("connection/{connection}") }
    }

    /// Whether other processes may write there.
    pub(crate) fn is_shared(&self) -> bool {
        self.vault.as_ref().is_some_and(|vault| vault.is_shared())
    }

    /// # Errors
    /// There is no vault, or it cannot be read.
    pub(crate) async fn read(&self) -> Result<Found, Fault> {
        let kept = self.vault()?.get(&self.name).await.map_err(|error| fault(&error))?;
        match kept {
            None => Ok(Found { entry: Entry::default(), expect: Expect::Absent }),
            Some(kept) => {
                let entry = Entry::read(&kept.value).map_err(|what| {
                    Fault::auth(format!("{} in the vault: {what}; log in again", self.name))
                        .with_code("vault")
                })?;
                Ok(Found { entry, expect: Expect::Generation(kept.generation) })
            }
        }
    }

    /// Durable when it returns. Yields what to expect next time.
    ///
    /// # Errors
    /// It is not written.
    pub(crate) async fn write(&self, entry: &Entry, expect: Expect) -> Result<Expect, Unwritten> {
        let vault = self.vault().map_err(Unwritten::Failed)?;
        match vault.put(&self.name, entry.written(), expect).await {
            Ok(generation) => Ok(Expect::Generation(generation)),
            Err(StoreError::Conflict { .. }) => Err(Unwritten::Conflict),
            Err(error) => Err(Unwritten::Failed(fault(&error))),
        }
    }

    /// # Errors
    /// There is no vault, or it cannot be written.
    pub(crate) async fn remove(&self) -> Result<(), Fault> {
        self.vault()?.remove(&self.name).await.map_err(|error| fault(&error))
    }

    fn vault(&self) -> Result<&Arc<dyn Vault>, Fault> {
        self.vault.as_ref().ok_or_else(|| {
            let message = format!(
                "{}: tokens of a log-in are kept in the vault, and there is none: give it a master key \
                 (`karez secrets --help` tells how)",
                self.name
            );
            Fault::auth(message).with_code("no_vault")
        })
    }
}

fn fault(error: &StoreError) -> Fault {
    let fault = match error {
        StoreError::Refused(what) => Fault::auth(what),
        error => Fault::service(error),
    };
    fault.with_code("vault")
}
