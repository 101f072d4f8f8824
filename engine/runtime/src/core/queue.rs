//! What waits for one sink, and in which order it may go: per key in order and one delivery
//! at a time, across keys in parallel. Knows nothing of origins, faults or time-outs.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use karez_api::Record;
use tokio::time::Instant;

use super::Gate;
use super::retry::History;
use crate::planted;

/// What must stay in order: a key of `order_by`, or a lane. Scheduling is by the key itself, not by its hash.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct OrderKey {
    pub(crate) source: u16,
    pub(crate) lane: bool,
    pub(crate) key: Box<[u8]>,
}

/// A record at a sink.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) record: Record,
    pub(crate) key: Option<Arc<OrderKey>>,
    /// Arrived by an `on_failure` path: counted diverted, and its own failure is final.
    pub(crate) diverted: bool,
    /// The hash that the ledger knows it by, where deliveries of it are written down.
    pub(crate) ledger: Option<u128>,
    pub(crate) history: History,
    pub(crate) since: Instant,
    /// The hash of what the rate limit is counted for.
    pub(crate) limit: u128,
    /// When the rate limit lets it go, where it was asked.
    pub(crate) turn: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Ready,
    InFlight,
    /// The head waits for its next attempt; the time is in `delayed`.
    Delayed,
    /// The head waits for an operator.
    Blocked,
}

#[derive(Debug)]
struct Slot {
    queue: VecDeque<Waiting>,
    hold: Hold,
}

/// How many may go in one delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    /// Records of one key may share a delivery.
    pub(crate) atomic: bool,
}

/// The queue of one sink.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    slots: HashMap<Arc<OrderKey>, Slot>,
    ready: VecDeque<Arc<OrderKey>>,
    free: VecDeque<Waiting>,
    /// Without a key, waiting for an operator.
    blocked: Vec<Waiting>,
    delayed: BTreeMap<(Instant, u64), Delayed>,
    stamp: u64,
    /// Records that could go now.
    sendable: usize,
    len: usize,
}

