//! A receiver behind an http sink, which heeds the idempotency key and can misbehave.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use karez_tests::{Json, Receiver, Reply, Seen};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use super::{Observer, Sighting};
use crate::{Id, Seed};

/// In percent of all requests, what a receiver does instead of taking them with 200.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// Refuses with 503 and does nothing.
    pub refuses: u32,
    /// Refuses with 429 and `Retry-After: 0`, and does nothing.
    pub limits: u32,
    /// Takes it, and ends the connection in place of an answer.
    pub cuts: u32,
    /// Takes it, and never answers.
    pub hangs: u32,
    /// Ends the connection and does nothing.
    pub drops: u32,
    /// Events that never suit it are refused with 422.
    pub rejects: bool,
    /// Refuses everything of the first sender with 503.
    pub stubborn: bool,
}

/// Events that a receiver rejects, if it does: one in ten.
#[must_use]
pub fn unwelcome(id: Id) -> bool {
    id.sequence % 10 == 3
}

impl Manner {
    /// Everything that can go wrong.
    pub const BAD: Self =
        Self { refuses: 5, limits: 2, cuts: 3, hangs: 0, drops: 3, rejects: false, stubborn: false };
    /// Nothing is taken.
    pub const CLOSED: Self = Self { refuses: 100, ..Self::GOOD };
    pub const GOOD: Self =
        Self { refuses: 0, limits: 0, cuts: 0, hangs: 0, drops: 0, rejects: false, stubborn: false };
}

struct Notes {
    file: File,
    /// By the request's number, so that one that hangs is judged once.
    decided: HashMap<usize, Reply>,
    taken: Vec<Sighting>,
    random: SmallRng,
}

/// A receiver with notes.
pub struct Http {
    receiver: Receiver,
    notes: Arc<Mutex<Notes>>,
    /// The address to send to in place of the receiver's own: a proxy before it.
    through: Option<String>,
    keys: String,
    instead: Option<String>,
    /// What never suits it does not suit it when it is well, either.
    rejects: bool,
}

impl Http {
    /// `log` gets every request before it is answered.
    ///
    /// # Panics
    /// The log cannot be made.
    #[must_use]
    pub fn start(log: &Path, seed: Seed, manner: Manner) -> Self {
        let notes = Arc::new(Mutex::new(Notes {
            file: File::create(log).unwrap(),
            decided: HashMap::new(),
            taken: Vec::new(),
            random: seed.of("http").random(),
        }));
        let receiver = Receiver::start();
        let http = Self {
            receiver,
            notes,
            through: None,
            keys: String::new(),
            instead: None,
            rejects: manner.rejects,
        };
        http.behave(manner);
        http
    }

    /// From now on; requests that hang are let go.
    pub fn behave(&self, manner: Manner) {
        let notes = Arc::clone(&self.notes);
        self.receiver.answer(move |seen| {
            let mut notes = notes.lock().unwrap();
            // One that was taken and hung is never answered.
            if notes.decided.remove(&seen.number).is_some() {
                return Reply::Cut;
            }
            let (taken, reply) = manner.decide(seen, &mut notes.random);
            notes.note(seen, taken, reply.clone());
            reply
        });
    }

    /// Sends there in place of to the receiver itself.
    pub fn through(&mut self, url: String) {
        self.through = Some(url);
    }

    /// More engine keys of the sink, like `, timeout: 1s`.
    pub fn add_keys(&mut self, keys: &str) {
        self.keys.push_str(keys);
    }

    /// Engine keys of the sink in place of the usual ones.
    pub fn keys_instead(&mut self, keys: &str) {
        self.instead = Some(keys.into());
    }

    /// Asked before anything else: an answer is given and nothing done.
    pub fn before(&self, first: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) {
        let notes = Arc::clone(&self.notes);
        self.receiver.answer(move |seen| {
            let (taken, reply) = first(seen).map_or((true, Reply::Status(200)), |reply| (false, reply));
            notes.lock().unwrap().note(seen, taken, reply.clone());
            reply
        });
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.receiver.address()
    }

    #[must_use]
    pub fn url(&self) -> String {
        self.through.clone().unwrap_or_else(|| self.receiver.url("/"))
    }
}

impl Manner {
    fn decide(self, seen: &Seen, random: &mut SmallRng) -> (bool, Reply) {
        if self.rejects && id_of(seen).is_some_and(unwelcome) {
            return (false, Reply::Status(422));
        }
        if self.stubborn && id_of(seen).is_some_and(|id| id.producer == 0) {
            return (false, Reply::Status(503));
        }
        let mut draw = random.random_range(0..100);
        let choices = [
            (self.refuses, (false, Reply::Status(503))),
            (self.limits, (false, Reply::RetryAfter(429, 0))),
            (self.cuts, (true, Reply::Cut)),
            (self.hangs, (true, Reply::Hang)),
            (self.drops, (false, Reply::Cut)),
        ];
        for (share, choice) in choices {
            if draw < share {
                return choice;
            }
            draw -= share;
        }
        (true, Reply::Status(200))
    }
}

fn id_of(seen: &Seen) -> Option<Id> {
    let event: Json = serde_json::from_slice(&seen.body).ok()?;
    event["id"].as_str()?.parse().ok()
}

impl Notes {
    fn note(&mut self, seen: &Seen, taken: bool, reply: Reply) {
        let key = seen.header("idempotency-key").map(str::to_owned);
        let body = String::from_utf8_lossy(&seen.body);
        let word = if taken { "taken" } else { "not-taken" };
        writeln!(self.file, "{} {word} {reply:?} {} {body}", seen.number, key.as_deref().unwrap_or("-"))
            .unwrap();
        if reply == Reply::Hang {
            self.decided.insert(seen.number, reply);
        }
        if taken {
            self.taken.push(Sighting { body: seen.body.clone(), key });
        }
    }
}

impl Observer for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn sink(&self) -> String {
        format!("http: {{url: \"{}\"}}", self.url())
    }

    fn keys(&self) -> String {
        let usual = || format!(", retry: {{initial: 20ms, max_wait: 200ms, max_attempts: 100}}{}", self.keys);
        self.instead.clone().unwrap_or_else(usual)
    }

    fn progress(&mut self) -> u64 {
        self.notes.lock().unwrap().taken.len() as u64
    }

    fn sightings(&mut self) -> Vec<Sighting> {
        self.notes.lock().unwrap().taken.clone()
    }

    fn heal(&mut self) {
        self.behave(Manner { rejects: self.rejects, ..Manner::GOOD });
    }
}
