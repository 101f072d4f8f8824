//! The only place that writes to the terminal. Results go to stdout, everything about them to stderr.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::MultiProgress;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde::Serialize;
use zeroize::Zeroizing;

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

/// A result that is not lines.
///
/// # Errors
/// As [`line`].
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// A result as JSON.
///
/// # Errors
/// As [`line`].
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Asks on the terminal for a line that it does not show.
///
/// # Errors
/// There is no terminal, or it does not do as it is told.
pub(crate) fn ask_unseen(question: &str) -> io::Result<Zeroizing<String>> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut unseen = before.clone();
    unseen.local_modes.remove(LocalModes::ECHO);
    io::stderr().lock().write_all(question.as_bytes())?;
    tcsetattr(&stdin, OptionalActions::Flush, &unseen)?;
    let mut line = Zeroizing::new(String::with_capacity(4096));
    let read = stdin.lock().read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Now, &before)?;
    say("");
    read.map(|_| line)
}

/// A remark. Nobody listening is no reason to stop.
pub(crate) fn say(text: &str) {
    writeln!(Remarks, "{text}").ok();
}

/// Where remarks and log lines go: stderr, above the progress bars where there are any. Never fails: a
/// full disk under a log file must not reach what wanted to log it.
pub(crate) struct Remarks;

impl Write for Remarks {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.write_all(text)?;
        Ok(text.len())
    }
    fn write_all(&mut self, text: &[u8]) -> io::Result<()> {
        let written = match DRAWN.get() {
            Some(bars) => bars.suspend(|| io::stderr().lock().write_all(text)),
            None => io::stderr().lock().write_all(text),
        };
        written.or(Ok(()))
    }
    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        // In one piece, so that bars and other remarks do not come between.
        self.write_all(text.to_string().as_bytes())
    }
    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush().or(Ok(()))
    }
}

static DRAWN: OnceLock<MultiProgress> = OnceLock::new();

/// Progress bars on stderr; absent where it is no terminal.
pub(crate) fn bars() -> Option<&'static MultiProgress> {
    io::stderr().is_terminal().then(|| DRAWN.get_or_init(MultiProgress::new))
}

pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether remarks go to a terminal that takes colours.
pub(crate) fn colour() -> Colour {
    match io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => Colour::On,
        false => Colour::Off,
    }
}
