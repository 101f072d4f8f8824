//! Turns: how often a far end is called, by what the file says and what the far end tells. Who comes first
//! goes first, whichever pipeline it is from.

mod book;
mod count;
mod learned;

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use karez_api::{Clock, Fault};
use reqwest::Url;
use tokio::sync::{Mutex as Queue, MutexGuard, Notify};

use super::gate::{Gate, Load, Place};
use super::lock;
use crate::Response;
use crate::spec::Limits;
pub use book::QuotaLeft;
use book::{Book, Next};

const MAX_WAIT: Duration = Duration::from_secs(30);

/// The quotas of one connection.
pub(crate) struct Quotas {
    matchers: Vec<Matcher>,
    book: Mutex<Book>,
    /// One for each scope: who waits there for a turn.
    queues: Vec<Queue<()>>,
    /// A call ended, or the far end told something: those who wait look again.
    changed: Notify,
    /// Whether anything has to be waited for at all.
    limited: AtomicBool,
    obeys: bool,
    max_wait: Duration,
}

struct Matcher {
    methods: Vec<Method>,
    path: Option<String>,
}

/// What a request counts against: quotas of the file by bits, and where what the far end tells belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Charge {
    rules: u64,
    scope: usize,
}

/// The right to send one request now.
pub(crate) struct Turn<'a> {
    quotas: &'a Quotas,
    clock: &'a dyn Clock,
    charge: Charge,
    number: u64,
    place: Place<'a>,
    /// From when on the call takes time: when it was granted, at first.
    pub(crate) begun: Instant,
    /// When it was over.
    ended: Option<Instant>,
}

