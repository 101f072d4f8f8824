//! How far each lane of a positional source is settled without a gap.

use std::collections::{BTreeMap, HashMap, VecDeque};

use karez_api::{Lane, Position};

use crate::planted;

/// Lanes that are kept although nothing of them is on its way.
const IDLE_LANES: usize = 64;

/// The lanes of one source.
#[derive(Debug, Default)]
pub(crate) struct Lanes(HashMap<Lane, Tracker>);

#[derive(Debug, Default)]
struct Tracker {
    /// Number of the first entry in `pending`.
    first: u64,
    pending: VecDeque<Slot>,
    /// Deliveries of records before `first` that no position has passed yet.
    passed: Vec<Delivered>,
}

/// What the ledger holds of a record: the sink's number, and the hash.
pub(crate) type Delivered = (u16, u128);

#[derive(Debug)]
struct Slot {
    settled: bool,
    /// What may be saved once everything up to here is settled.
    position: Option<Position>,
    delivered: Vec<Delivered>,
}

impl Lanes {
    /// Notes the next record of a lane, in the lane's order, and yields its number there.
    pub(crate) fn admit(&mut self, lane: &Lane, position: Option<Position>) -> u64 {
        let tracker = match self.0.get_mut(lane) {
            Some(tracker) => tracker,
            None => self.0.entry(lane.clone()).or_default(),
        };
        tracker.pending.push_back(Slot { settled: false, position, delivered: Vec::new() });
        tracker.first + tracker.pending.len() as u64 - 1
    }

    /// Notes that a record is settled; the lane's new position goes to `saves` if its settled prefix grew past one.
    /// `delivered` is what the ledger holds of it. Returns what the ledger holds of all records that the position
    /// has passed: those before it come again after a crash, however long they have been settled.
    pub(crate) fn settle(
        &mut self,
        lane: &Lane,
        number: u64,
        delivered: Vec<Delivered>,
        saves: &mut BTreeMap<Lane, Position>,
    ) -> Vec<Delivered> {
        let mut released = Vec::new();
        let Some(tracker) = self.0.get_mut(lane) else {
            return released;
        };
        let Some(index) = number.checked_sub(tracker.first) else {
            return released;
        };
        if let Some(slot) = tracker.pending.get_mut(index as usize) {
            slot.settled = true;
            slot.delivered = delivered;
            if planted::highest_position() {
                saves.extend(slot.position.clone().map(|position| (lane.clone(), position)));
            }
        }
        let mut reached = None;
        while tracker.pending.front().is_some_and(|slot| slot.settled)
            && let Some(slot) = tracker.pending.pop_front()
        {
            tracker.first += 1;
            tracker.passed.extend(slot.delivered);
            if slot.position.is_some() {
                reached = slot.position;
                released.append(&mut tracker.passed);
            }
        }
        if let Some(position) = reached {
            match saves.get_mut(lane) {
                Some(save) => *save = position,
                None => {
                    saves.insert(lane.clone(), position);
                }
            }
        }
        // With nothing pending, no number of the lane is out: it may begin anew, and a folder of many files stays small.
        if tracker.pending.is_empty() && self.0.len() > IDLE_LANES {
            self.0.remove(lane);
        }
        released
    }

    /// Sinks have other numbers now: `moved` says which, by the old one. Returns what is held for those that are gone.
    pub(crate) fn renumber(&mut self, moved: &[Option<u16>]) -> Vec<Delivered> {
        let mut gone = Vec::new();
        for tracker in self.0.values_mut() {
            let pending = tracker.pending.iter_mut().map(|slot| &mut slot.delivered);
            for held in pending.chain([&mut tracker.passed]) {
                held.retain_mut(|(sink, hash)| match moved.get(usize::from(*sink)).copied().flatten() {
                    Some(number) => {
                        *sink = number;
                        true
                    }
                    None => {
                        gone.push((*sink, *hash));
                        false
                    }
                });
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn position(n: usize) -> Position {
        Position(Bytes::from(n.to_string()))
    }

    #[test]
    fn only_the_contiguous_prefix_is_saved() {
        let lane = Lane::new("a");
        let mut lanes = Lanes::default();
        let numbers: Vec<u64> = (0..4).map(|n| lanes.admit(&lane, Some(position(n)))).collect();
        let settle = |lanes: &mut Lanes, n: usize| {
            let mut saves = BTreeMap::new();
            lanes.settle(&lane, numbers[n], Vec::new(), &mut saves);
            saves.get(&lane).cloned()
        };
        assert_eq!(settle(&mut lanes, 2), None);
        assert_eq!(settle(&mut lanes, 1), None);
        assert_eq!(settle(&mut lanes, 0), Some(position(2)));
        assert_eq!(settle(&mut lanes, 0), None);
        assert_eq!(settle(&mut lanes, 3), Some(position(3)));
    }

    /// What is settled out of order comes again after a crash: the ledger must know it until the position has passed it.
    #[test]
    fn the_ledger_forgets_only_what_the_position_has_passed() {
        let lane = Lane::new("a");
        let (mut lanes, mut saves) = (Lanes::default(), BTreeMap::new());
        for n in 0..4 {
            // A position after every second record, as where a batch has one.
            lanes.admit(&lane, (n % 2 == 1).then(|| position(n)));
        }
        let mut settle = |n: u64| lanes.settle(&lane, n, vec![(0, n.into())], &mut saves);
        assert_eq!(settle(1), []);
        assert_eq!(settle(2), []);
        assert_eq!(settle(0), [(0, 0), (0, 1)]);
        assert_eq!(settle(3), [(0, 2), (0, 3)]);
    }

    #[test]
    fn what_is_held_follows_its_sink_to_another_number() {
        let lane = Lane::new("a");
        let (mut lanes, mut saves) = (Lanes::default(), BTreeMap::new());
        for n in 0..2 {
            lanes.admit(&lane, Some(position(n)));
        }
        assert_eq!(lanes.settle(&lane, 1, vec![(0, 7), (1, 7)], &mut saves), []);
        assert_eq!(lanes.renumber(&[None, Some(0)]), [(0, 7)]);
        assert_eq!(lanes.settle(&lane, 0, Vec::new(), &mut saves), [(0, 7)]);
    }

    #[test]
    fn lanes_that_are_through_are_forgotten() {
        let (mut lanes, mut saves) = (Lanes::default(), BTreeMap::new());
        for n in 0..1_000 {
            let lane = Lane::new(format!("file-{n}"));
            for _ in 0..2 {
                let number = lanes.admit(&lane, Some(position(n)));
                lanes.settle(&lane, number, Vec::new(), &mut saves);
            }
        }
        assert!(lanes.0.len() <= IDLE_LANES + 1);
        assert_eq!(saves.len(), 1_000);
    }

    proptest! {
        /// Whatever the order of settling: the saved position never passes an unsettled record, and ends at the last.
        #[test]
        fn never_ahead_never_behind(order in Just((0..60_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let lane = Lane::new("a");
            let mut lanes = Lanes::default();
            for n in 0..60 {
                lanes.admit(&lane, Some(position(n)));
            }
            let mut settled = [false; 60];
            let mut saves = BTreeMap::new();
            for n in order {
                settled[n] = true;
                lanes.settle(&lane, n as u64, Vec::new(), &mut saves);
                let prefix = settled.iter().take_while(|done| **done).count();
                let expected = prefix.checked_sub(1).map(position);
                prop_assert_eq!(saves.get(&lane).cloned(), expected);
            }
        }
    }
}
