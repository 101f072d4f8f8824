//! The far end of an http sink: notes each request before it answers, and answers as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use serde_json::Value as Json;

use crate::eventually;
use crate::server::{Answers, Seen, Server, Told};

/// How a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Status(u16),
    /// With this as its body.
    Json(u16, Json),
    /// With these headers and this body.
    Whole(u16, Vec<(&'static str, String)>, String),
    /// Seconds in `Retry-After`.
    RetryAfter(u16, u64),
    /// This in `Retry-After`.
    Told(u16, &'static str),
    /// Not at all, until the receiver is told otherwise.
    Hang,
    /// Not at all: the connection ends.
    Cut,
}

impl Reply {
    pub(crate) fn told(self) -> Told {
        match self {
            Self::Status(status) => Told::whole(status, &[], &[]),
            Self::Json(status, body) => {
                let kind = ("Content-Type", "application/json".to_owned());
                Told::whole(status, &[kind], body.to_string().as_bytes())
            }
            Self::Whole(status, headers, body) => Told::whole(status, &headers, body.as_bytes()),
            Self::RetryAfter(status, seconds) => {
                Told::whole(status, &[("Retry-After", seconds.to_string())], &[])
            }
            Self::Told(status, wait) => Told::whole(status, &[("Retry-After", wait.to_owned())], &[]),
            Self::Hang | Self::Cut => Told::Nothing,
        }
    }
}

type Rule = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

struct State {
    seen: Vec<(Seen, Reply)>,
    rule: Rule,
    /// Grows with each change of the rule.
    changes: u64,
    accepting: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// An HTTP server of a test's own.
pub struct Receiver {
    shared: Arc<Shared>,
    server: Server,
}

impl Receiver {
    /// Answers 200.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|_| Reply::Status(200))
    }

    #[must_use]
    pub fn start_with(rule: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let state = State { seen: Vec::new(), rule: Arc::new(rule), changes: 0, accepting: true };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        Self { server: Server::start(Arc::clone(&shared) as _), shared }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Like `http://127.0.0.1:4711/path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// From now on, also for requests that hang.
    pub fn answer(&self, rule: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        let mut state = self.state();
        state.rule = Arc::new(rule);
        state.changes += 1;
        self.shared.changed.notify_all();
    }

    /// Ends all connections and refuses new ones.
    pub fn refuse(&mut self) {
        self.let_go();
        self.server.refuse();
    }

    /// Nobody waits for an answer any more.
    fn let_go(&self) {
        let mut state = self.state();
        state.accepting = false;
        state.changes += 1;
        self.shared.changed.notify_all();
    }

    /// Accepts again where it did before.
    ///
    /// # Panics
    /// Somebody else took the port.
    pub fn accept(&mut self) {
        self.state().accepting = true;
        self.server.accept();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// All requests, in the order in which they arrived.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.iter().map(|(seen, _)| seen.clone()).collect()
    }

    /// The requests that were answered with 200.
    #[must_use]
    pub fn taken(&self) -> Vec<Seen> {
        let state = self.state();
        let taken = state.seen.iter().filter(|(_, reply)| *reply == Reply::Status(200));
        taken.map(|(seen, _)| seen.clone()).collect()
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.state().seen.len()
    }

    /// Waits for so many requests in all.
    ///
    /// # Panics
    /// They do not come.
    #[track_caller]
    pub fn sees(&self, count: usize) -> Vec<Seen> {
        eventually("the receiver sees more requests", || self.count() >= count);
        self.seen()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Answers for Shared {
    /// Notes the request, then decides.
    fn answer(&self, mut seen: Seen) -> Told {
        let mut state = self.state.lock().unwrap();
        let index = state.seen.len();
        seen.number = index;
        state.seen.push((seen.clone(), Reply::Hang));
        loop {
            let reply = (state.rule)(&seen);
            state.seen[index].1 = reply.clone();
            if reply != Reply::Hang {
                drop(state);
                return reply.told();
            }
            let changes = state.changes;
            while state.changes == changes {
                state = self.changed.wait(state).unwrap();
            }
            if !state.accepting {
                return Told::Nothing;
            }
        }
    }
}
