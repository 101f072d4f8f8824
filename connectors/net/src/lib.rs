//! Named connections: what a file says of a remote system, the credentials that stay fresh, and the
//! HTTP client that everything goes through. Knows no pipeline and no record.

mod call;
pub mod jose;
pub mod login;
mod pick;
pub mod provider;
pub mod spec;

mod check;
mod connection;
mod connections;

mod layers;
mod transport;

mod auth;

mod address;
mod faults;
mod metrics;
mod status;
mod tasks;
mod told;

#[cfg(test)]
mod testing;

pub use auth::{AuthStatus, TokensCounted};
pub use call::{Effect, Failure, Request, Response, Reuse};
pub use check::{Checked, check};
pub use connection::Connection;
pub use connections::{Connections, Options};
pub use faults::{ERROR_NAMES, error_name};
pub use layers::{CircuitState, QuotaLeft};
pub use metrics::{CacheCounted, Counted, LATENCY_BOUNDS, Latency};
pub use status::ConnectionStatus;
pub use told::retry_after;
pub use transport::place;
