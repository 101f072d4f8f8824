//! What the integration tests stand on: the daemon as a child process in a folder of its own, a
//! receiver and an API that can misbehave, a real broker, a raw HTTP client, and waiting for conditions.
//! Knows karez only from outside: its command line, its sockets, its files.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "only tests are built on this")]

mod api_server;
mod daemon;
mod folder;
mod http;
mod launch;
mod load;
mod metrics;
pub mod npm;
mod oauth;
pub mod rabbit;
mod receiver;
mod sdks;
mod server;
mod wait;

pub use api_server::{ApiServer, Asked, Style, Trouble};
pub use daemon::Daemon;
pub use folder::{Folder, Output, binary, test_build};
pub use http::{Answer, Connection, Request, send};
pub use launch::Launch;
pub use load::{Load, Sent};
pub use metrics::Metrics;
pub use oauth::{Counts, OAuthServer, Oddities, Slip};
pub use receiver::{Receiver, Reply};
pub use sdks::Sdks;
pub use server::Seen;
pub use wait::{PATIENCE, eventually, found, never, within};

pub use serde_json::{Value as Json, json};
