//! A TCP proxy that goes wrong as it is told: it cuts, slices, delays, swallows answers, or stands still
//! without a word. Counts what it did.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::Seed;

/// What happens to a connection, at some byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It ends before anything is passed on.
    CutBefore,
    /// It ends in the middle of what the client says.
    CutRequest,
    /// What the client said arrives, and it ends with the first byte of the answer.
    CutAnswer,
    /// It ends in the middle of an answer.
    CutInAnswer,
    /// It ends right after an answer.
    CutAfter,
    /// It arrives in pieces.
    Slice,
    /// It arrives late, each time by another while.
    Delay,
}

/// Bytes of a client after its fault, before a connection ends.
const LIFE: u64 = 8_000;

/// All of them.
pub const FAULTS: [Fault; 7] = [
    Fault::CutBefore,
    Fault::CutRequest,
    Fault::CutAnswer,
    Fault::CutInAnswer,
    Fault::CutAfter,
    Fault::Slice,
    Fault::Delay,
];

struct Shared {
    to: SocketAddr,
    /// Of a hundred connections, how many go wrong.
    share: AtomicU64,
    /// Nothing moves, nothing ends.
    frozen: AtomicBool,
    /// Answers are taken and never passed on.
    swallowing: AtomicBool,
    closed: AtomicBool,
    fired: Mutex<BTreeMap<String, u64>>,
    random: Mutex<SmallRng>,
}

/// A proxy before one address.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Passes everything on, until it is told otherwise.
    ///
    /// # Panics
    /// It cannot listen.
    #[must_use]
    pub fn start(to: SocketAddr, seed: Seed) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            to,
            share: AtomicU64::new(0),
            frozen: AtomicBool::new(false),
            swallowing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            fired: Mutex::default(),
            random: Mutex::new(seed.of("proxy").random()),
        });
        let proxy = Self { address: listener.local_addr().unwrap(), shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, Ok(stream)) = (Arc::clone(&shared), stream) else { continue };
                // It ends with its connection.
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        proxy
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// So many of a hundred new connections go wrong in some way.
    pub fn hurt(&self, share: u64) {
        self.shared.share.store(share, Ordering::SeqCst);
    }

    /// A silent partition, until it is thawed.
    pub fn freeze(&self) {
        self.shared.note("silence");
        self.shared.frozen.store(true, Ordering::SeqCst);
    }

    pub fn thaw(&self) {
        self.shared.frozen.store(false, Ordering::SeqCst);
    }

    /// Whether answers are lost from now on.
    pub fn swallow(&self, answers: Answers) {
        self.shared.swallowing.store(answers == Answers::Lost, Ordering::SeqCst);
    }

    /// Everything passes again, what is open goes on.
    pub fn heal(&self) {
        self.hurt(0);
        self.swallow(Answers::Passed);
        self.thaw();
    }

    /// How often each fault happened.
    #[must_use]
    pub fn fired(&self) -> BTreeMap<String, u64> {
        self.shared.fired.lock().unwrap().clone()
    }
}

/// What becomes of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    Passed,
    Lost,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.heal();
        self.shared.closed.store(true, Ordering::SeqCst);
        TcpStream::connect(self.address).ok();
    }
}

/// A connection and what is to happen to it.
struct Session {
    fault: Option<Fault>,
    /// Bytes of the client after which it happens.
    after: u64,
    said: AtomicU64,
    client: TcpStream,
    server: TcpStream,
}

impl Session {
    fn end(&self) {
        self.client.shutdown(Shutdown::Both).ok();
        self.server.shutdown(Shutdown::Both).ok();
    }
}

impl Shared {
    fn note(&self, what: &str) {
        *self.fired.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    fn draw(&self) -> (Option<Fault>, u64) {
        let mut random = self.random.lock().unwrap();
        let hurts = random.random_range(0..100) < self.share.load(Ordering::SeqCst);
        let fault = hurts.then(|| FAULTS[random.random_range(0..FAULTS.len())]);
        (fault, random.random_range(1..3_000))
    }

    fn serve(self: &Arc<Self>, client: TcpStream) {
        self.stand_still();
        let (fault, after) = self.draw();
        if fault == Some(Fault::CutBefore) {
            self.note("CutBefore");
            return;
        }
        let Ok(server) = TcpStream::connect(self.to) else { return };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { return };
        let session = Arc::new(Session { fault, after, said: AtomicU64::new(0), client, server });
        let (shared, other) = (Arc::clone(self), Arc::clone(&session));
        let answers = std::thread::spawn(move || shared.answers(from_server, &other));
        self.requests(from_client, &session);
        answers.join().ok();
    }

    fn stand_still(&self) {
        while self.frozen.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn requests(&self, mut from: TcpStream, session: &Session) {
        let mut block = vec![0; 16 << 10];
        while let Ok(read) = from.read(&mut block)
            && read > 0
        {
            self.stand_still();
            let before = session.said.fetch_add(read as u64, Ordering::SeqCst);
            let mut part = &block[..read];
            let due = before + read as u64 > session.after;
            if due && session.fault == Some(Fault::CutRequest) {
                part = &part
                    [..usize::try_from(session.after.saturating_sub(before)).unwrap_or_default().min(read)];
                (&session.server).write_all(part).ok();
                self.note("CutRequest");
                break;
            }
            if self.pass(part, &session.server, session, due).is_err() {
                break;
            }
        }
        session.end();
    }

    /// Connections are kept open by both sides: after a while each is ended behind an answer, so that others meet
    /// other faults.
    fn is_old(&self, session: &Session) -> bool {
        let hurting = self.share.load(Ordering::SeqCst) > 0;
        (hurting || session.fault.is_some()) && session.said.load(Ordering::SeqCst) > session.after + LIFE
    }

    fn answers(&self, mut from: TcpStream, session: &Session) {
        let mut block = vec![0; 16 << 10];
        while let Ok(read) = from.read(&mut block)
            && read > 0
        {
            self.stand_still();
            if self.swallowing.load(Ordering::SeqCst) {
                self.note("swallowed answer");
                continue;
            }
            let due = session.said.load(Ordering::SeqCst) > session.after;
            let part = match session.fault {
                Some(Fault::CutAnswer) if due => &block[..0],
                Some(Fault::CutInAnswer) if due => &block[..read / 2],
                _ => &block[..read],
            };
            if self.pass(part, &session.client, session, due).is_err() {
                break;
            }
            if due && matches!(session.fault, Some(Fault::CutAnswer | Fault::CutInAnswer | Fault::CutAfter)) {
                self.note(&format!("{:?}", session.fault.unwrap_or(Fault::CutAfter)));
                break;
            }
            if self.is_old(session) {
                break;
            }
        }
        session.end();
    }

    fn pass(&self, part: &[u8], mut to: &TcpStream, session: &Session, due: bool) -> std::io::Result<()> {
        match session.fault {
            Some(Fault::Slice) if due => {
                self.note("Slice");
                let size = (part.len() / 10).max(20);
                part.chunks(size).try_for_each(|piece| {
                    std::thread::sleep(Duration::from_millis(1));
                    to.write_all(piece)
                })
            }
            Some(Fault::Delay) if due => {
                self.note("Delay");
                let while_ = self.random.lock().unwrap().random_range(1..60);
                std::thread::sleep(Duration::from_millis(while_));
                to.write_all(part)
            }
            _ => to.write_all(part),
        }
    }
}
