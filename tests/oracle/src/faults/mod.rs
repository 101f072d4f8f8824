//! What is done to karez and its surroundings. Each injector can say whether it works on this machine: one
//! that does not is a skip with its reason.

mod disk;
pub mod fiu;
mod group;
pub mod names;
mod process;
mod proxy;
mod trace;

use std::process::{Command, Stdio};

pub use disk::{Disk, FileSystem, POWER};
pub use group::Group;
pub use process::{pause_between, stands_still};
pub use proxy::{Answers, FAULTS, Proxy};
pub use trace::{STRACE, Trace};

/// A tool that a case needs.
pub struct Injector {
    pub name: &'static str,
    /// Whether it works here.
    pub probe: fn() -> Result<(), String>,
}

/// The build with crash points and planted bugs.
pub const FAILPOINTS: Injector = Injector { name: "the test build", probe: probe_failpoints };

fn probe_failpoints() -> Result<(), String> {
    let binary = crate::run::Build::Failpoints.binary();
    let how = "cargo build -p karez --features failpoints, then copy karez to karez-failpoints beside it";
    if binary.exists() { Ok(()) } else { Err(format!("no {}: {how}", binary.display())) }
}

/// The library that gives a process another clock.
pub const FAKETIME_LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Clocks that jump.
pub const FAKETIME: Injector = Injector { name: "libfaketime", probe: probe_faketime };

fn probe_faketime() -> Result<(), String> {
    let there = std::path::Path::new(FAKETIME_LIBRARY).exists();
    if there { Ok(()) } else { Err(format!("no {FAKETIME_LIBRARY}")) }
}

/// Whether a program is there.
fn tool(name: &str) -> Result<(), String> {
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).stdout(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("no {name} here")),
    }
}
