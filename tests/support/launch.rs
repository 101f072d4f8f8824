//! How a daemon is started, beyond what every one of them is given.

use std::ffi::OsString;
use std::path::PathBuf;

/// Arguments, environment and company of a daemon, at each of its starts.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// In place of the binary beside the tests.
    pub binary: Option<PathBuf>,
    /// Arguments of `karez run`, like `--drain-timeout`.
    pub arguments: Vec<String>,
    /// Variables that it sees, like `FAILPOINTS`.
    pub environment: Vec<(String, String)>,
    /// A command that becomes the daemon, like `prlimit --nofile=256`.
    pub prefix: Vec<String>,
    /// Where it keeps its state. Default: `.karez` in its folder.
    pub data: Option<PathBuf>,
}

impl Launch {
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// In place of one of the same name.
    pub fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.environment.push((name.into(), value.into()));
    }

    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// The whole command line but for its first word.
    pub(crate) fn line(&self, fixed: &[&str]) -> Vec<OsString> {
        let mut line: Vec<OsString> = fixed.iter().map(OsString::from).collect();
        if let Some(data) = &self.data {
            line.push("--data-dir".into());
            line.push(data.into());
        }
        line.extend(self.arguments.iter().map(OsString::from));
        line
    }
}
