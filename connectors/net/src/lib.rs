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
pub mod wire;

mod auth;

mod address;
mod faults;
mod metrics;
mod scrub;
mod status;
mod streamed;
mod tally;
mod tasks;
mod told;

#[cfg(test)]
mod testing;

pub use auth::{AuthStatus, TokensCounted};
pub use call::{Effect, Failure, Request, Response, Reuse};
pub use check::{Checked, check};
pub use connection::Connection;
pub use connections::{Connections, Options};
pub use faults::{ERROR_NAMES, error_name, excerpt};
pub use layers::{CircuitState, QuotaLeft, Rules};
pub use metrics::{CacheCounted, Counted, LATENCY_BOUNDS, Latency};
pub use scrub::{REDACTED, Scrub, is_private};
pub use status::ConnectionStatus;
pub use streamed::Streamed;
pub use tally::Tally;
pub use told::{answered_at, retry_after};
pub use transport::place;
