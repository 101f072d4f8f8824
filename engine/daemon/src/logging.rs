//! Log lines on stderr: `KAREZ_LOG` filters (`info`, `karez=debug,warn`), `--log-format json` is for collectors.

use std::io::{self, IsTerminal};

use anyhow::{Context, Result, anyhow};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Starts logging for the life of the process.
///
/// # Errors
/// The filter cannot be read.
pub(crate) fn start(format: LogFormat, filter: Option<String>) -> Result<()> {
    let filter = filter.unwrap_or_else(|| "info".into());
    let filter =
        EnvFilter::try_new(&filter).with_context(|| format!("KAREZ_LOG: {filter:?} is not a log filter"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().try_init(),
    }
    .map_err(|error| anyhow!("{error}"))
}
