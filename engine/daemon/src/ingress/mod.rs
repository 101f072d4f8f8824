//! The listener for webhooks and callbacks. It is bound once and outlives every pipeline; what a
//! path means is decided by whoever mounts it.

mod forwarded;
mod handler;
mod log_in;
mod routes;
#[cfg(test)]
mod tests;

pub(crate) use handler::{Gate, Ingress};
pub(crate) use log_in::{CALLBACK, is_about as is_about_log_ins, start_url};
