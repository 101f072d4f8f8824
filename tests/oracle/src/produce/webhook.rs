//! Posts each event as a webhook: 200 is an acknowledgement, any other answer a refusal, silence neither.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use karez_tests::{Connection, Daemon, Request};

use super::{Producer, Sender};
use crate::{Event, Fate};

/// The open webhook `/NAME`.
pub struct Webhook {
    name: String,
    address: Arc<Mutex<Option<SocketAddr>>>,
    through: Option<SocketAddr>,
}

impl Webhook {
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), address: Arc::default(), through: None }
    }

    /// Senders post there: a proxy before the daemon, which must not start again elsewhere.
    #[must_use]
    pub fn through(self, address: SocketAddr) -> Self {
        *self.address.lock().unwrap() = Some(address);
        Self { through: Some(address), ..self }
    }
}

impl Producer for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn source(&self) -> String {
        format!(
            "webhook: {{path: /{}, verify: {{none: {{reason: test}}}}, delivery_id: $.id, max_body: 2MiB}}",
            self.name
        )
    }

    fn sender(&self, _number: u16) -> Box<dyn Sender> {
        let path = format!("/webhooks/{}", self.name);
        Box::new(Post { path, address: Arc::clone(&self.address), open: None })
    }

    fn follow(&self, daemon: &Daemon) {
        *self.address.lock().unwrap() = self.through.or(Some(daemon.ingress()));
    }

    fn gives_up(&self) -> bool {
        true
    }
}

struct Post {
    path: String,
    address: Arc<Mutex<Option<SocketAddr>>>,
    /// Kept open, and to where.
    open: Option<(SocketAddr, Connection)>,
}

impl Post {
    fn connection(&mut self) -> std::io::Result<(SocketAddr, Connection)> {
        let address = self.address.lock().unwrap().ok_or(std::io::ErrorKind::NotConnected)?;
        match self.open.take().filter(|(to, _)| *to == address) {
            Some(open) => Ok(open),
            None => Ok((address, Connection::open(address)?)),
        }
    }
}

impl Sender for Post {
    fn attempt(&mut self, event: &Event) -> Fate {
        // Nobody listens: nothing was sent.
        let Ok((address, mut connection)) = self.connection() else { return Fate::Refused };
        match connection.send(&Request::post(&self.path, &event.body)) {
            Ok(answer) => {
                if answer.header("connection") != Some("close") {
                    self.open = Some((address, connection));
                }
                if answer.status == 200 { Fate::Acked } else { Fate::Refused }
            }
            Err(_) => Fate::Unknown,
        }
    }
}
