//! The admin side: health, metrics, and the API that the command line uses. What a request may
//! do is decided in `guard`, before any route is looked at.

mod address;
mod api;
mod asked;
mod client;
mod connection_metrics;
mod connections;
mod exposition;
mod guard;
mod handler;
mod letters;
mod log_ins;
mod metrics;
#[cfg(test)]
mod polling_tests;
mod rewind;
mod run_metrics;
mod secrets;
mod status;
#[cfg(test)]
mod tests;
mod token;
mod trying;

pub(crate) use address::encoded;
pub(crate) use client::{Announced, Client};
pub(crate) use guard::Guard;
pub(crate) use handler::{Admin, ReloadRequest, Request, RewindRequest};
pub(crate) use rewind::moment;
pub(crate) use secrets::{is_stored, shown, tell};
pub(crate) use token::Token;
