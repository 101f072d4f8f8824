//! The HTTP server that ingress and admin share: an accept loop of our own, bounds on everything
//! a client can make us hold, answers that survive a client which goes away. Knows no route.
//!
//! HTTP/1.1 only: senders of webhooks speak it, and its limits are simple to state.

mod answer;
mod body;
mod budget;
mod connection;
mod detached;
mod listener;
mod serving;
mod tls;

pub(crate) use answer::{Payload, error, json_of, text};
pub(crate) use body::{BodyFault, read};
pub(crate) use budget::Budget;
pub(crate) use detached::Detached;
pub(crate) use listener::{Handler, HandlerFuture, Limits, Peer, Server};
pub(crate) use serving::Serving;
pub(crate) use tls::{Tls, TlsFiles};
