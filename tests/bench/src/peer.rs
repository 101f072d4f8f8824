//! Another program with the same job, timed beside karez: given as a command for `sh`, in a folder of its own.

use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{daemon, events};

/// A server that takes the signed events; it and what it started end when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts `command`, which finds in its environment where to listen (`BENCH_PORT`, on 127.0.0.1), on which path
    /// (`BENCH_PATH`), and the secret of the HMAC-SHA256 in hex in `x-signature` (`BENCH_SECRET`).
    pub(crate) fn start(command: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), daemon::free_port());
        let child = shell(command, folder.path())
            .env("BENCH_PORT", port.to_string())
            .env("BENCH_PATH", events::PATH)
            .env("BENCH_SECRET", events::SECRET)
            .spawn()
            .unwrap();
        let before = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(before.elapsed() < Duration::from_secs(60), "the peer does not listen on port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, port, _folder: folder }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            kill_process_group(group, Signal::KILL).ok();
        }
        self.child.wait().ok();
    }
}

/// Runs `command` to its end, which maps the records of the file `BENCH_IN` into the new file `BENCH_OUT`.
pub(crate) fn map(command: &str, input: &Path, output: &Path) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let before = Instant::now();
    let status =
        shell(command, folder.path()).env("BENCH_IN", input).env("BENCH_OUT", output).status().unwrap();
    let time = before.elapsed();
    assert!(status.success(), "the peer ended with {status}");
    time
}

fn shell(command: &str, folder: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0);
    shell
}
