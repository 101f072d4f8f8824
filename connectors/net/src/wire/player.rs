//! Plays exchanges that were noted before: a far end that answers what it was asked then, and nothing else.

use std::collections::{BTreeSet, HashMap};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use karez_api::{Fault, Secret};

use super::recorder::asked;
use super::trouble::{in_place, right, shows_its_end};
use super::{Exchange, Fixture, Planned, Trouble, token};
use crate::transport::Carrier;
use crate::{Checked, Effect, Failure, Request, Response, Scrub};

/// How far back the page is looked for that named this one.
const LOOKED_BACK: usize = 64;

/// A far end that was recorded.
pub struct Player {
    fixture: Arc<Fixture>,
    /// Places of the exchanges of each request, in order.
    places: HashMap<String, Vec<usize>>,
    planned: Option<Planned>,
    /// What stands for secrets that nobody has here: it was not written down either.
    hidden: Vec<Secret>,
    played: Mutex<Played>,
}

#[derive(Default)]
struct Played {
    /// Exchanges in the order in which they were asked for.
    order: Vec<usize>,
    /// Exchanges that were answered as they were noted.
    answered: BTreeSet<usize>,
    /// How often each request was answered so.
    times: HashMap<String, usize>,
    unknown: BTreeSet<String>,
    faults: Vec<Planned>,
    done: bool,
    crashed: bool,
}

impl Player {
    #[must_use]
    pub fn new(fixture: Arc<Fixture>, planned: Option<Planned>, hidden: Vec<Secret>) -> Self {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, exchange) in fixture.exchanges.iter().enumerate() {
            let key = Exchange::key(&exchange.method, &exchange.target, exchange.request.as_ref());
            places.entry(key).or_default().push(place);
        }
        Self { fixture, places, planned, hidden, played: Mutex::default() }
    }

    /// How many requests were asked so far.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.played().order.len()
    }

    /// Everything that could go wrong with what was asked so far.
    #[must_use]
    pub fn faults(&self) -> Vec<Planned> {
        self.played().faults.clone()
    }

    /// The process is to end: nothing will come of the last request.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.played().crashed
    }

    /// The recording was cut short, all of it was played, and something beyond it was asked for.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let played = self.played();
        let all = played.answered.len() == self.fixture.exchanges.len();
        self.fixture.cut && !played.unknown.is_empty() && all
    }

    /// What was asked for and was never recorded.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        self.played().unknown.iter().cloned().collect()
    }

    /// The request that a fault is about.
    #[must_use]
    pub fn name(&self, at: usize) -> String {
        let played = self.played();
        played.order.get(at).map(|place| self.fixture.exchanges[*place].name()).unwrap_or_default()
    }

    /// Where a connection was when it was recorded; one alone is meant whatever it is called.
    pub(crate) fn base(&self, name: &str) -> Option<&str> {
        let known = &self.fixture.connections;
        let only = || known.values().next().filter(|_| known.len() == 1);
        known.get(name).or_else(only).map(String::as_str)
    }

    pub(crate) fn carrier(self: &Arc<Self>, checked: &Checked) -> Arc<dyn Carrier> {
        Arc::new(Playing { player: Arc::clone(self), scrub: Scrub::of(checked).and(&self.hidden) })
    }

    /// What comes of a request: an answer, nothing, or why there is none.
    fn answer(&self, request: &Request, scrub: &Scrub) -> Result<Option<Response>, Failure> {
        let (method, target, sent) = asked(request, scrub);
        let key = Exchange::key(&method, &target, sent.as_ref());
        let mut played = self.played();
        let Some(places) = self.places.get(&key) else {
            let name = key.trim_end().replace('\n', " ");
            played.unknown.insert(name.clone());
            // A recording that was cut short says nothing of what came then.
            return if self.fixture.cut { Ok(None) } else { Err(not_recorded(&name)) };
        };
        let times = played.times.get(&key).copied().unwrap_or_default();
        let place = places[times.min(places.len() - 1)];
        let exchange = &self.fixture.exchanges[place];
        let at = played.order.len();
        let cycle = self.cycle(&played, exchange);
        played.order.push(place);
        let possible = Trouble::ALL.iter().filter(|trouble| match trouble {
            Trouble::Truncated => shows_its_end(exchange),
            Trouble::Cycle => cycle.is_some(),
            _ => true,
        });
        played.faults.extend(possible.map(|trouble| Planned { at, trouble: *trouble }));
        match self.planned.filter(|planned| planned.at == at && !played.done) {
            Some(planned) => {
                played.done = true;
                played.crashed = planned.trouble == Trouble::Crash;
                Ok(in_place(planned.trouble, exchange, cycle))
            }
            None => {
                *played.times.entry(key).or_default() += 1;
                played.answered.insert(place);
                Ok(Some(right(exchange)))
            }
        }
    }

    /// The answer that names its own page as the next one, where it was named by a token.
    fn cycle(&self, played: &Played, exchange: &Exchange) -> Option<Exchange> {
        let before = played.order.iter().rev().take(LOOKED_BACK);
        before.map(|place| &self.fixture.exchanges[*place]).find_map(|before| token::cycle(before, exchange))
    }

    fn played(&self) -> MutexGuard<'_, Played> {
        self.played.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Playing {
    player: Arc<Player>,
    scrub: Scrub,
}

#[async_trait]
impl Carrier for Playing {
    async fn send(&self, request: Request, _: usize) -> Result<Response, Failure> {
        match self.player.answer(&request, &self.scrub)? {
            Some(answer) => Ok(answer),
            None => pending().await,
        }
    }
}

fn not_recorded(name: &str) -> Failure {
    let message = format!("{name} is not in the fixture; record it anew with `karez record`");
    let fault = Fault::validation("not_recorded", message);
    Failure { fault, effect: Effect::None, response: None }
}
