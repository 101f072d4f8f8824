//! AMQP 0-9-1 (RabbitMQ): a queue as source, an exchange or queue as sink.
//!
//! Nothing here reconnects or retries, and lapin's own recovery stays off: a lost session is
//! reported and the engine opens another.

mod ack;
mod client;
mod declare;
mod message;
mod publish;
mod sink;
mod source;

use karez_api::Component;

/// The components of this crate.
#[must_use]
pub fn components() -> Vec<Component> {
    vec![Component::source::<source::AmqpSource>(), Component::sink::<sink::AmqpSink>()]
}
