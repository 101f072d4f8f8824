//! The HTTP client: no redirects, no proxies from the environment, bounded connecting.

use std::sync::Arc;
use std::time::Duration;

use karez_api::Fault;
use reqwest::{Client, redirect};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const POOL_IDLE: Duration = Duration::from_secs(90);

/// A client with a pool of its own. Its requests have no timeout: the engine drops a delivery
/// that takes too long.
///
/// # Errors
/// Class fatal: the system's root certificates cannot be used.
pub(crate) fn build() -> Result<Client, Fault> {
    provide_cryptography();
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE)
        .user_agent(concat!("karez/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Fault::fatal(format!("cannot set up an HTTP client: {}", chain(&error))))
}

/// reqwest panics where no provider was chosen for the process; whoever chose first wins.
fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let chosen = rustls::crypto::ring::default_provider().install_default();
        // An error means that another thread was faster, which is as good.
        drop::<Result<(), Arc<_>>>(chosen);
    }
}

/// An error with its causes on one line; without the URL, which may hold secrets.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        next = cause.source();
    }
    text
}
