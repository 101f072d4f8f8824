//! Work that a client's departure must not cut short: polled in place while the client waits,
//! carried on by a task of its own from the moment it no longer does.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::task::JoinSet;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Owns what outlived its client.
#[derive(Clone)]
pub(crate) struct Detached(Arc<Inner>);

struct Inner {
    runtime: Handle,
    tasks: Mutex<JoinSet<()>>,
}

impl Detached {
    /// Must be made inside a runtime.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { runtime: Handle::current(), tasks: Mutex::new(JoinSet::new()) }))
    }

    /// A future that completes even if it is dropped: a spawn costs only those whose client left.
    pub(crate) fn keep<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Kept<T> {
        Kept { work: Some(Box::pin(work)), owner: self.clone() }
    }

    fn adopt(&self, work: BoxFuture<()>) {
        let mut tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(work, &self.0.runtime);
    }

    /// Waits for everything that was adopted so far.
    pub(crate) async fn finish(&self) {
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
    }
}

/// See [`Detached::keep`].
pub(crate) struct Kept<T: Send + 'static> {
    work: Option<BoxFuture<T>>,
    owner: Detached,
}

impl<T: Send + 'static> Future for Kept<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(work) = self.work.as_mut() else {
            return Poll::Pending;
        };
        let output = std::task::ready!(work.as_mut().poll(cx));
        self.work = None;
        Poll::Ready(output)
    }
}

impl<T: Send + 'static> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.owner.adopt(Box::pin(async move { drop(work.await) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn work_completes_after_its_owner_left() {
        let detached = Detached::new();
        let (go, gate) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let mut kept = detached.keep(async move {
            gate.await.unwrap();
            tell.send(7).unwrap();
        });
        assert!(futures_util::poll!(&mut kept).is_pending());
        drop(kept);
        go.send(()).unwrap();
        detached.finish().await;
        assert_eq!(told.await, Ok(7));
    }

    #[tokio::test]
    async fn finished_work_leaves_nothing_behind() {
        let detached = Detached::new();
        assert_eq!(detached.keep(async { 5 }).await, 5);
        assert!(detached.0.tasks.lock().unwrap().is_empty());
    }
}