#[derive(Debug)]
enum Delayed {
    Slot(Arc<OrderKey>),
    Free(Box<Waiting>),
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// An upper estimate of what could go now: records of ready keys and those without one.
    pub(crate) fn sendable(&self) -> usize {
        self.sendable
    }

    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.len += 1;
        let Some(key) = &waiting.key else {
            self.sendable += 1;
            self.free.push_back(waiting);
            return;
        };
        match self.slots.get_mut(key) {
            Some(slot) => {
                self.sendable += usize::from(slot.hold == Hold::Ready);
                slot.queue.push_back(waiting);
            }
            None => {
                self.sendable += 1;
                let key = Arc::clone(key);
                self.ready.push_back(Arc::clone(&key));
                self.slots.insert(key, Slot { queue: VecDeque::from([waiting]), hold: Hold::Ready });
            }
        }
    }

    /// Since when the oldest sendable record has waited, as far as the front of the queues tells.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let free = self.free.front().map(|waiting| waiting.since);
        let keyed = self
            .ready
            .front()
            .and_then(|key| self.slots.get(key))
            .and_then(|slot| slot.queue.front())
            .map(|waiting| waiting.since);
        free.into_iter().chain(keyed).min()
    }

    /// Takes the next delivery; keys in it are held until [`Queue::release`]. What `gate` does not let go yet waits
    /// with its key until its turn comes.
    pub(crate) fn take(&mut self, limits: Limits, now: Instant, mut gate: Option<&mut Gate>) -> Vec<Waiting> {
        let mut turn = |next: &mut Waiting| {
            let gate = gate.as_deref_mut()?;
            let at = *next.turn.get_or_insert_with(|| gate.turn(next.limit, now));
            (at > now).then_some(at)
        };
        let mut taken = Vec::with_capacity(limits.records.min(self.sendable));
        let mut bytes = 0;
        let mut fits = |taken: &Vec<Waiting>, next: &Waiting| {
            bytes += next.record.body().bytes().len();
            taken.len() < limits.records && (taken.is_empty() || bytes <= limits.bytes)
        };
        while taken.len() < limits.records {
            let Some(key) = self.ready.front() else { break };
            let Some(slot) = self.slots.get_mut(key) else {
                self.ready.pop_front();
                continue;
            };
            let before = taken.len();
            let most = if limits.atomic { slot.queue.len() } else { 1 };
            let mut wait = None;
            while taken.len() - before < most && slot.queue.front().is_some_and(|next| fits(&taken, next)) {
                wait = slot.queue.front_mut().and_then(&mut turn);
                if wait.is_some() {
                    break;
                }
                taken.extend(slot.queue.pop_front());
            }
            if let Some(at) = wait
                && taken.len() == before
            {
                slot.hold = Hold::Delayed;
                self.stamp += 1;
                self.delayed.insert((at, self.stamp), Delayed::Slot(Arc::clone(key)));
                self.sendable -= slot.queue.len();
                self.ready.pop_front();
                continue;
            }
            if taken.len() == before {
                break;
            }
            slot.hold = Hold::InFlight;
            // Neither those taken nor those behind them can go now.
            self.sendable -= (taken.len() - before) + slot.queue.len();
            self.ready.pop_front();
        }
        while self.free.front().is_some_and(|next| fits(&taken, next))
            && let Some(mut next) = self.free.pop_front()
        {
            self.sendable -= 1;
            match turn(&mut next) {
                None => taken.push(next),
                Some(at) => {
                    self.stamp += 1;
                    self.delayed.insert((at, self.stamp), Delayed::Free(Box::new(next)));
                }
            }
        }
        self.len -= taken.len();
        taken
    }

    /// Puts a record back at the head of its key, to be tried again at `at`.
    /// Several of one key are put back last first. The key stays held until [`Queue::release`].
    pub(crate) fn retry(&mut self, mut waiting: Waiting, at: Instant) {
        self.len += 1;
        self.stamp += 1;
        // Another attempt counts as another.
        waiting.turn = None;
        match waiting.key.as_ref().filter(|_| !planted::retry_breaks_order()) {
            None => {
                self.delayed.insert((at, self.stamp), Delayed::Free(Box::new(waiting)));
            }
            Some(key) => {
                let key = Arc::clone(key);
                let Some(slot) = self.slots.get_mut(&key) else {
                    return;
                };
                slot.queue.push_front(waiting);
                if slot.hold != Hold::Delayed {
                    slot.hold = Hold::Delayed;
                    self.delayed.insert((at, self.stamp), Delayed::Slot(key));
                }
            }
        }
    }

    /// Puts a record back at the head of its key, where it waits behind one that failed before it.
    pub(crate) fn put_back(&mut self, waiting: Waiting) {
        if let Some(slot) = waiting.key.as_ref().and_then(|key| self.slots.get_mut(key)) {
            self.len += 1;
            slot.queue.push_front(waiting);
        }
    }

    /// Puts a record back at the head of its key, where it stays until [`Queue::unblock`].
    pub(crate) fn block(&mut self, waiting: Waiting) {
        self.len += 1;
        match &waiting.key {
            None => {
                // Without a key it holds back nothing but itself.
                self.blocked.push(waiting);
            }
            Some(key) => {
                if let Some(slot) = self.slots.get_mut(key) {
                    slot.queue.push_front(waiting);
                    slot.hold = Hold::Blocked;
                }
            }
        }
    }

    /// A delivery that held `key` is over; what waits behind it may go, unless it was put back to wait.
    pub(crate) fn release(&mut self, key: &Arc<OrderKey>) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if slot.hold != Hold::InFlight {
            return;
        }
        if slot.queue.is_empty() {
            self.slots.remove(key);
            return;
        }
        slot.hold = Hold::Ready;
        self.sendable += slot.queue.len();
        self.ready.push_back(Arc::clone(key));
    }

    /// Makes ready what has waited long enough.
    pub(crate) fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            let delayed = entry.remove();
            self.end_delay(delayed);
        }
    }

    fn end_delay(&mut self, delayed: Delayed) {
        match delayed {
            Delayed::Free(waiting) => {
                self.sendable += 1;
                self.free.push_back(*waiting);
            }
            Delayed::Slot(key) => self.make_ready(&key, Hold::Delayed),
        }
    }

    fn make_ready(&mut self, key: &Arc<OrderKey>, held: Hold) {
        if let Some(slot) = self.slots.get_mut(key)
            && slot.hold == held
        {
            slot.hold = Hold::Ready;
            self.sendable += slot.queue.len();
            self.ready.push_back(Arc::clone(key));
        }
    }

    /// An operator says: try what is blocked, or waits, again.
    pub(crate) fn unblock(&mut self) {
        for delayed in std::mem::take(&mut self.delayed).into_values() {
            self.end_delay(delayed);
        }
        let blocked: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.hold == Hold::Blocked)
            .map(|(key, _)| Arc::clone(key))
            .collect();
        blocked.iter().for_each(|key| self.make_ready(key, Hold::Blocked));
        self.sendable += self.blocked.len();
        self.free.extend(self.blocked.drain(..));
    }

    /// When something that waits becomes ready.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.delayed.keys().next().map(|(at, _)| *at)
    }

    /// Whether a key is held by a head that waits for a retry or an operator.
    pub(crate) fn is_held(&self, key: &Arc<OrderKey>) -> bool {
        self.slots.get(key).is_some_and(|slot| matches!(slot.hold, Hold::Delayed | Hold::Blocked))
    }

    /// Takes out what waits behind held heads, in order: it gives its place in the window back.
    pub(crate) fn take_followers(&mut self, mut may_go: impl FnMut(&Waiting) -> bool) -> Vec<Waiting> {
        let mut followers = Vec::new();
        for slot in self.slots.values_mut() {
            if !matches!(slot.hold, Hold::Delayed | Hold::Blocked) {
                continue;
            }
            // Only a whole tail may go: a follower that stays must not be overtaken by one before it.
            let keep =
                slot.queue.iter().rposition(|waiting| !may_go(waiting)).map_or(1, |last| (last + 1).max(1));
            followers.extend(slot.queue.drain(keep.min(slot.queue.len())..));
        }
        self.len -= followers.len();
        followers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use karez_api::{Body, Form, Meta, Millis, RecordId};
    use std::time::Duration;

    fn waiting(key: Option<&str>, id: &str, now: Instant) -> Waiting {
        let meta = Meta::new(RecordId::text(id), "s".into(), Millis(0));
        Waiting {
            record: Record::new(Body::from_bytes(Form::Json, "{}".into()), meta),
            key: key.map(|key| Arc::new(OrderKey { source: 0, lane: false, key: key.as_bytes().into() })),
            diverted: false,
            ledger: None,
            history: History::default(),
            since: now,
            limit: 0,
            turn: None,
        }
    }

    fn ids(taken: &[Waiting]) -> String {
        taken.iter().map(|waiting| waiting.record.id().to_string()).collect::<Vec<_>>().join(" ")
    }

    const SINGLE: Limits = Limits { records: 1, bytes: 1 << 20, atomic: false };
    const MANY: Limits = Limits { records: 10, bytes: 1 << 20, atomic: false };
    const ATOMIC: Limits = Limits { records: 10, bytes: 1 << 20, atomic: true };

    fn filled(records: &[(Option<&str>, &str)]) -> Queue {
        let now = Instant::now();
        let mut queue = Queue::default();
        records.iter().for_each(|(key, id)| queue.push(waiting(*key, id, now)));
        queue
    }

    #[test]
    fn equal_keys_go_one_at_a_time_and_different_keys_together() {
        let mut queue = filled(&[(Some("a"), "a1"), (Some("a"), "a2"), (Some("b"), "b1"), (None, "x")]);
        let first = queue.take(MANY, Instant::now(), None);
        assert_eq!(ids(&first), "a1 b1 x");
        assert_eq!(queue.sendable(), 0);
        assert!(queue.take(MANY, Instant::now(), None).is_empty());
        first.iter().filter_map(|w| w.key.as_ref()).for_each(|key| queue.release(key));
        assert_eq!(ids(&queue.take(MANY, Instant::now(), None)), "a2");
    }

    #[test]
    fn an_atomic_delivery_holds_a_key_more_than_once() {
        let mut queue = filled(&[(Some("a"), "a1"), (Some("a"), "a2"), (Some("b"), "b1")]);
        assert_eq!(ids(&queue.take(ATOMIC, Instant::now(), None)), "a1 a2 b1");
    }

    #[test]
    fn a_waiting_head_holds_back_its_own_key_only() {
        let now = Instant::now();
        let mut queue = filled(&[(Some("a"), "a1"), (Some("a"), "a2"), (Some("b"), "b1")]);
        let mut taken = queue.take(SINGLE, Instant::now(), None);
        let head = taken.remove(0);
        let key = head.key.clone().unwrap();
        queue.retry(head, now + Duration::from_secs(1));
        queue.release(&key);
        assert_eq!(ids(&queue.take(MANY, Instant::now(), None)), "b1");
        queue.wake(now + Duration::from_millis(999));
        assert!(queue.take(MANY, Instant::now(), None).is_empty());
        queue.wake(now + Duration::from_secs(1));
        assert_eq!(ids(&queue.take(ATOMIC, Instant::now(), None)), "a1 a2");
    }

    #[test]
    fn followers_of_a_held_head_give_back_their_place_in_order() {
        let now = Instant::now();
        let mut queue = filled(&[(Some("a"), "a1"), (Some("a"), "a2"), (Some("a"), "a3")]);
        let head = queue.take(SINGLE, Instant::now(), None).remove(0);
        let key = head.key.clone().unwrap();
        queue.retry(head, now);
        assert!(queue.is_held(&key));
        assert_eq!(ids(&queue.take_followers(|_| true)), "a2 a3");
        assert_eq!(queue.len(), 1);
        queue.wake(now);
        assert_eq!(ids(&queue.take(MANY, Instant::now(), None)), "a1");
    }

    #[test]
    fn a_blocked_key_waits_for_the_operator() {
        let mut queue = filled(&[(Some("a"), "a1"), (Some("a"), "a2")]);
        let head = queue.take(SINGLE, Instant::now(), None).remove(0);
        let key = head.key.clone().unwrap();
        queue.block(head);
        queue.release(&key);
        assert!(queue.take(MANY, Instant::now(), None).is_empty());
        queue.unblock();
        assert_eq!(ids(&queue.take(MANY, Instant::now(), None)), "a1");
    }

    #[test]
    fn time_does_not_free_a_key_whose_head_is_blocked() {
        let now = Instant::now();
        let mut queue = filled(&[(Some("a"), "a1"), (Some("a"), "a2")]);
        let mut taken = queue.take(ATOMIC, Instant::now(), None);
        let (second, first) = (taken.pop().unwrap(), taken.pop().unwrap());
        let key = first.key.clone().unwrap();
        // As outcomes are taken in: last first.
        queue.retry(second, now);
        queue.block(first);
        queue.release(&key);
        queue.wake(now + Duration::from_secs(1));
        assert!(queue.take(ATOMIC, Instant::now(), None).is_empty());
        queue.unblock();
        assert_eq!(ids(&queue.take(ATOMIC, Instant::now(), None)), "a1 a2");
    }

    #[test]
    fn what_is_blocked_without_a_key_waits_for_the_operator_too() {
        let mut queue = filled(&[(None, "x")]);
        let head = queue.take(SINGLE, Instant::now(), None).remove(0);
        queue.block(head);
        assert!(queue.take(MANY, Instant::now(), None).is_empty());
        queue.unblock();
        assert_eq!(ids(&queue.take(MANY, Instant::now(), None)), "x");
    }

    #[test]
    fn bytes_bound_a_delivery_but_never_stop_a_single_record() {
        let mut queue = filled(&[(None, "x"), (None, "y")]);
        let taken = queue.take(Limits { records: 10, bytes: 1, atomic: false }, Instant::now(), None);
        assert_eq!(ids(&taken), "x");
    }
}
