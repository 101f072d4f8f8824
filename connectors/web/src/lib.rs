//! Webhooks in, HTTP requests out. Knows nothing of journals, retries or batching: the
//! engine does all of that around what is here.

mod http;
mod webhook;

#[cfg(test)]
mod testing;

use karez_api::Component;

pub use http::retry_after;
pub use webhook::provider::{Provider, providers};

/// The components of this crate.
#[must_use]
pub fn components() -> Vec<Component> {
    vec![Component::source::<webhook::Webhook>(), Component::sink::<http::Http>()]
}
