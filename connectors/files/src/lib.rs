//! Connectors that need nothing but this machine: files, standard input and output, and
//! records made up by count or by the clock.
//!
//! Nothing here retries, waits by itself or decides what a failure means for a record.

mod generate;
mod random;
mod schedule;
mod source;
mod stdin;

mod blackhole;
mod sink;
mod stdout;

#[cfg(test)]
mod testing;

use karez_api::Component;

pub use source::whole::{Layout, Piece, cut};

/// The components of this crate, in the order of the reference.
#[must_use]
pub fn components() -> Vec<Component> {
    vec![
        Component::source::<source::Files>(),
        Component::source::<stdin::Stdin>(),
        Component::source::<generate::Generate>(),
        Component::source::<schedule::Schedule>(),
        Component::sink::<sink::Files>(),
        Component::sink::<stdout::Stdout>(),
        Component::sink::<blackhole::Blackhole>(),
    ]
}
