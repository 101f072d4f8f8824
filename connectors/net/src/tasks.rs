//! The tasks of one connection: they end with it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use karez_api::Tasks;
use tokio::task::JoinSet;
use tracing::{Instrument as _, debug_span};

#[derive(Default)]
pub(crate) struct Owned(Mutex<JoinSet<()>>);

impl Owned {
    /// Ends them without waiting for it.
    pub(crate) fn end(&self) {
        self.take().abort_all();
    }

    /// Ends them and waits until they have ended.
    pub(crate) async fn close(&self) {
        self.take().shutdown().await;
    }

    /// Waits until they have ended by themselves.
    pub(crate) async fn finish(&self) {
        let mut tasks = self.take();
        while tasks.join_next().await.is_some() {}
    }

    fn take(&self) -> JoinSet<()> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Tasks for Owned {
    fn spawn(&self, name: &'static str, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What has ended is let go of.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task.instrument(debug_span!("connection", task = name)));
    }
}
