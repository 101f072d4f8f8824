//! How many records may go to a sink in a time, all together or by key. Each that asks is given its turn: the
//! moment at which it may go. Knows no record.

use std::collections::HashMap;
use std::time::Duration;

use karez_api::RateLimit;
use tokio::time::Instant;

/// What the turns of keys beyond the most are counted under.
const OTHERS: u128 = u128::MAX;

#[derive(Debug)]
pub(crate) struct Gate {
    interval: Duration,
    /// How far turns may be given ahead of their time: a second's worth, less one.
    ahead: Duration,
    keyed: bool,
    max_keys: usize,
    /// By key: when its next turn is due, were they given evenly.
    due: HashMap<u128, Instant>,
}

impl Gate {
    pub(crate) fn new(limit: &RateLimit) -> Self {
        let interval = Duration::from_secs_f64(limit.rate.interval.clamp(1e-9, 1e9));
        Self {
            interval,
            ahead: Duration::from_secs(1).saturating_sub(interval),
            keyed: limit.key.is_some(),
            max_keys: limit.max_keys,
            due: HashMap::new(),
        }
    }

    /// Whether turns are counted by key.
    pub(super) fn is_keyed(&self) -> bool {
        self.keyed
    }

    /// Gives a turn: the moment at which it may be taken, `now` at the earliest.
    pub(super) fn turn(&mut self, key: u128, now: Instant) -> Instant {
        let key = if self.keyed { self.room_for(key, now) } else { 0 };
        let due = self.due.entry(key).or_insert(now);
        let mine = (*due).max(now);
        *due = mine + self.interval;
        now.max(mine.checked_sub(self.ahead).unwrap_or(now))
    }

    /// Takes turns that are free.
    pub(crate) fn take(&mut self, n: usize, now: Instant) {
        let due = self.due.entry(0).or_insert(now);
        *due = (*due).max(now) + self.interval * u32::try_from(n).unwrap_or(u32::MAX);
    }

    /// How many may go now, where turns are not counted by key; none are given.
    pub(crate) fn free(&self, now: Instant) -> usize {
        let due = self.due.get(&0).copied().unwrap_or(now).max(now);
        let left = (self.ahead + self.interval).saturating_sub(due - now);
        let free = left.as_nanos() / self.interval.as_nanos().max(1);
        usize::try_from(free).unwrap_or(usize::MAX)
    }

    /// When the next one may go, where turns are not counted by key.
    pub(crate) fn opens(&self, now: Instant) -> Instant {
        let due = self.due.get(&0).copied().unwrap_or(now);
        due.checked_sub(self.ahead).unwrap_or(now).max(now)
    }

    /// The key itself, or that of all the others where too many are told apart. One whose turns are all past is
    /// as good as new.
    fn room_for(&mut self, key: u128, now: Instant) -> u128 {
        if self.due.contains_key(&key) || self.due.len() < self.max_keys {
            return key;
        }
        self.due.retain(|_, due| *due > now);
        if self.due.len() < self.max_keys { key } else { OTHERS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use karez_api::{Json, Value};

    fn gate(rate: &str, keyed: bool, max_keys: usize) -> Gate {
        let key = keyed.then(|| karez_api::constant(Some(Json::from(1))) as Value);
        Gate::new(&RateLimit { rate: rate.parse().unwrap(), key, max_keys })
    }

    fn waits(gate: &mut Gate, keys: &[u128], now: Instant) -> Vec<u128> {
        keys.iter().map(|key| (gate.turn(*key, now) - now).as_millis()).collect()
    }

    #[test]
    fn what_a_second_allows_goes_at_once_and_the_rest_evenly() {
        let now = Instant::now();
        let mut gate = gate("4/s", false, 10);
        assert_eq!(gate.free(now), 4);
        assert_eq!(waits(&mut gate, &[0; 7], now), [0, 0, 0, 0, 250, 500, 750]);
        assert_eq!(gate.free(now), 0);
        assert_eq!(gate.opens(now), now + Duration::from_secs(1));
        assert_eq!(gate.free(now + Duration::from_secs(9)), 4);
    }

    #[test]
    fn a_slow_rate_lets_one_go_at_a_time() {
        let now = Instant::now();
        let mut gate = gate("6/m", false, 10);
        assert_eq!(gate.free(now), 1);
        assert_eq!(waits(&mut gate, &[0; 3], now), [0, 10_000, 20_000]);
    }

    #[test]
    fn keys_beyond_the_most_share_their_turns() {
        let now = Instant::now();
        let mut gate = gate("1/s", true, 2);
        assert_eq!(waits(&mut gate, &[1, 1, 2, 3, 4], now), [0, 1_000, 0, 0, 1_000]);
        // The first two are as good as new after a while.
        assert_eq!(waits(&mut gate, &[5, 6], now + Duration::from_secs(60)), [0, 0]);
    }
}
