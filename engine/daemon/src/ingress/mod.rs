//! The listener for webhooks and callbacks. It is bound once and outlives every pipeline; what a
//! path means is decided by whoever mounts it.

mod forwarded;
mod handler;
mod routes;
#[cfg(test)]
mod tests;

pub(crate) use handler::{Gate, Ingress};
