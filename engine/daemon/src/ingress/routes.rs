//! Which endpoint answers on which path. Read without a lock for every request, written at reloads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use karez_api::{Endpoint, Fault, Mount};
use tokio::sync::Notify;

#[derive(Clone)]
struct Route {
    owner: Arc<str>,
    /// Tells this mount from an earlier one of the same owner on the same path.
    mount: u64,
    endpoint: Arc<dyn Endpoint>,
}

impl Route {
    /// Owners are called `pipeline/source`.
    fn belongs_to(&self, pipeline: &str) -> bool {
        self.owner.split('/').next() == Some(pipeline)
    }
}

type Table = HashMap<Arc<str>, Route>;

/// The table of mounted paths.
#[derive(Clone, Default)]
pub(super) struct Routes(Arc<Inner>);

#[derive(Default)]
struct Inner {
    table: ArcSwap<Table>,
    /// Held while the table is replaced.
    writer: Mutex<()>,
    mounts: AtomicU64,
    /// Told whenever a path was mounted or has come free.
    changed: Notify,
}

impl Routes {
    pub(super) fn find(&self, path: &str) -> Option<Arc<dyn Endpoint>> {
        self.0.table.load().get(path).map(|route| Arc::clone(&route.endpoint))
    }

    /// See [`karez_api::Ingress::mount`].
    pub(super) fn mount(&self, owner: &str, path: &str, endpoint: Arc<dyn Endpoint>) -> Result<Mount, Fault> {
        let mount = self.0.mounts.fetch_add(1, Ordering::Relaxed);
        let route = Route { owner: owner.into(), mount, endpoint };
        self.change(|table| match table.get(path) {
            Some(held) if *held.owner != *owner => {
                Err(Fault::validation("path-taken", format_args!("{path} is served by {}", held.owner)))
            }
            _ => {
                table.insert(path.into(), route);
                Ok(())
            }
        })?;
        self.tell();
        let (routes, path) = (self.clone(), path.to_owned());
        Ok(Mount::new(move || routes.unmount(&path, mount)))
    }

    /// Ends when a path was mounted or has come free; nothing is missed from the moment it is enabled.
    pub(super) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.changed.notified()
    }

    /// Lets those that wait for [`Routes::changed`] look again.
    pub(super) fn tell(&self) {
        self.0.changed.notify_waiters();
    }

    /// Returns once no pipeline but `pipeline` has a node on any of these paths.
    pub(super) async fn free(&self, pipeline: &str, paths: &[&str]) {
        loop {
            let mut freed = std::pin::pin!(self.changed());
            // From here on nothing is missed.
            freed.as_mut().enable();
            let table = self.0.table.load_full();
            let held = |path: &str| table.get(path).is_some_and(|route| !route.belongs_to(pipeline));
            if !paths.iter().any(|path| held(path)) {
                return;
            }
            freed.await;
        }
    }

    /// Leaves a later mount on the same path alone.
    fn unmount(&self, path: &str, mount: u64) {
        self.change(|table| {
            if table.get(path).is_some_and(|route| route.mount == mount) {
                table.remove(path);
            }
        });
        self.tell();
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let _writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.0.table.load());
        let outcome = change(&mut table);
        self.0.table.store(Arc::new(table));
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use karez_api::{RequestHead, Response};

    struct Nothing;

    #[async_trait::async_trait]
    impl Endpoint for Nothing {
        fn admit(&self, _: &RequestHead) -> Result<(), Response> {
            Ok(())
        }
        fn max_body(&self) -> usize {
            0
        }
        async fn call(&self, _: RequestHead, _: Bytes) -> Response {
            Response::default()
        }
    }

    #[test]
    fn a_path_belongs_to_one_owner_at_a_time() {
        let routes = Routes::default();
        let held = routes.mount("orders", "/webhooks/a", Arc::new(Nothing)).unwrap();
        let refused = routes.mount("refunds", "/webhooks/a", Arc::new(Nothing)).err().unwrap();
        assert_eq!(refused.message(), "/webhooks/a is served by orders");
        drop(held);
        assert!(routes.find("/webhooks/a").is_none());
        let _held = routes.mount("refunds", "/webhooks/a", Arc::new(Nothing)).unwrap();
        assert!(routes.find("/webhooks/a").is_some());
        assert!(routes.find("/webhooks/a/").is_none());
    }

    #[test]
    fn the_end_of_an_old_mount_leaves_its_successor_in_place() {
        let routes = Routes::default();
        let old = routes.mount("orders", "/a", Arc::new(Nothing)).unwrap();
        let new = routes.mount("orders", "/a", Arc::new(Nothing)).unwrap();
        drop(old);
        assert!(routes.find("/a").is_some());
        drop(new);
        assert!(routes.find("/a").is_none());
    }

    #[tokio::test]
    async fn a_path_is_free_once_its_holder_let_go() {
        let routes = Routes::default();
        let held = routes.mount("orders/source", "/a", Arc::new(Nothing)).unwrap();
        routes.free("orders", &["/a", "/b"]).await;
        let mut free = std::pin::pin!(routes.free("refunds", &["/b", "/a"]));
        assert!(futures_util::poll!(&mut free).is_pending());
        drop(held);
        free.await;
    }
}
