//! The callers of one source: what is counted of their requests, and who of them waits to hear how theirs ended.
//! Outlives reloads, as the counters do.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use karez_api::{Diagnosis, Fate, Millis, Signature};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::counters::{End, Histogram, HistogramReading};

/// How long a certain diagnosis stays, in milliseconds.
const CERTAIN_FOR: u64 = 3_600_000;

/// Requests of one source.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    refused: Mutex<BTreeMap<&'static str, u64>>,
    answered: Mutex<BTreeMap<&'static str, u64>>,
    verified: AtomicU64,
    duplicates: AtomicU64,
    /// When each secret of several matched last.
    secrets: Mutex<BTreeMap<u16, Millis>>,
    answer_time: Histogram,
    age: Histogram,
    waiting: Waiting,
    /// The last one that is worth showing.
    diagnosis: Mutex<Option<Diagnosis>>,
}

impl Requests {
    pub(crate) fn refuse(&self, reason: &'static str) {
        *locked(&self.refused).entry(reason).or_default() += 1;
    }

    /// A request that was answered and became no record.
    pub(crate) fn answer(&self, kind: &'static str) {
        *locked(&self.answered).entry(kind).or_default() += 1;
    }

    pub(crate) fn verify(&self, signature: &Signature, now: Millis) {
        self.verified.fetch_add(1, Relaxed);
        if let Some(secret) = signature.secret {
            locked(&self.secrets).insert(secret, now);
        }
        if let Some(at) = signature.at {
            // A clock ahead of ours makes no negative age.
            self.age.observe(Duration::from_millis(now.0.saturating_sub(at.0)), 1);
        }
    }

    /// A guess does not take the place of what is certain for an hour: anybody can bring about guesses.
    pub(crate) fn diagnose(&self, new: Diagnosis) {
        let mut last = locked(&self.diagnosis);
        let kept = last.as_ref().is_some_and(|last| {
            last.certain && !new.certain && new.at.0.saturating_sub(last.at.0) < CERTAIN_FOR
        });
        if !kept {
            *last = Some(new);
        }
    }

    pub(crate) fn diagnosis(&self) -> Option<Diagnosis> {
        locked(&self.diagnosis).clone()
    }

    pub(crate) fn duplicate(&self) {
        self.duplicates.fetch_add(1, Relaxed);
    }

    pub(crate) fn took(&self, time: Duration) {
        self.answer_time.observe(time, 1);
    }

    pub(crate) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    pub(crate) fn read(&self) -> RequestReading {
        RequestReading {
            verified: self.verified.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            refused: locked(&self.refused).clone(),
            answered: locked(&self.answered).clone(),
            secrets: locked(&self.secrets).iter().map(|(secret, at)| (*secret, at.0)).collect(),
            answer_time: self.answer_time.read(),
            age: self.age.read(),
        }
    }
}

/// The requests of one source at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct RequestReading {
    /// Requests that proved where they come from.
    pub verified: u64,
    /// Deliveries that were known already.
    pub duplicates: u64,
    /// Requests turned away before they counted as in, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Requests that were answered and became no record (handshakes), by kind.
    pub answered: BTreeMap<&'static str, u64>,
    /// When each secret of `verify` (from 0) matched last, in milliseconds since the epoch.
    pub secrets: BTreeMap<u16, u64>,
    /// Time from the end of a request to its answer.
    pub answer_time: HistogramReading,
    /// How old deliveries were when they came, by their own signed time.
    pub age: HistogramReading,
}

impl RequestReading {
    /// Whether there was any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let taken = self.answer_time.buckets.iter().any(|count| *count > 0);
        !taken && self.verified == 0 && self.refused.is_empty() && self.answered.is_empty()
    }
}

/// Senders that wait for the end of a record, by its id.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    by_id: Mutex<HashMap<String, Vec<oneshot::Sender<End>>>>,
    /// So that nobody locks where nobody waits.
    ids: AtomicUsize,
}

impl Waiting {
    /// To be called before the record can reach its end.
    pub(crate) fn enter(&self, id: String) -> oneshot::Receiver<End> {
        let (sender, receiver) = oneshot::channel();
        let mut by_id = locked(&self.by_id);
        by_id.entry(id).or_default().push(sender);
        self.ids.store(by_id.len(), SeqCst);
        receiver
    }

    /// Forgets those that wait no longer for this record.
    pub(crate) fn leave(&self, id: &str) {
        let mut by_id = locked(&self.by_id);
        if let Some(senders) = by_id.get_mut(id) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                by_id.remove(id);
            }
        }
        self.ids.store(by_id.len(), SeqCst);
    }

    /// Nobody is told anything any more: they hear that it is on its way.
    pub(crate) fn give_up(&self) {
        locked(&self.by_id).clear();
        self.ids.store(0, SeqCst);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.load(SeqCst) == 0
    }

    pub(crate) fn tell(&self, id: &str, end: End) {
        let mut by_id = locked(&self.by_id);
        // Who has gone is told nothing.
        for sender in by_id.remove(id).unwrap_or_default() {
            sender.send(end).ok();
        }
        self.ids.store(by_id.len(), SeqCst);
    }
}

/// How a sender hears of it.
pub(crate) fn fate(end: End) -> Fate {
    match end {
        End::DeadLettered => Fate::DeadLettered,
        End::Delivered | End::Diverted | End::Dropped => Fate::Delivered,
        End::Filtered => Fate::Filtered,
        End::Duplicate => Fate::Duplicate,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_waits_for_a_record_is_told_once() {
        let waiting = Waiting::default();
        assert!(waiting.is_empty());
        let (mut first, mut second) = (waiting.enter("a".into()), waiting.enter("a".into()));
        let mut other = waiting.enter("b".into());
        waiting.tell("a", End::Delivered);
        assert_eq!((first.try_recv(), second.try_recv()), (Ok(End::Delivered), Ok(End::Delivered)));
        assert!(other.try_recv().is_err());
        drop(other);
        assert!(!waiting.is_empty());
        waiting.leave("b");
        assert!(waiting.is_empty());
    }

    #[test]
    fn a_guess_does_not_hide_what_is_certain_until_that_is_old() {
        let requests = Requests::default();
        let shown = |hint: &str, certain, at| {
            let (message, hint, at) = (String::new(), hint.to_owned(), Millis(at));
            requests.diagnose(Diagnosis { message, hint, certain, refused: 1, at });
            requests.diagnosis().unwrap().hint
        };
        assert_eq!(shown("guess", false, 0), "guess");
        assert_eq!(shown("old secret", true, 1), "old secret");
        assert_eq!(shown("guess", false, CERTAIN_FOR), "old secret");
        assert_eq!(shown("clock", true, CERTAIN_FOR), "clock");
        assert_eq!(shown("guess", false, CERTAIN_FOR * 2), "guess");
    }

    #[test]
    fn a_secret_is_known_by_the_last_time_it_matched() {
        let requests = Requests::default();
        let by = |secret| Signature { secret: Some(secret), at: None };
        requests.verify(&by(1), Millis(5));
        requests.verify(&by(0), Millis(7));
        requests.verify(&by(1), Millis(9));
        assert_eq!(requests.read().secrets, BTreeMap::from([(0, 7), (1, 9)]));
        assert_eq!(requests.read().verified, 3);
    }
}
