//! A daemon's inside in a folder of its own: a real store, real files, no listener.

mod book;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use karez_api::Component;
use karez_connectors::net;
use karez_runtime::{DeadLetters, SystemClock};
use karez_store::{Options, Store};
use tempfile::TempDir;

use crate::daemon::Until;
use crate::fleet::{Fleet, Running};
use crate::ingress::{Gate, Ingress};
use crate::load::Loader;
use crate::memory::Memory;
use crate::reload::{Manager, Pass, Report, Surroundings};

/// Connections of a process that has none.
pub(crate) fn connections() -> Arc<net::Connections> {
    Arc::new(net::Connections::new(Arc::new(SystemClock), None, net::Options::default()))
}

pub(crate) struct Inside {
    pub(crate) folder: TempDir,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) manager: Manager,
}

impl Inside {
    pub(crate) async fn new() -> Self {
        Self::until(Until::Told).await
    }

    pub(crate) async fn until(until: Until) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("pipelines")).unwrap();
        let store = Store::open(folder.path().join("data"), Options::default()).unwrap();
        let memory = Memory::new(store, karez_store::Keys::default());
        let letters = Arc::new(DeadLetters::open(Arc::clone(memory.progress())).await.unwrap());
        let connections = connections();
        let fleet = Arc::new(Fleet::new(letters, memory, Arc::clone(&connections)));
        let ingress = Arc::new(Ingress::new(Vec::new(), connections));
        ingress.set_gate(Gate::Open);
        let components = karez_steps::components().into_iter().chain([Component::source::<book::Book>()]);
        let registry = karez_connectors::registry(components.collect());
        let loader = Loader::with(vec![folder.path().join("pipelines")], registry);
        let clock = Arc::new(SystemClock);
        let (fleet_too, ingress_too) = (Arc::clone(&fleet), Arc::clone(&ingress));
        let vault = Arc::clone(fleet.memory.vault()) as Arc<dyn karez_api::Vault>;
        let surroundings = Surroundings { clock, vault, until };
        let drain = Duration::from_secs(5);
        let manager = Manager::new(loader, fleet_too, ingress_too, surroundings, "test", drain);
        Self { folder, fleet, ingress, manager }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join("pipelines").join(file)
    }
    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }
    pub(crate) fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).unwrap();
    }

    /// A webhook on `path` whose records go nowhere.
    pub(crate) fn write_hook(&self, file: &str, path: &str) {
        self.write(
            file,
            &format!(
                "source:\n  webhook:\n    path: {path}\n    verify: {{none: {{reason: a test of ours}}}}\n\
                 sink: {{blackhole: {{}}}}\n"
            ),
        );
    }

    pub(crate) async fn pass(&mut self, pass: Pass) -> Report {
        self.manager.pass(pass).await.unwrap()
    }
    pub(crate) fn running(&self, name: &str) -> Running {
        self.fleet.pipelines().get(name).unwrap().clone()
    }

    pub(crate) async fn close(mut self) {
        self.manager.stop_all(karez_runtime::Drain::Now).await;
        self.fleet.memory.close().await.unwrap();
    }
}

/// Names as a list of strings, for comparing.
pub(crate) fn names(names: &[Arc<str>]) -> Vec<&str> {
    let mut names: Vec<&str> = names.iter().map(|name| &**name).collect();
    names.sort_unstable();
    names
}
