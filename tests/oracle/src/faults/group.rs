//! Less memory or processor than a process would like, by control groups (version 1, or 2 where that is mounted).

use std::path::{Path, PathBuf};

/// A group of its own, which goes with this value.
pub struct Group(PathBuf);

impl Group {
    /// So many bytes of memory.
    ///
    /// # Errors
    /// This machine or this user cannot.
    pub fn memory(bytes: u64) -> Result<Self, String> {
        Self::make("memory", "memory.limit_in_bytes", &bytes.to_string())
    }

    /// So many of 100,000 parts of one processor.
    ///
    /// # Errors
    /// This machine or this user cannot.
    pub fn processor(share: u32) -> Result<Self, String> {
        Self::make("cpu", "cpu.cfs_quota_us", &share.to_string())
    }

    fn make(kind: &str, file: &str, limit: &str) -> Result<Self, String> {
        let root = Path::new("/sys/fs/cgroup").join(kind);
        if !root.exists() {
            return Err(format!("no {}", root.display()));
        }
        let folder = root.join(format!("karez-oracle-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let group = Self(folder);
        std::fs::write(group.0.join(file), limit).map_err(|error| error.to_string())?;
        Ok(group)
    }

    /// # Panics
    /// The process does not go in.
    pub fn take(&self, pid: u32) {
        std::fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// # Panics
    /// The process does not go out.
    pub fn release(&self, pid: u32) {
        let above = self.0.parent().unwrap_or(&self.0).join("cgroup.procs");
        std::fs::write(above, pid.to_string()).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever is still in it goes up; a group with a process in it stays.
        for pid in std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let above = self.0.parent().unwrap_or(&self.0).join("cgroup.procs");
            std::fs::write(above, pid).ok();
        }
        std::fs::remove_dir(&self.0).ok();
    }
}
