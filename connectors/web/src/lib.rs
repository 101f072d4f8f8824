//! Webhooks in, HTTP requests out. Knows nothing of journals, retries or batching: the
//! engine does all of that around what is here.

mod api;
mod http;
mod webhook;

#[cfg(test)]
mod testing;

use karez_api::Component;

/// The providers whose webhooks are known, and single requests of theirs tried outside of a daemon.
pub mod webhooks {
    pub use crate::webhook::provider::{Description, Provider, find, names, providers};
    pub use crate::webhook::trial::{Call, Delivery, Event, Trial, Verdict};
}

/// How answers of an API are read, without the API.
pub mod answers {
    pub use crate::api::{Reader, linked};
}

/// The components of this crate.
#[must_use]
pub fn components() -> Vec<Component> {
    vec![
        Component::source::<webhook::Webhook>(),
        Component::source::<api::ApiSpec>(),
        Component::source::<api::GraphqlSpec>(),
        Component::sink::<http::Http>(),
        Component::asking::<http::Enrich>(),
    ]
}
