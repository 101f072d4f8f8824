//! The only place that writes to the terminal. Results go to stdout, everything about them to stderr.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::diagnostics::Colour;

/// How a listing is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// A line of a result.
///
/// # Errors
/// Nobody reads it any more.
pub(crate) fn line(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// A result as JSON.
///
/// # Errors
/// As [`line`].
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// A remark. Nobody listening is no reason to stop.
pub(crate) fn say(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// Whether remarks go to a terminal that takes colours.
pub(crate) fn colour() -> Colour {
    match io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => Colour::On,
        false => Colour::Off,
    }
}
