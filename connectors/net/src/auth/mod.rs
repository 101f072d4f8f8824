//! Who we are to a far end: credentials on each request, renewed before they expire.

use std::collections::BTreeMap;

use async_trait::async_trait;
use karez_api::Fault;

use crate::{Request, Response};

/// Which credentials a request carried: two requests with one stamp carried the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) u64);

/// One way to say who we are. It sends nothing of the caller's: it marks requests, and judges refusals.
#[async_trait]
pub(crate) trait Credentials: Send + Sync {
    /// Puts them on a request, got or renewed first where that is needed.
    ///
    /// # Errors
    /// Class auth where a human is needed, else what kept them from being renewed.
    async fn apply(&self, request: &mut Request) -> Result<Stamp, Fault>;

    /// The far end refused a request with these credentials. True where sending it once more can help:
    /// they were renewed, or its challenge is known now.
    ///
    /// # Errors
    /// As [`Credentials::apply`].
    async fn refused(&self, stamp: Stamp, answer: &Response) -> Result<bool, Fault>;

    /// Values kept from the log-in, which stand for `{name}` in addresses and headers.
    fn kept(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}
