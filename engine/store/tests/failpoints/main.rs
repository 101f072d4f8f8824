//! The store with failing parts. Run by `cargo test -p karez-store --features failpoints`.

#[cfg(test)]
mod failures;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;
