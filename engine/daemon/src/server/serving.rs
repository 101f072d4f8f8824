//! A server at work: told to stop, then awaited.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::listener::{Handler, Server};

/// Serves while it lives.
pub(crate) struct Serving {
    stop: watch::Sender<bool>,
    work: JoinSet<()>,
}

impl Server {
    /// Serves from now on.
    pub(crate) fn begin<H: Handler>(self, handler: Arc<H>) -> Serving {
        let (stop, stops) = watch::channel(false);
        let mut work = JoinSet::new();
        work.spawn(self.serve(handler, stops));
        Serving { stop, work }
    }
}

impl Serving {
    /// No new connections; what was asked is answered.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until every connection has ended, at most `within`.
    pub(crate) async fn finish(&mut self, within: Duration) {
        // What is cut off then is a client that does not read its answer.
        drop(tokio::time::timeout(within, self.work.join_next()).await);
    }
}