impl Quotas {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        let matchers: Vec<Matcher> = limits.quotas.iter().map(Matcher::new).collect();
        Self {
            queues: (0..=matchers.len()).map(|_| Queue::default()).collect(),
            limited: AtomicBool::new(!matchers.is_empty()),
            book: Mutex::new(Book::new(limits, now)),
            matchers,
            changed: Notify::new(),
            obeys: limits.headers.unwrap_or(true),
            max_wait: limits.max_wait.map_or(MAX_WAIT, |wait| wait.0),
        }
    }

    /// Waits from `now` on for a turn, at most until `deadline` and for `max_wait`.
    ///
    /// # Errors
    /// Class rate limit: it takes longer than that, with how long.
    pub(crate) async fn turn<'a>(
        &'a self,
        (method, url): (&Method, &Url),
        gate: &'a Gate,
        clock: &'a dyn Clock,
        (now, deadline): (Instant, Instant),
    ) -> Result<Turn<'a>, Fault> {
        let charge = self.charge(method, url);
        let queue = &self.queues[charge.scope];
        if let Ok(_first) = queue.try_lock()
            && let Some(place) = gate.try_enter()
            && let Some(number) = self.take(charge, now)
        {
            return Ok(Turn { quotas: self, clock, charge, number, place, begun: now, ended: None });
        }
        let patience = deadline.min(now + self.max_wait);
        let first = self.first(queue, charge, clock, patience).await?;
        let (number, place) = self.wait(charge, gate, clock, patience).await?;
        drop(first);
        Ok(Turn { quotas: self, clock, charge, number, place, begun: clock.instant(), ended: None })
    }

    /// Becomes the first of those who wait.
    async fn first<'a>(
        &self,
        queue: &'a Queue<()>,
        charge: Charge,
        clock: &dyn Clock,
        patience: Instant,
    ) -> Result<MutexGuard<'a, ()>, Fault> {
        if let Ok(first) = queue.try_lock() {
            return Ok(first);
        }
        self.bearable(charge, clock.instant(), patience)?;
        tokio::select! {
            biased;
            first = queue.lock() => Ok(first),
            () = clock.sleep(patience.saturating_duration_since(clock.instant())) => {
                Err(too_long(self.pause(charge, clock.instant())))
            }
        }
    }

    async fn wait<'a>(
        &self,
        charge: Charge,
        gate: &'a Gate,
        clock: &dyn Clock,
        patience: Instant,
    ) -> Result<(u64, Place<'a>), Fault> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Told from now on, so that nothing is missed between the look and the wait.
            changed.as_mut().enable();
            let pause = self.bearable(charge, clock.instant(), patience)?;
            if pause.is_zero() {
                let place = self.place(gate, charge, clock, patience).await?;
                if let Some(number) = self.take(charge, clock.instant()) {
                    return Ok((number, place));
                }
                continue;
            }
            tokio::select! {
                () = clock.sleep(pause) => {}
                () = changed => {}
            }
        }
    }

    async fn place<'a>(
        &self,
        gate: &'a Gate,
        charge: Charge,
        clock: &dyn Clock,
        patience: Instant,
    ) -> Result<Place<'a>, Fault> {
        if let Some(place) = gate.try_enter() {
            return Ok(place);
        }
        tokio::select! {
            biased;
            place = gate.enter() => Ok(place),
            () = clock.sleep(patience.saturating_duration_since(clock.instant())) => {
                Err(too_long(self.pause(charge, clock.instant())))
            }
        }
    }

    /// How long until the next turn, if that is soon enough.
    fn bearable(&self, charge: Charge, now: Instant, patience: Instant) -> Result<Duration, Fault> {
        let pause = self.pause(charge, now);
        match pause.is_zero() || now + pause <= patience && now < patience {
            true => Ok(pause),
            false => Err(too_long(pause)),
        }
    }

    fn pause(&self, charge: Charge, now: Instant) -> Duration {
        if !self.limited.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        match lock(&self.book).next(charge, now) {
            Next::Now => Duration::ZERO,
            Next::After(pause) => pause,
        }
    }

    fn take(&self, charge: Charge, now: Instant) -> Option<u64> {
        lock(&self.book).take(charge, now)
    }

    fn charge(&self, method: &Method, url: &Url) -> Charge {
        let mut charge = Charge { rules: 0, scope: 0 };
        for (number, matcher) in self.matchers.iter().enumerate() {
            if !matcher.fits(method, url.path()) {
                continue;
            }
            charge.rules |= 1 << number;
            if charge.scope == 0 && matcher.is_narrow() {
                charge.scope = number + 1;
            }
        }
        charge
    }

    /// What is left, for status and metrics.
    pub(crate) fn left(&self, now: Instant) -> Vec<QuotaLeft> {
        lock(&self.book).left(now)
    }

    /// What the far end told is forgotten: it was told to somebody else.
    pub(crate) fn forget(&self) {
        lock(&self.book).forget();
        self.changed.notify_waiters();
    }
}

impl Turn<'_> {
    /// Tells those who decide how many run at once.
    pub(crate) fn done(mut self, load: Load, took: Duration, now: Instant) {
        self.place.done(load, took, now);
        self.ended = Some(now);
    }

    /// Learns from the answer.
    pub(crate) fn answered(&self, answer: &Response) {
        if !self.quotas.obeys {
            return;
        }
        let mut book = lock(&self.quotas.book);
        let learned = book.learn(self.charge, self.number, answer, self.clock);
        if learned {
            self.quotas.limited.store(true, Ordering::Release);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let ended = self.ended.unwrap_or_else(|| self.clock.instant());
        lock(&self.quotas.book).settle(self.charge, ended);
        self.quotas.changed.notify_waiters();
    }
}

impl Matcher {
    fn new(quota: &crate::spec::Quota) -> Self {
        // A method that cannot be read was reported at load.
        let methods = quota.methods.iter().filter_map(|method| method.to_uppercase().parse().ok()).collect();
        Self { methods, path: quota.path.clone() }
    }

    fn is_narrow(&self) -> bool {
        !self.methods.is_empty() || self.path.is_some()
    }

    fn fits(&self, method: &Method, path: &str) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && self.path.as_deref().is_none_or(|beginning| path.starts_with(beginning))
    }
}

fn too_long(pause: Duration) -> Fault {
    let message = "the next turn comes later than `limits.max_wait` and the call's timeout allow";
    Fault::rate_limit(message, Some(pause).filter(|pause| !pause.is_zero())).with_code("quota")
}

#[cfg(test)]
mod tests;
