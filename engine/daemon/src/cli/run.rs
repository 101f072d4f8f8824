//! `karez run`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use karez_api::Network;

use super::Exit;
use crate::daemon::{self, Until};
use crate::settings::{Layer, Settings, address, network};

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Pipeline files and folders; a later one may overlay an earlier one [default: pipelines] [env: KAREZ_PIPELINES]
    paths: Vec<PathBuf>,
    /// Stop when all sources have ended, and report: 1 if records were dead-lettered or files are wrong, 3 if a
    /// pipeline failed. Sources that never end (webhooks, queues, schedules) are refused.
    #[arg(long)]
    once: bool,
    /// Address for webhooks [default: 127.0.0.1:7070] [env: KAREZ_LISTEN]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Networks that are not public and may be called all the same, like 10.0.0.0/8 [env: KAREZ_ALLOW_PRIVATE]
    #[arg(long, value_name = "NETWORK", value_parser = network, value_delimiter = ',')]
    allow_private: Option<Vec<Network>>,
    /// How long to wait for records in flight when stopping [default: 30s] [env: KAREZ_DRAIN_TIMEOUT]
    #[arg(long, value_name = "TIME")]
    drain_timeout: Option<karez_api::Duration>,
}

impl Run {
    pub(super) fn layer(&self) -> Layer {
        Layer {
            listen: self.listen,
            allow_private: self.allow_private.clone(),
            drain_timeout: self.drain_timeout,
            ..super::paths(&self.paths)
        }
    }
}

pub(super) async fn perform(run: Run, settings: Settings) -> Result<Exit> {
    daemon::run(settings, if run.once { Until::SourcesEnd } else { Until::Told }).await
}
