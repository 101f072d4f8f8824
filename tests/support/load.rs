//! Senders as real ones are: each tries an event again until it is acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use serde_json::json;

use crate::{Connection, Request, eventually};

/// Between two attempts of one sender.
const PAUSE: Duration = Duration::from_millis(20);

struct Shared {
    address: Mutex<SocketAddr>,
    path: String,
    stop: AtomicBool,
    next: AtomicU64,
    acknowledged: AtomicU64,
    /// Answers other than 200, by status; 0 where no answer came.
    refusals: Mutex<BTreeMap<u16, u64>>,
}

/// Senders at work.
pub struct Load {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

/// What was sent: events `{"id": n}` for all n below `count`, each acknowledged.
#[derive(Debug)]
pub struct Sent {
    pub count: u64,
    /// Answers other than 200, by status; 0 where no answer came.
    pub refusals: BTreeMap<u16, u64>,
}

impl Load {
    /// Sends without end, over so many connections.
    #[must_use]
    pub fn start(address: SocketAddr, path: &str, connections: usize) -> Self {
        let shared = Arc::new(Shared {
            address: Mutex::new(address),
            path: path.into(),
            stop: AtomicBool::new(false),
            next: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            refusals: Mutex::default(),
        });
        let sender = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.send())
        };
        let senders = (0..connections).map(sender).collect();
        Self { shared, senders }
    }

    /// The daemon listens elsewhere now.
    pub fn goes_to(&self, address: SocketAddr) {
        *self.shared.address.lock().unwrap() = address;
    }

    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Acquire)
    }

    /// Waits until so many more are acknowledged.
    ///
    /// # Panics
    /// They are not.
    #[track_caller]
    pub fn progresses(&self, more: u64) {
        let until = self.acknowledged() + more;
        eventually("more is acknowledged", || self.acknowledged() >= until);
    }

    /// Each sender finishes its event.
    ///
    /// # Panics
    /// A sender did.
    #[must_use]
    pub fn finish(self) -> Sent {
        self.shared.stop.store(true, Ordering::Release);
        for sender in self.senders {
            sender.join().unwrap();
        }
        let refusals = self.shared.refusals.lock().unwrap().clone();
        Sent { count: self.shared.acknowledged.load(Ordering::Acquire), refusals }
    }
}

impl Shared {
    fn send(&self) {
        let mut connection = None;
        while !self.stop.load(Ordering::Acquire) {
            let id = self.next.fetch_add(1, Ordering::AcqRel);
            while !self.attempt(&mut connection, id) {
                sleep(PAUSE);
            }
            self.acknowledged.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn attempt(&self, connection: &mut Option<Connection>, id: u64) -> bool {
        let request = Request::post(&self.path, json!({"id": id, "key": id % 10}));
        let address = *self.address.lock().unwrap();
        let answer = match connection.take() {
            Some(open) => Ok(open),
            None => Connection::open(address),
        };
        let answer = answer.and_then(|mut open| Ok((open.send(&request)?, open)));
        let status = answer.as_ref().map_or(0, |(answer, _)| answer.status);
        if let Ok((answer, open)) = answer
            && answer.header("connection") != Some("close")
        {
            *connection = Some(open);
        }
        if status != 200 {
            *self.refusals.lock().unwrap().entry(status).or_default() += 1;
        }
        status == 200
    }
}
