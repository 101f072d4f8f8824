//! Brings what runs in line with what the files say: one pass at a time, pipelines in parallel,
//! and whatever goes wrong leaves the last good version running.

mod change;
mod manager;
mod order;
#[cfg(test)]
mod tests;

pub(crate) use manager::{Manager, Pass, Report, Surroundings};
