//! The far end of an http sink: notes each request before it answers, and answers as it is told.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value as Json;

use crate::http::{read_body, read_head, value};
use crate::{eventually, found};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its place among all requests, from 0.
    pub number: usize,
    pub at: Instant,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }
    /// # Panics
    /// The body is not JSON.
    #[must_use]
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap()
    }
    /// The number in the field `id` of the body.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.json()["id"].as_u64().unwrap()
    }
}

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

type Rule = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

struct State {
    seen: Vec<(Seen, Reply)>,
    rule: Rule,
    /// Grows with each change of the rule.
    changes: u64,
    accepting: bool,
    /// Connections by their far end.
    open: HashMap<SocketAddr, TcpStream>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// An HTTP server of a test's own.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Answers 200.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|_| Reply::Status(200))
    }

    #[must_use]
    pub fn start_with(rule: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = State {
            seen: Vec::new(),
            rule: Arc::new(rule),
            changes: 0,
            accepting: true,
            open: HashMap::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let mut receiver = Self { address: listener.local_addr().unwrap(), shared, listening: None };
        receiver.listen(listener);
        receiver
    }

    fn listen(&mut self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        self.listening = Some(std::thread::spawn(move || shared.accept(&listener)));
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Like `http://127.0.0.1:4711/path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on, also for requests that hang.
    pub fn answer(&self, rule: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        let mut state = self.state();
        state.rule = Arc::new(rule);
        state.changes += 1;
        self.shared.changed.notify_all();
    }

    /// Ends all connections and refuses new ones.
    ///
    /// # Panics
    /// It does so already.
    pub fn refuse(&mut self) {
        {
            let mut state = self.state();
            state.accepting = false;
            state.changes += 1;
            state.open.drain().for_each(|(_, stream)| drop(stream.shutdown(Shutdown::Both)));
            self.shared.changed.notify_all();
        }
        // Wakes the listener, which then finds that it is not wanted any more.
        TcpStream::connect(self.address).ok();
        self.listening.take().unwrap().join().unwrap();
    }

    /// Accepts again where it did before.
    ///
    /// # Panics
    /// Somebody else took the port.
    pub fn accept(&mut self) {
        self.state().accepting = true;
        let listener = found("the port is free", || TcpListener::bind(self.address).ok());
        self.listen(listener);
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
        if self.listening.is_some() {
            self.refuse();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let (stream, from) = listener.accept().unwrap();
            let mut state = self.state.lock().unwrap();
            if !state.accepting {
                return;
            }
            state.open.insert(from, stream.try_clone().unwrap());
            let shared = Arc::clone(self);
            // It ends with its connection.
            std::thread::spawn(move || {
                shared.serve(stream).ok();
                let stream = shared.state.lock().unwrap().open.remove(&from);
                stream.map(|stream| stream.shutdown(Shutdown::Both).ok())
            });
        }
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some((first, headers)) = read_head(&mut reader)? {
            let body = read_body(&mut reader, &headers)?;
            let mut words = first.split(' ').map(str::to_owned);
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let seen = Seen { number: 0, at: Instant::now(), method, path, headers, body };
            let Some(reply) = self.reply(seen) else { return Ok(()) };
            let (status, more, body) = match reply {
                Reply::RetryAfter(status, seconds) => {
                    (status, format!("Retry-After: {seconds}\r\n"), String::new())
                }
                Reply::Told(status, wait) => (status, format!("Retry-After: {wait}\r\n"), String::new()),
                Reply::Status(status) => (status, String::new(), String::new()),
                Reply::Json(status, body) => {
                    (status, "Content-Type: application/json\r\n".into(), body.to_string())
                }
                Reply::Whole(status, headers, body) => {
                    let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
                    (status, lines.collect(), body)
                }
                Reply::Hang | Reply::Cut => return Ok(()),
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} As Told\r\nContent-Length: {length}\r\n{more}\r\n{body}");
            reader.get_mut().write_all(answer.as_bytes())?;
        }
        Ok(())
    }

    /// Notes the request, then decides; `None` once the connection is not wanted any more.
    fn reply(&self, mut seen: Seen) -> Option<Reply> {
        let mut state = self.state.lock().unwrap();
        let index = state.seen.len();
        seen.number = index;
        state.seen.push((seen.clone(), Reply::Hang));
        loop {
            let reply = (state.rule)(&seen);
            state.seen[index].1 = reply.clone();
            if reply != Reply::Hang {
                return Some(reply);
            }
            let changes = state.changes;
            while state.changes == changes {
                state = self.changed.wait(state).unwrap();
            }
            if !state.accepting {
                return None;
            }
        }
    }
}
