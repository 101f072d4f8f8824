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
}

#[derive(Debug)]
struct Slot {
    settled: bool,
    /// What may be saved once everything up to here is settled.
    position: Option<Position>,
}

impl Lanes {
    /// Notes the next record of a lane, in the lane's order, and yields its number there.
    pub(crate) fn admit(&mut self, lane: &Lane, position: Option<Position>) -> u64 {
        let tracker = match self.0.get_mut(lane) {
            Some(tracker) => tracker,
            None => self.0.entry(lane.clone()).or_default(),
        };
        tracker.pending.push_back(Slot { settled: false, position });
        tracker.first + tracker.pending.len() as u64 - 1
    }

    /// Notes that a record is settled; the lane's new position goes to `saves` if its settled prefix grew past one.
    pub(crate) fn settle(&mut self, lane: &Lane, number: u64, saves: &mut BTreeMap<Lane, Position>) {
        let Some(tracker) = self.0.get_mut(lane) else {
            return;
        };
        let Some(index) = number.checked_sub(tracker.first) else {
            return;
        };
        if let Some(slot) = tracker.pending.get_mut(index as usize) {
            slot.settled = true;
            if planted::highest_position() {
                saves.extend(slot.position.clone().map(|position| (lane.clone(), position)));
            }
        }
        let mut reached = None;
        while tracker.pending.front().is_some_and(|slot| slot.settled) {
            let slot = tracker.pending.pop_front();
            tracker.first += 1;
            reached = slot.and_then(|slot| slot.position).or(reached);
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
            lanes.settle(&lane, numbers[n], &mut saves);
            saves.get(&lane).cloned()
        };
        assert_eq!(settle(&mut lanes, 2), None);
        assert_eq!(settle(&mut lanes, 1), None);
        assert_eq!(settle(&mut lanes, 0), Some(position(2)));
        assert_eq!(settle(&mut lanes, 0), None);
        assert_eq!(settle(&mut lanes, 3), Some(position(3)));
    }

    #[test]
    fn lanes_that_are_through_are_forgotten() {
        let (mut lanes, mut saves) = (Lanes::default(), BTreeMap::new());
        for n in 0..1_000 {
            let lane = Lane::new(format!("file-{n}"));
            for _ in 0..2 {
                let number = lanes.admit(&lane, Some(position(n)));
                lanes.settle(&lane, number, &mut saves);
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
                lanes.settle(&lane, n as u64, &mut saves);
                let prefix = settled.iter().take_while(|done| **done).count();
                let expected = prefix.checked_sub(1).map(position);
                prop_assert_eq!(saves.get(&lane).cloned(), expected);
            }
        }
    }
}
