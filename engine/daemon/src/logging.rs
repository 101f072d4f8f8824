//! Log lines on stderr: `KAREZ_LOG` filters (`info`, `karez=debug,warn`), `--log-format json` is for collectors.
//! A library that writes the contents of messages into its log is silent unless it is named.

use std::io::{self, IsTerminal};

use anyhow::{Context, Result, anyhow};
use tracing_subscriber::EnvFilter;

use crate::console::Remarks;

/// lapin logs the bodies of messages that were returned, and below it are addresses with passwords;
/// notify warns of every watched folder that is deleted.
const SILENT: &str = "lapin=off,amq_protocol_tcp=off,notify=error";

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
        with_silence(&filter).with_context(|| format!("KAREZ_LOG: {filter:?} is not a log filter"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Remarks).with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().try_init(),
    }
    .map_err(|error| anyhow!("{error}"))
}

/// What is said later about the same target wins.
fn with_silence(filter: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(format!("{SILENT},{filter}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_logs_contents_is_silent_unless_it_is_named() {
        let shown = |filter| with_silence(filter).unwrap().to_string();
        for filter in ["info", "debug", "karez=debug,warn"] {
            assert!(shown(filter).contains("lapin=off"), "{filter}");
        }
        let named = shown("info,lapin=debug");
        assert!(named.contains("lapin=debug") && !named.contains("lapin=off"), "{named}");
    }
}
