//! Publishes each event to a durable queue; what the broker has confirmed is karez's to take.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use karez_tests::rabbit::{Broker, Look};

use super::{Producer, Sender};
use crate::{Event, Fate};

/// A broker that all who use it share, and may kill.
pub type Rabbit = Arc<Mutex<Broker>>;

/// A queue at a broker.
pub struct Queue {
    broker: Rabbit,
    name: String,
    /// Where karez is told to consume in place of the broker itself.
    through: Option<SocketAddr>,
}

/// The broker's address, or that of a proxy before it.
pub(crate) fn at(broker: &Rabbit, through: Option<SocketAddr>) -> String {
    let broker = broker.lock().unwrap();
    let url = broker.url();
    through.map_or(url.clone(), |through| url.replace(&broker.address().to_string(), &through.to_string()))
}

impl Queue {
    #[must_use]
    pub fn new(broker: &Rabbit, name: &str) -> Self {
        broker.lock().unwrap().look().queue(name);
        Self { broker: Arc::clone(broker), name: name.into(), through: None }
    }

    /// Karez consumes there: a proxy before the broker.
    #[must_use]
    pub fn through(self, address: SocketAddr) -> Self {
        Self { through: Some(address), ..self }
    }
}

impl Producer for Queue {
    fn name(&self) -> &'static str {
        "amqp"
    }

    fn source(&self) -> String {
        let url = at(&self.broker, self.through);
        format!("amqp: {{url: \"{url}\", queue: {}, declare: {{}}, prefetch: 50}}", self.name)
    }

    fn sender(&self, _number: u16) -> Box<dyn Sender> {
        Box::new(Publish { broker: Arc::clone(&self.broker), queue: self.name.clone(), look: None })
    }
}

struct Publish {
    broker: Rabbit,
    queue: String,
    look: Option<Look>,
}

impl Sender for Publish {
    fn attempt(&mut self, event: &Event) -> Fate {
        if self.look.is_none() {
            let url = self.broker.lock().unwrap().url();
            self.look = Look::at(&url).ok();
        }
        let Some(look) = &self.look else { return Fate::Refused };
        match look.try_publish(&self.queue, &event.id.to_string(), event.body.as_bytes()) {
            Ok(true) => Fate::Acked,
            Ok(false) => Fate::Refused,
            Err(_) => {
                self.look = None;
                Fate::Unknown
            }
        }
    }
}
