//! What the engine lends to connectors: time, and owners for their tasks.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
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

/// What connectors of all pipelines share and the engine does not know, by its type: named connections.
#[derive(Clone, Default)]
pub struct Shared(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl Shared {
    #[must_use]
    pub fn with<T: Send + Sync + 'static>(mut self, shared: Arc<T>) -> Self {
        self.0.insert(TypeId::of::<T>(), shared);
        self
    }

    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.get(&TypeId::of::<T>()).and_then(|shared| Arc::clone(shared).downcast().ok())
    }
}
