//! The first lines of a daemon on the terminal: what listens where, what runs, what is wrong.

use std::net::SocketAddr;

use crate::console::{colour, say};
use crate::diagnostics::{counted, orphan, render};
use crate::fleet::Fleet;

/// Pipelines that are named one by one.
const NAMED: usize = 10;

/// Where the daemon listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    /// Absent where nothing can be posted.
    pub(crate) webhooks: Option<SocketAddr>,
    pub(crate) admin: SocketAddr,
}

pub(crate) fn introduce(fleet: &Fleet, addresses: Addresses) {
    say(&format!("karez {}", env!("CARGO_PKG_VERSION")));
    if let Some(webhooks) = addresses.webhooks {
        say(&format!("  webhooks  http://{webhooks}"));
    }
    say(&format!("  admin     http://{}  (/healthz, /metrics; /api needs the token)", addresses.admin));
    let pipelines = fleet.pipelines();
    let first = if pipelines.is_empty() { "; `karez new NAME` writes a first one" } else { "" };
    say(&format!("  {}{first}", counted(pipelines.len(), "pipeline")));
    for (name, running) in pipelines.iter().take(NAMED) {
        say(&format!("    {name}: {}", running.summary));
    }
    if pipelines.len() > NAMED {
        say(&format!("    … and {} more; `karez status` lists all", pipelines.len() - NAMED));
    }
    for (name, reason) in fleet.failures().iter() {
        say(&format!("    {name}: not started: {reason}"));
    }
    for (stream, stats) in fleet.orphans() {
        say(&format!("  {}", orphan(&stream.pipeline, &stream.to_string(), stats.unsettled)));
    }
    let problems = fleet.problems();
    if !problems.is_empty() {
        say(render(&problems, colour()).trim_end());
    }
}
