//! The far ends of karez. Each notes what it sees before it answers; nothing is judged here.

mod files;
mod http;
mod queue;

pub use files::{FilesReader, lines_of};
pub use http::{Http, Manner, unwelcome};
pub use queue::QueueReader;

/// One time that an event arrived and took effect.
#[derive(Debug, Clone)]
pub struct Sighting {
    pub body: Vec<u8>,
    /// Sightings of one event with the same key are one effect at a receiver that heeds it; without a key each is
    /// one of its own.
    pub key: Option<String>,
}

/// A way out of karez. Another kind of sink is proven by writing one of these.
pub trait Observer: Send {
    fn name(&self) -> &'static str;
    /// The `sink:` of a pipeline that delivers here, on one line, engine keys left out.
    fn sink(&self) -> String;
    /// Engine keys of that sink, each with a comma before it.
    fn keys(&self) -> String {
        ", retry: {initial: 20ms, max_wait: 200ms}".into()
    }
    /// Grows with what arrives; cheap to ask.
    fn progress(&mut self) -> u64;
    /// Everything so far, in the order of arrival.
    fn sightings(&mut self) -> Vec<Sighting>;
    /// The queue, file or address behind it.
    fn place(&self) -> String {
        self.sink()
    }
    /// Behaves well from now on.
    fn heal(&mut self) {}
}
