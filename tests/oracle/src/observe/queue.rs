//! Takes what karez published out of a queue; `message_id` tells one effect from another.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use karez_tests::rabbit::{AT_ONCE, Look};

use super::{Observer, Sighting};
use crate::produce::{Rabbit, at};

/// A queue at a broker, with notes.
pub struct QueueReader {
    broker: Rabbit,
    queue: String,
    look: Option<Look>,
    /// Where karez is told to publish in place of the broker itself.
    through: Option<SocketAddr>,
    file: File,
    taken: Vec<Sighting>,
}

impl QueueReader {
    /// # Panics
    /// The broker does not answer, or the log cannot be made.
    #[must_use]
    pub fn new(broker: &Rabbit, queue: &str, log: &Path) -> Self {
        broker.lock().unwrap().look().queue(queue);
        let file = File::create(log).unwrap();
        Self {
            broker: broker.clone(),
            queue: queue.into(),
            look: None,
            through: None,
            file,
            taken: Vec::new(),
        }
    }

    /// Karez publishes there: a proxy before the broker.
    #[must_use]
    pub fn through(self, address: SocketAddr) -> Self {
        Self { through: Some(address), ..self }
    }

    /// A broker that is down has nothing to say now.
    fn take(&mut self) {
        if self.look.is_none() {
            let url = self.broker.lock().unwrap().url();
            self.look = Look::at(&url).ok();
        }
        let Some(look) = &self.look else { return };
        loop {
            let Ok(messages) = look.try_take(&self.queue) else {
                self.look = None;
                return;
            };
            let more = messages.len() == AT_ONCE;
            for (id, body) in messages {
                writeln!(self.file, "{id} {}", String::from_utf8_lossy(&body)).unwrap();
                self.taken.push(Sighting { body, key: Some(id) });
            }
            if !more {
                return;
            }
        }
    }
}

impl Observer for QueueReader {
    fn name(&self) -> &'static str {
        "amqp"
    }

    fn sink(&self) -> String {
        let url = at(&self.broker, self.through);
        format!("amqp: {{url: \"{url}\", queue: {}, declare: {{}}}}", self.queue)
    }

    fn place(&self) -> String {
        self.queue.clone()
    }

    fn progress(&mut self) -> u64 {
        self.take();
        self.taken.len() as u64
    }

    fn sightings(&mut self) -> Vec<Sighting> {
        self.take();
        self.taken.clone()
    }
}
