//! Events that cannot be mistaken for others: an id, a payload that follows from it, and a digest of
//! both inside, so that a forged, mixed up, cut or altered event is known by itself.

use std::fmt;
use std::str::FromStr;

use karez_tests::Json;
use rand::RngExt as _;
use serde_json::json;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::Hasher as _;

use crate::Seed;

/// `run.producer.sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub run: u32,
    pub producer: u16,
    pub sequence: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{}.{}", self.run, self.producer, self.sequence)
    }
}

impl FromStr for Id {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(());
        let run = u32::from_str_radix(next()?, 16).map_err(drop)?;
        let producer = next()?.parse().map_err(drop)?;
        let sequence = next()?.parse().map_err(drop)?;
        if parts.next().is_some() { Err(()) } else { Ok(Self { run, producer, sequence }) }
    }
}

/// An event as it is sent.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: Id,
    pub body: String,
}

/// How large payloads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// 16 B to 1 MiB, mostly small.
    Mixed,
    /// 16 B to 1 KiB: for cases where the number of events matters.
    Small,
    /// 4 KiB to 1 MiB: for cases where bytes matter.
    Large,
}

/// Share in percent and size of the classes.
const MIXED: [(u32, usize); 5] = [(45, 16), (40, 256), (12, 4 << 10), (2, 64 << 10), (1, (1 << 20) - 4_096)];
const SMALL: [(u32, usize); 2] = [(60, 16), (40, 1 << 10)];
const LARGE: [(u32, usize); 3] = [(50, 4 << 10), (40, 64 << 10), (10, (1 << 20) - 4_096)];

/// Some need an escape in JSON, some take more than one byte.
const LETTERS: [char; 24] = [
    'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', '0', '1', '2', '3', '"', '\\', '/', '\n', '\t', '\u{1}', 'é',
    'ß', '水', '😀', ' ', '{',
];

/// Makes the events of one run, and knows them again.
#[derive(Debug, Clone)]
pub struct Maker {
    seed: Seed,
    sizes: Sizes,
    pub run: u32,
}

/// What is wrong with something that was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// Not an event of this run.
    Forged(String),
    /// An event of this run that is not as it was sent.
    Corrupt(String),
}

impl Maker {
    #[must_use]
    pub fn new(seed: Seed, sizes: Sizes) -> Self {
        Self { seed, sizes, run: seed.of("run").0 as u32 }
    }

    #[must_use]
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The same event for the same numbers.
    #[must_use]
    pub fn event(&self, producer: u16, sequence: u32) -> Event {
        let id = Id { run: self.run, producer, sequence };
        let data = self.data(id);
        let body = json!({
            "id": id.to_string(),
            "key": format!("k{producer}"),
            "sequence": sequence,
            "digest": self.digest(id, &data),
            "data": data,
        });
        Event { id, body: body.to_string() }
    }

    fn data(&self, id: Id) -> String {
        let mut random = self.seed.of(&id.to_string()).random();
        let classes: &[(u32, usize)] = match self.sizes {
            Sizes::Mixed => &MIXED,
            Sizes::Small => &SMALL,
            Sizes::Large => &LARGE,
        };
        let mut draw = random.random_range(0..100);
        let class = classes.iter().find(|(share, _)| {
            let hit = draw < *share;
            draw = draw.saturating_sub(*share);
            hit
        });
        let size = class.map_or(16, |(_, size)| *size);
        let size = random.random_range(size / 2..=size);
        let mut data = String::with_capacity(size);
        let mut take = 0_u64;
        // The event with its escapes stays below the size; a letter takes 7 bytes at most.
        let mut written = 0;
        while written + 7 <= size {
            if take < 32 {
                take = random.random();
            }
            let letter = LETTERS[(take % LETTERS.len() as u64) as usize];
            take /= LETTERS.len() as u64;
            written += if (letter as u32) < 32 { 6 } else { letter.len_utf8() + 1 };
            data.push(letter);
        }
        data
    }

    fn digest(&self, id: Id, data: &str) -> String {
        let mut hasher = SipHasher13::new_with_keys(self.seed.0, self.seed.0);
        hasher.write(id.to_string().as_bytes());
        hasher.write(data.as_bytes());
        format!("{:032x}", hasher.finish128().as_u128())
    }

    /// Which event this is.
    ///
    /// # Errors
    /// None of this run, or one that was altered.
    pub fn recognise(&self, body: &[u8]) -> Result<Id, Flaw> {
        let short = || String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let event: Json = serde_json::from_slice(body).map_err(|_| Flaw::Corrupt(short()))?;
        let id: Option<Id> = event["id"].as_str().and_then(|id| id.parse().ok());
        let id = id.filter(|id| id.run == self.run).ok_or_else(|| Flaw::Forged(short()))?;
        let data = event["data"].as_str().unwrap_or_default();
        let whole = event["digest"] == self.digest(id, data)
            && event["sequence"] == id.sequence
            && event["key"] == format!("k{}", id.producer);
        if whole { Ok(id) } else { Err(Flaw::Corrupt(short())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_known_again_and_its_alterations_are_not() {
        for sizes in [Sizes::Mixed, Sizes::Small, Sizes::Large] {
            let maker = Maker::new(Seed(7), sizes);
            for sequence in 0..50 {
                let event = maker.event(3, sequence);
                assert_eq!(event.body, maker.event(3, sequence).body, "it follows from its id");
                assert!(event.body.len() <= 1 << 20);
                assert_eq!(maker.recognise(event.body.as_bytes()), Ok(event.id));
                assert_eq!(event.id.to_string().parse(), Ok(event.id));
                let cut = &event.body.as_bytes()[..event.body.len() - 1];
                assert!(matches!(maker.recognise(cut), Err(Flaw::Corrupt(_))));
                let other = maker.event(3, sequence + 1);
                let mixed = event.body.replace(&event.id.to_string(), &other.id.to_string());
                assert!(matches!(maker.recognise(mixed.as_bytes()), Err(Flaw::Corrupt(_))));
                let foreign = Maker::new(Seed(8), sizes);
                assert!(matches!(foreign.recognise(event.body.as_bytes()), Err(Flaw::Forged(_))));
            }
        }
    }
}
