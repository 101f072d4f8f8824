//! Named connections: what a file says of a remote system, the credentials that stay fresh, and the
//! HTTP client that everything goes through. Knows no pipeline and no record.

mod auth;
mod call;
pub mod spec;

pub use call::{Effect, Failure, Request, Response, Reuse};
