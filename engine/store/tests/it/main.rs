//! The store in processes and on disks of its own.

#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod kill;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;
