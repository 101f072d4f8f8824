//! `karez connections`: how the connections of a running daemon are doing, and what is known of the providers that
//! one can name.

mod catalogue;
mod live;

use anyhow::{Context, Result};
use karez_connectors::providers::{self, Provider};

pub(super) use live::lines as live_lines;

use super::{Exit, Usage};
use crate::console::Format;
use crate::diagnostics::unknown;
use crate::settings::Settings;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Connections {
    /// List the connections of the running daemon: calls, errors, latency, quotas, log-ins
    List {
        /// How the result is written
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
    /// Send a connection's probe; ends with 1 if it does not work
    Test {
        /// As `connections:` names it
        connection: String,
    },
    /// End a connection's log-in: its tokens are revoked where the other system can do that, and removed
    LogOut {
        /// As `connections:` names it
        connection: String,
    },
    /// List the providers that `connections: {NAME: {provider: …}}` knows
    Providers {
        /// How the result is written
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
    /// Show everything that is known of a provider, and connections to copy
    Show {
        /// As `providers` shows it
        provider: String,
        /// How the result is written
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
}

pub(super) async fn perform(command: Connections, settings: Settings) -> Result<Exit> {
    match command {
        Connections::List { format } => live::list(format, &settings).await,
        Connections::Test { connection } => live::test(&connection, &settings).await,
        Connections::LogOut { connection } => live::log_out(&connection, &settings).await,
        Connections::Providers { format } => catalogue::list(format),
        Connections::Show { provider, format } => catalogue::show(known(&provider)?, format),
    }
}

fn known(name: &str) -> Result<&'static Provider> {
    let names: Vec<&str> = providers::names().collect();
    let message = || Usage(unknown(&format!("{name:?} is no known provider"), name, &names));
    Ok(providers::find(name).with_context(message).map_err(|error| Usage(error.to_string()))?)
}
