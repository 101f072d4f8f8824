//! Shows each event in an API that karez asks each second: what is visible there is karez's to read.

use std::net::SocketAddr;
use std::sync::Arc;

use karez_tests::ApiServer;

use super::{Producer, Sender};
use crate::{Event, Fate};

/// Events in a page.
const PAGE: usize = 20;

/// The events in the order in which they became visible, paged by a cursor, narrowed by their number.
pub struct Api {
    server: Arc<ApiServer>,
    /// Where karez is told to ask in place of the API itself.
    through: Option<SocketAddr>,
    /// Engine keys of the source, each with a comma before it.
    keys: String,
}

impl Default for Api {
    fn default() -> Self {
        Self::new()
    }
}

impl Api {
    #[must_use]
    pub fn new() -> Self {
        let server = ApiServer::start();
        server.pages_of(PAGE);
        let keys = ", schedule: {every: 1s}, retry: {initial: 20ms, max_wait: 200ms}".into();
        Self { server: Arc::new(server), through: None, keys }
    }

    /// Karez asks there: a proxy before the API.
    #[must_use]
    pub fn through(self, address: SocketAddr) -> Self {
        Self { through: Some(address), ..self }
    }

    /// With more engine keys of the source, like `, timeout: 1s`.
    #[must_use]
    pub fn with_keys(self, keys: &str) -> Self {
        Self { keys: self.keys + keys, ..self }
    }

    /// What is asked, to misbehave as a case wants.
    #[must_use]
    pub fn server(&self) -> &Arc<ApiServer> {
        &self.server
    }
}

impl Producer for Api {
    fn name(&self) -> &'static str {
        "api"
    }

    fn source(&self) -> String {
        let address = self.through.unwrap_or_else(|| self.server.address());
        format!(
            "http: {{url: \"http://{address}\", path: /cursor/events, query: {{from: \"{{{{window.from}}}}\"}}, \
             records: $.items, key: [id], page: {{cursor: $.next, into: query.cursor}}, \
             incremental: {{cursor: $.number, start: 1, format: integer, order: asc}}}}{}",
            self.keys
        )
    }

    fn sender(&self, _number: u16) -> Box<dyn Sender> {
        Box::new(Show(Arc::clone(&self.server)))
    }
}

struct Show(Arc<ApiServer>);

impl Sender for Show {
    fn attempt(&mut self, event: &Event) -> Fate {
        let Ok(body) = event.body.parse() else { return Fate::Refused };
        self.0.show("events", body);
        Fate::Acked
    }
}
