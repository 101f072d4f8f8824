//! What is needed to find out why nothing moves, kept beside the daemon's folder.

use std::path::Path;
use std::process::Command;

use karez_tests::{Daemon, Request, send};

/// Writes status, metrics and the stacks of all threads into `folder/stuck`.
pub fn evidence(daemon: &Daemon, folder: &Path) {
    let at = folder.join("stuck");
    std::fs::create_dir_all(&at).ok();
    let keep = |name: &str, text: Vec<u8>| drop(std::fs::write(at.join(name), text));
    if let Ok(status) = daemon.ask("GET", "status") {
        keep("status.json", status.body);
    }
    if let Ok(metrics) = send(daemon.admin(), &Request::get("/metrics")) {
        keep("metrics.txt", metrics.body);
    }
    let pid = daemon.running().map(|pid| pid.to_string());
    let stacks = pid.and_then(|pid| {
        Command::new("timeout")
            .args(["60", "gdb", "-p", &pid, "-batch", "-ex", "thread apply all bt"])
            .output()
            .ok()
    });
    if let Some(stacks) = stacks {
        keep("threads.txt", stacks.stdout);
    }
}
