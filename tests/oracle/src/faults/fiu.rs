//! System calls that fail by chance, by `libfiu`, which is told while the process runs.

use std::path::Path;
use std::process::Command;

use karez_tests::Launch;

use super::disk::ran;
use super::{Injector, tool};

const LIBRARIES: [&str; 2] = ["/usr/lib/fiu/fiu_run_preload.so", "/usr/lib/fiu/fiu_posix_preload.so"];

/// Failures by chance.
pub const LIBFIU: Injector = Injector { name: "libfiu", probe: probe_fiu };

fn probe_fiu() -> Result<(), String> {
    tool("fiu-ctrl")?;
    let missing = LIBRARIES.into_iter().find(|library| !Path::new(library).exists());
    missing.map_or(Ok(()), |library| Err(format!("no {library}")))
}

/// A daemon that listens for what is to fail, on pipes in `folder`. Nothing fails yet.
pub fn listening(launch: &mut Launch, folder: &Path) {
    launch.set("LD_PRELOAD", &LIBRARIES.join(" "));
    launch.set("FIU_CTRL_FIFO", &folder.join("fiu").display().to_string());
}

/// From now on, so many of a hundred of these calls fail with `EIO`.
///
/// # Errors
/// The process does not listen.
pub fn fail(pid: u32, folder: &Path, calls: &str, share: u32) -> Result<(), String> {
    let order = format!("enable_random name={calls},probability=0.{share:02},failinfo=5");
    let pipes = folder.join(format!("fiu-{pid}"));
    ran(Command::new("timeout").args(["20", "fiu-ctrl", "-c", &order]).arg(pipes)).map(drop)
}
