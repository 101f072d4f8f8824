//! A disk of a case's own, whose power can be cut: a file system in a loop file. The cut drops what was
//! written and never synced; what a drive's own cache or a torn block would do it does not show.
//! Without a journal the names that nobody synced are in the kernel's cache of the device, which `umount` would
//! write: there the cut is a copy of the loop file, with which the disk goes on.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Injector, tool};

/// What is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    Xfs,
    /// ext4 without a journal: a sync of one file carries no other's name along.
    Unjournaled,
}

/// Power cuts on ext4 and XFS.
pub const POWER: Injector = Injector { name: "power cut", probe: probe_power };

fn probe_power() -> Result<(), String> {
    for name in ["losetup", "mkfs.ext4", "mkfs.xfs", "e2fsck", "mount", "umount", "xfs_io"] {
        tool(name)?;
    }
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut disk = Disk::make(folder.path(), FileSystem::Ext4, 64)?;
    disk.cut()?;
    disk.mend()
}

/// A mounted disk; unmounted when it goes.
pub struct Disk {
    image: PathBuf,
    device: String,
    mount: PathBuf,
    kind: FileSystem,
    mounted: bool,
}

impl Disk {
    /// A new one, of so many MiB (XFS takes 320 at least).
    ///
    /// # Errors
    /// This machine or this user cannot.
    pub fn make(folder: &Path, kind: FileSystem, mebibytes: u64) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let (image, mount) = (folder.join("disk.img"), folder.join("disk"));
        std::fs::create_dir_all(&mount).map_err(|error| error.to_string())?;
        let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(mebibytes << 20).map_err(|error| error.to_string())?;
        match kind {
            FileSystem::Ext4 => ran(Command::new("mkfs.ext4").arg("-qF").arg(&image))?,
            FileSystem::Unjournaled => {
                ran(Command::new("mkfs.ext4").args(["-qF", "-O", "^has_journal"]).arg(&image))?
            }
            FileSystem::Xfs => ran(Command::new("mkfs.xfs").arg("-q").arg(&image))?,
        };
        let device = ran(Command::new("losetup").args(["--show", "-f"]).arg(&image))?.trim().to_owned();
        let mut disk = Self { image, device, mount, kind, mounted: false };
        disk.attach()?;
        Ok(disk)
    }

    fn attach(&mut self) -> Result<(), String> {
        ran(Command::new("mount").arg(&self.device).arg(&self.mount))?;
        self.mounted = true;
        Ok(())
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Cuts the power. Whoever has files open there still runs, and only gets errors.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn cut(&self) -> Result<(), String> {
        ran(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&self.mount))?;
        if self.kind == FileSystem::Unjournaled {
            ran(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(self.copy()))?;
        }
        Ok(())
    }

    fn copy(&self) -> PathBuf {
        self.image.with_extension("cut")
    }

    /// Power is back, and the file system as it is after that. Nobody may have files open there.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn mend(&mut self) -> Result<(), String> {
        ran(Command::new("umount").arg(&self.mount))?;
        self.mounted = false;
        if self.kind == FileSystem::Unjournaled {
            ran(Command::new("losetup").arg("-d").arg(&self.device))?;
            std::fs::rename(self.copy(), &self.image).map_err(|error| error.to_string())?;
            self.device =
                ran(Command::new("losetup").args(["--show", "-f"]).arg(&self.image))?.trim().to_owned();
            // It ends with 1 where it mended something.
            let mended = Command::new("e2fsck").args(["-fy"]).arg(&self.device).output();
            let mended = mended.map_err(|error| error.to_string())?;
            if !matches!(mended.status.code(), Some(0 | 1)) {
                return Err(String::from_utf8_lossy(&mended.stdout).into_owned());
            }
        }
        self.attach()
    }

    /// Fills it but for so many bytes.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn fill(&self, left: u64) {
        let space = rustix::fs::statvfs(&self.mount).unwrap();
        let take = (space.f_bavail * space.f_frsize).saturating_sub(left);
        let filler = std::fs::File::create(self.mount.join("filler")).unwrap();
        // Blocks are taken, not written.
        if let Err(error) = rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), 0, take) {
            assert_eq!(error, rustix::io::Errno::NOSPC, "{error}");
        }
    }

    /// # Panics
    /// It is not filled.
    pub fn make_room(&self) {
        std::fs::remove_file(self.mount.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            Command::new("umount").arg("-l").arg(&self.mount).status().ok();
        }
        Command::new("losetup").arg("-d").arg(&self.device).status().ok();
        std::fs::remove_file(&self.image).ok();
    }
}

/// What a command said, if it was content.
pub(super) fn ran(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{}: {}", command.get_program().display(), String::from_utf8_lossy(&output.stderr).trim()))
}
