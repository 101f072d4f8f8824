//! `karez run`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use karez_api::Json;

use super::Exit;
use crate::console::say;
use crate::daemon::{self, Until};
use crate::fleet::Fleet;
use crate::settings::{Layer, Settings};

/// Runs until SIGTERM or SIGINT: then it stops accepting, drains, and ends with 0; a second signal
/// ends it at once. SIGHUP reloads, as does every change of a file.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Pipeline files and folders; a later one may overlay an earlier one [default: pipelines] [env: KAREZ_PIPELINES]
    paths: Vec<PathBuf>,
    /// Stop when all sources have ended, and report; 1 if records were dead-lettered or files are wrong
    #[arg(long)]
    once: bool,
    /// Address for webhooks [default: 127.0.0.1:7070] [env: KAREZ_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// How long to wait for records in flight when stopping [default: 30s] [env: KAREZ_DRAIN_TIMEOUT]
    #[arg(long, value_name = "TIME")]
    drain_timeout: Option<karez_api::Duration>,
}

impl Run {
    pub(super) fn layer(&self) -> Layer {
        Layer { listen: self.listen, drain_timeout: self.drain_timeout, ..super::paths(&self.paths) }
    }
}

pub(super) async fn perform(run: Run, settings: Settings) -> Result<Exit> {
    daemon::run(settings, if run.once { Until::SourcesEnd } else { Until::Told }).await
}

/// What a run until the sources' end came to.
pub(crate) fn report(fleet: &Fleet, exit: Exit) -> Exit {
    let mut dead = 0;
    for (name, running) in fleet.pipelines().iter() {
        let status = serde_json::to_value(running.pipeline.status()).unwrap_or_default();
        let count = |key: &str| status["counters"][key].as_u64().unwrap_or_default();
        dead += count("dead_lettered");
        let counts = ["in", "delivered", "filtered", "duplicate", "diverted", "dead_lettered", "dropped"];
        let counts: Vec<String> =
            counts.iter().map(|key| format!("{} {}", count(key), key.replace('_', "-"))).collect();
        say(&format!("{name}: {}", counts.join(", ")));
        if let Some(problem) = status.get("problem").filter(|problem| !matches!(problem, Json::Null)) {
            say(&format!("{name}: {problem}"));
        }
    }
    let wrong = !fleet.failures().is_empty() || fleet.problems().iter().any(karez_config::Placed::is_error);
    if exit == Exit::Fine && (dead > 0 || wrong) { Exit::Problems } else { exit }
}
