//! The `http` sink: one request per record, or per batch of records with one target.

mod body;
mod classify;
pub(crate) mod client;
mod connection;
mod sink;
mod spec;
mod target;

#[cfg(test)]
pub(crate) mod test_server;

pub use classify::retry_after;
pub(crate) use spec::Http;
