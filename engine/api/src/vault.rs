//! Where secrets live: encrypted at rest, written with compare-and-set. How is the store's business.

use async_trait::async_trait;

use crate::{Expect, Secret, StoreError};

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
