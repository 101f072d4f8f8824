//! The vault as connectors get it: pipelines that name a secret which one of them brings follow it, as they follow
//! `karez secrets set`.

use std::sync::Arc;

use async_trait::async_trait;
use karez_api::{Expect, Kept, SECRETS, Secret, StoreError, Vault};
use tokio::sync::{mpsc, oneshot};

use crate::admin::{ReloadRequest, Request};
use crate::reload::Pass;

pub(crate) struct Followed {
    vault: Arc<dyn Vault>,
    manager: mpsc::Sender<Request>,
}

impl Followed {
    pub(crate) fn new(vault: Arc<dyn Vault>, manager: mpsc::Sender<Request>) -> Self {
        Self { vault, manager }
    }

    fn follow(&self, name: &str) {
        if name.starts_with(SECRETS) {
            // Nobody waits for the report. Where requests are waiting already, theirs is a look at this secret, too.
            let (tell, _) = oneshot::channel();
            let look = ReloadRequest { pass: Pass::Changes, tell };
            self.manager.try_send(Request::Reload(look)).ok();
        }
    }
}

#[async_trait]
impl Vault for Followed {
    fn is_shared(&self) -> bool {
        self.vault.is_shared()
    }

    async fn get(&self, name: &str) -> Result<Option<Kept>, StoreError> {
        self.vault.get(name).await
    }

    async fn put(&self, name: &str, value: Secret, expect: Expect) -> Result<u64, StoreError> {
        let generation = self.vault.put(name, value, expect).await?;
        self.follow(name);
        Ok(generation)
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.vault.remove(name).await?;
        self.follow(name);
        Ok(())
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.vault.names(prefix).await
    }
}
