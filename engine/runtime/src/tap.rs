//! Live records for whoever watches. Nobody watching costs one atomic load per record.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use karez_api::Record;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::letters::{body_json, meta_json};

/// How many records a watcher may lag behind before it misses some.
const BUFFER: usize = 256;

/// A record as a watcher sees it.
#[derive(Debug, Clone, Serialize)]
pub struct TapRecord {
    pub node: Arc<str>,
    pub id: String,
    pub body: serde_json::Value,
    pub meta: serde_json::Value,
}

/// The watchers of one pipeline.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    watching: AtomicUsize,
    taps: Mutex<Vec<Watcher>>,
}

#[derive(Debug)]
struct Watcher {
    node: Option<Arc<str>>,
    to: mpsc::Sender<TapRecord>,
}

/// What one watcher receives.
#[derive(Debug)]
pub struct Tap(mpsc::Receiver<TapRecord>);

impl Tap {
    /// The next record; records are left out while the watcher is slow. `None` when the pipeline is gone.
    pub async fn next(&mut self) -> Option<TapRecord> {
        self.0.recv().await
    }
}

impl Taps {
    /// Watches what comes out of `node`, or what goes into it if it is a sink; everything if absent.
    pub(crate) fn open(&self, node: Option<Arc<str>>) -> Tap {
        let (to, from) = mpsc::channel(BUFFER);
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        taps.push(Watcher { node, to });
        self.watching.store(taps.len(), Relaxed);
        Tap(from)
    }

    pub(crate) fn show(&self, node: &Arc<str>, record: &Record) {
        if self.watching.load(Relaxed) > 0 {
            self.send(node, record);
        }
    }

    #[cold]
    fn send(&self, node: &Arc<str>, record: &Record) {
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        taps.retain(|watcher| !watcher.to.is_closed());
        self.watching.store(taps.len(), Relaxed);
        let shown = |watcher: &&Watcher| watcher.node.as_ref().is_none_or(|wanted| wanted == node);
        for watcher in taps.iter().filter(shown) {
            let seen = TapRecord {
                node: Arc::clone(node),
                id: record.id().to_string(),
                body: body_json(record.body()),
                meta: meta_json(record.meta()),
            };
            // A full buffer means that the watcher is slow: it misses this one.
            drop(watcher.to.try_send(seen));
        }
    }
}
