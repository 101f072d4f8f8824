//! Notes what passes between connections and the network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use http::StatusCode;
use tokio::sync::Notify;

use super::exchange::{Exchange, is_shown};
use super::{Fixture, Payload};
use crate::transport::Carrier;
use crate::{Checked, Failure, Request, Response, Scrub};
use karez_api::{Millis, Secret};

/// Bytes of answers after which no other request goes through: all of them are held.
const MOST_BYTES: usize = 64 << 20;

/// What passed so far.
#[derive(Default)]
pub struct Recorder {
    /// What is not written down beside what connections know themselves.
    hidden: Vec<Secret>,
    noted: Mutex<Noted>,
    full: Notify,
    allowed: Notify,
}

#[derive(Default)]
struct Noted {
    /// Requests that go through; those beyond wait until more are allowed.
    most: Option<usize>,
    begun: usize,
    /// Requests that are on their way.
    flying: usize,
    exchanges: Vec<Exchange>,
    /// Of all answers, in bytes.
    length: usize,
    connections: BTreeMap<String, String>,
    full: bool,
}

impl Recorder {
    /// One that lets so many requests through, and knows these secrets beside those of connections.
    #[must_use]
    pub fn new(most: Option<usize>, hidden: Vec<Secret>) -> Self {
        let noted = Noted { most, ..Noted::default() };
        Self { hidden, noted: Mutex::new(noted), ..Self::default() }
    }

    /// Lets one more request through.
    pub fn allow_one(&self) {
        let mut noted = self.noted();
        noted.most = noted.most.map(|most| most + 1);
        noted.full = false;
        self.allowed.notify_waiters();
    }

    /// Returns once a request is held back and none is on its way.
    pub async fn full(&self) {
        loop {
            let woken = self.full.notified();
            let (full, flying) = {
                let noted = self.noted();
                (noted.full, noted.flying)
            };
            if full && flying == 0 {
                return;
            }
            woken.await;
        }
    }

    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.noted().exchanges.clone()
    }

    /// All that passed in a run that began then; it is not known here any more.
    #[must_use]
    pub fn fixture(&self, now: Millis) -> Fixture {
        let mut noted = self.noted();
        let exchanges = std::mem::take(&mut noted.exchanges);
        Fixture { now, cut: noted.full, connections: noted.connections.clone(), exchanges }
    }

    /// `carrier`, with what passes noted here.
    pub(crate) fn around(
        self: &Arc<Self>,
        checked: &Checked,
        base: Option<&str>,
        carrier: Arc<dyn Carrier>,
    ) -> Arc<dyn Carrier> {
        let scrub = Scrub::of(checked).and(&self.hidden);
        if let Some(base) = base {
            self.noted().connections.insert(scrub.text(checked.name()), scrub.text(base));
        }
        Arc::new(Tapped { recorder: Arc::clone(self), scrub, carrier })
    }

    fn keep(&self, exchange: Exchange, length: usize) {
        let mut noted = self.noted();
        noted.exchanges.push(exchange);
        noted.length += length;
        if noted.length > MOST_BYTES {
            noted.most = Some(noted.begun);
        }
    }

    /// Waits until one more request may go through.
    async fn turn(&self) -> Flight<'_> {
        loop {
            let allowed = self.allowed.notified();
            {
                let mut noted = self.noted();
                if noted.most.is_none_or(|most| noted.begun < most) {
                    noted.begun += 1;
                    noted.flying += 1;
                    return Flight(self);
                }
                noted.full = true;
            }
            self.full.notify_waiters();
            allowed.await;
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request on its way, until its answer is noted or nobody waits for it any more.
struct Flight<'a>(&'a Recorder);

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.noted().flying -= 1;
        self.0.full.notify_waiters();
    }
}

struct Tapped {
    recorder: Arc<Recorder>,
    scrub: Scrub,
    carrier: Arc<dyn Carrier>,
}

#[async_trait]
impl Carrier for Tapped {
    async fn send(&self, request: Request, limit: usize) -> Result<Response, Failure> {
        let _flight = self.recorder.turn().await;
        self.scrub.learn(&request.headers);
        let answer = self.carrier.send(request.clone(), limit).await?;
        // Refused credentials are renewed, and nobody will ask for any when this is played.
        if answer.status != StatusCode::UNAUTHORIZED {
            let exchange = noted(&request, &answer, &self.scrub);
            self.recorder.keep(exchange, answer.body.len());
        }
        Ok(answer)
    }
}

fn noted(request: &Request, answer: &Response, scrub: &Scrub) -> Exchange {
    let (method, target, sent) = asked(request, scrub);
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in answer.headers.iter().filter(|(name, _)| is_shown(name)) {
        let Ok(value) = value.to_str() else { continue };
        let value = scrub.text(value);
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|known| {
                known.push_str(", ");
                known.push_str(&value);
            })
            .or_insert(value);
    }
    Exchange {
        method,
        target,
        request: sent,
        status: answer.status.as_u16(),
        headers,
        answer: Payload::read(&answer.body, scrub),
    }
}

/// What a request is known by.
pub(super) fn asked(request: &Request, scrub: &Scrub) -> (String, String, Option<Payload>) {
    let target = match request.url.query() {
        Some(query) => format!("{}?{query}", request.url.path()),
        None => request.url.path().to_owned(),
    };
    (request.method.to_string(), scrub.target(&target), Payload::read(&request.body, scrub))
}
