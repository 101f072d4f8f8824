//! Where secrets live: encrypted at rest, written with compare-and-set. How is the store's business.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Expect, Secret, StoreError};

/// What people store by `karez secrets` and name by `${secret:NAME}` stands under this in the vault; what connections
/// keep, under `connection/`.
pub const SECRETS: &str = "secret/";
const LONGEST_NAME: usize = 128;

/// The name in the vault of a secret that people call `name`.
///
/// # Errors
/// A sentence that says what a name may be.
pub fn secret_item(name: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(fits) {
        true => Ok(format!("{SECRETS}{name}")),
        false => Err(format!(
            "{name:?} cannot be the name of a secret; take letters, digits, `_`, `-` and `.`, at most {LONGEST_NAME}"
        )),
    }
}

/// The vault as connectors find it in [`crate::Shared`].
pub struct SharedVault(pub Arc<dyn Vault>);

/// A secret as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub value: Secret,
    /// As [`crate::Stored::generation`]: it changes with each write of this name.
    pub generation: u64,
}

/// Secrets by name, like `secret/crm-token` or `connection/crm`. Durable when a call returns.
#[async_trait]
pub trait Vault: Send + Sync {
    /// Whether other processes may use it at the same time.
    fn is_shared(&self) -> bool {
        false
    }

    /// # Errors
    /// It cannot be read, or not be decrypted: the message names the key that is missing.
    async fn get(&self, name: &str) -> Result<Option<Kept>, StoreError>;

    /// Yields the new generation.
    ///
    /// # Errors
    /// `Conflict` where `expect` does not hold; it cannot be written, or there is no key to encrypt with.
    async fn put(&self, name: &str, value: Secret, expect: Expect) -> Result<u64, StoreError>;

    /// Removes a secret; it is no error that there was none.
    ///
    /// # Errors
    /// It cannot be written.
    async fn remove(&self, name: &str) -> Result<(), StoreError>;

    /// Names with this beginning, in order. Needs no key.
    ///
    /// # Errors
    /// It cannot be read.
    async fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word_that_every_shell_and_file_can_hold() {
        for name in ["A", "crm-token", "a.b_C-9", &"x".repeat(128)] {
            assert_eq!(secret_item(name), Ok(format!("secret/{name}")));
        }
        for name in ["", "a b", "a/b", "ä", "a}", &"x".repeat(129)] {
            assert!(secret_item(name).is_err(), "{name}");
        }
    }
}
