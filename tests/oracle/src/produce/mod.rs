//! Senders as real ones are: many at once, each with a key of its own and one event on its way, which it
//! sends again until it is acknowledged (but gives a few up after silence, as real ones do).

mod api;
mod lines;
mod queue;
mod webhook;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use karez_tests::{Daemon, eventually};
use rand::RngExt as _;

use crate::{Event, Fate, Ledger, Maker};

pub use api::Api;
pub use lines::Lines;
pub(crate) use queue::at;
pub use queue::{Queue, Rabbit};
pub use webhook::Webhook;

/// A way into karez. Another kind of source is proven by writing one of these.
pub trait Producer: Send + Sync {
    fn name(&self) -> &'static str;
    /// The `source:` of a pipeline that takes what is sent, on one line.
    fn source(&self) -> String;
    /// One sender among several.
    fn sender(&self, number: u16) -> Box<dyn Sender>;
    /// The daemon has started, maybe elsewhere than before.
    fn follow(&self, _daemon: &Daemon) {}
    /// Senders of this kind give up after silence: their events may or may not be there.
    fn gives_up(&self) -> bool {
        false
    }
}

/// One connection of a producer.
pub trait Sender: Send {
    /// Sends once and waits for what comes of it.
    fn attempt(&mut self, event: &Event) -> Fate;
}

/// Between two attempts at one event.
const AGAIN: Duration = Duration::from_millis(20);
/// One in so many events is given up after silence.
const GIVEN_UP: u32 = 8;

/// How a load is sent.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub senders: u16,
    /// Between two events of one sender.
    pub pause: Duration,
    /// What a sender does after silence.
    pub silence: Silence,
}

/// What follows an attempt without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// As its kind does: some give up now and then.
    Natural,
    /// It is always tried again.
    TryAgain,
}

impl Default for Pace {
    fn default() -> Self {
        Self { senders: 4, pause: Duration::ZERO, silence: Silence::Natural }
    }
}

struct Shared {
    producer: Arc<dyn Producer>,
    ledger: Arc<Ledger>,
    maker: Maker,
    stop: AtomicBool,
    paused: AtomicBool,
    /// Senders that are in the middle of an event.
    busy: AtomicU32,
    /// The next number of each sender, kept over several loads.
    next: Mutex<Vec<u32>>,
}

/// Senders at work.
pub struct Load {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    #[must_use]
    pub fn start(
        producer: &Arc<dyn Producer>,
        ledger: &Arc<Ledger>,
        maker: &Maker,
        next: &[u32],
        pace: Pace,
    ) -> Self {
        let mut numbers = next.to_vec();
        numbers.resize(usize::from(pace.senders), 0);
        let shared = Arc::new(Shared {
            producer: Arc::clone(producer),
            ledger: Arc::clone(ledger),
            maker: maker.clone(),
            stop: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            busy: AtomicU32::new(0),
            next: Mutex::new(numbers),
        });
        let sender = |number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.send(number, pace))
        };
        Self { senders: (0..pace.senders).map(sender).collect(), shared }
    }

    /// No sender begins another event until [`Load::go_on`]; those on their way are finished.
    pub fn pause(&self) {
        self.shared.paused.store(true, Ordering::SeqCst);
        eventually("senders finish their events", || self.shared.busy.load(Ordering::SeqCst) == 0);
    }

    pub fn go_on(&self) {
        self.shared.paused.store(false, Ordering::SeqCst);
    }

    /// Each sender finishes its event. Returns the next number of each.
    ///
    /// # Panics
    /// A sender did.
    #[must_use]
    pub fn finish(self) -> Vec<u32> {
        self.shared.stop.store(true, Ordering::SeqCst);
        for sender in self.senders {
            sender.join().unwrap();
        }
        self.shared.next.lock().unwrap().clone()
    }
}

impl Shared {
    fn send(&self, number: u16, pace: Pace) {
        let mut sender = self.producer.sender(number);
        let mut random = crate::Seed(u64::from(number)).of(&format!("{:x}", self.maker.run)).random();
        let index = usize::from(number);
        while !self.stop.load(Ordering::SeqCst) {
            self.busy.fetch_add(1, Ordering::SeqCst);
            if self.paused.load(Ordering::SeqCst) {
                self.busy.fetch_sub(1, Ordering::SeqCst);
                std::thread::sleep(AGAIN);
                continue;
            }
            let sequence = self.next.lock().unwrap()[index];
            let event = self.maker.event(number, sequence);
            let may_give_up = self.producer.gives_up() && pace.silence == Silence::Natural;
            let gives_up = may_give_up && random.random_range(0..GIVEN_UP) == 0;
            self.settle(&mut *sender, &event, gives_up);
            self.next.lock().unwrap()[index] = sequence + 1;
            self.busy.fetch_sub(1, Ordering::SeqCst);
            if pace.pause > Duration::ZERO {
                std::thread::sleep(pace.pause);
            }
        }
    }

    /// Sends until it is acknowledged or given up. A sender that is told to stop gives up too.
    fn settle(&self, sender: &mut dyn Sender, event: &Event, gives_up: bool) {
        let mut silent = false;
        loop {
            self.ledger.attempts(event.id);
            let fate = sender.attempt(event);
            self.ledger.ended(event.id, fate);
            silent |= fate == Fate::Unknown;
            if fate == Fate::Acked || (silent && gives_up) || self.stop.load(Ordering::SeqCst) {
                return;
            }
            std::thread::sleep(AGAIN);
        }
    }
}

/// An event of nobody's, to see whether a lane works.
#[must_use]
pub fn probe(maker: &Maker, number: u32) -> Event {
    maker.event(u16::MAX, number)
}
