//! System calls that fail or take long, by `strace`, which can be put on a running process and taken off.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use karez_tests::eventually;
use rustix::process::{Pid, Signal, kill_process};

use super::{Injector, tool};

/// Errors and delays of system calls.
pub const STRACE: Injector = Injector { name: "strace", probe: probe_strace };

fn probe_strace() -> Result<(), String> {
    tool("strace")?;
    let mut sleeper = Command::new("sleep").arg("30").spawn().map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let attached =
        Trace::attach(sleeper.id(), "nanosleep,clock_nanosleep", "delay_enter=1", &folder.path().join("log"));
    let works = attached.map(Trace::detach);
    sleeper.kill().ok();
    sleeper.wait().ok();
    works
}

/// `strace` on a process, until it is taken off.
pub struct Trace {
    strace: Child,
    log: PathBuf,
}

impl Trace {
    /// Injects `what`, like `error=EIO` or `delay_enter=200000:when=3+`, into these system calls.
    ///
    /// # Errors
    /// It cannot be put on.
    pub fn attach(pid: u32, calls: &str, what: &str, log: &Path) -> Result<Self, String> {
        let said = log.with_extension("said");
        let stderr = std::fs::File::create(&said).map_err(|error| error.to_string())?;
        let mut strace = Command::new("strace")
            .args(["-f", "-p", &pid.to_string(), "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:{what}"), "-o"])
            .arg(log)
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(|error| error.to_string())?;
        eventually("strace is on", || {
            let text = std::fs::read_to_string(&said).unwrap_or_default();
            text.contains("attached") || strace.try_wait().unwrap().is_some()
        });
        if strace.try_wait().unwrap().is_some() {
            return Err(std::fs::read_to_string(&said).unwrap_or_default());
        }
        Ok(Self { strace, log: log.to_owned() })
    }

    /// System calls that were tampered with so far.
    #[must_use]
    pub fn injected(&self) -> u64 {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .filter(|line| line.contains("(INJECTED)") || line.contains("(DELAYED)"))
            .count() as u64
    }

    /// Takes it off; the process goes on as if nothing had been.
    pub fn detach(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.strace.try_wait().unwrap().is_some() {
            return;
        }
        let pid = Pid::from_raw(self.strace.id().cast_signed()).unwrap();
        kill_process(pid, Signal::INT).ok();
        for _ in 0..500 {
            if self.strace.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.strace.kill().ok();
        self.strace.wait().ok();
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.end();
    }
}
