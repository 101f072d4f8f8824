//! What the engine lends to connectors: time, and owners for their tasks.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::Millis;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Time. Tests pause it; nothing else in the workspace asks the system for it.
pub trait Clock: Send + Sync {
    /// The wall clock: for stamps on records, never for measuring.
    fn now(&self) -> Millis;
    /// Monotonic: for measuring and waiting.
    fn instant(&self) -> Instant;
    fn sleep(&self, time: Duration) -> BoxFuture<()>;
}

/// Where a connector's own tasks live: owned by its pipeline, ended and awaited at close.
pub trait Tasks: Send + Sync {
    fn spawn(&self, name: &'static str, task: BoxFuture<()>);
}
