//! What a request to the API asks for in its body.

use bytes::Bytes;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::server::{Budget, read};

/// A body of so many bytes at most.
///
/// # Errors
/// A sentence for whoever asked.
pub(super) async fn body(body: Incoming, most: usize) -> Result<Bytes, String> {
    let read = read(body, most, &mut Budget::new(most + 1).open()).await;
    read.map_err(|_| "the body is too large or broke off".to_owned())
}

/// What it says; without any, what is usual.
///
/// # Errors
/// As [`body`], or it is not what is expected.
pub(super) async fn asked<T: DeserializeOwned + Default>(given: Incoming, most: usize) -> Result<T, String> {
    match body(given, most).await?.trim_ascii() {
        [] => Ok(T::default()),
        text => serde_json::from_slice(text).map_err(|fault| fault.to_string()),
    }
}
