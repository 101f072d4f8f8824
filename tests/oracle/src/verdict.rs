//! Holds what was promised against what was seen. Judges once everything has come to rest, never before.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::ids::Flaw;
use crate::ledger::Account;
use crate::observe::Sighting;
use crate::{Id, Maker};

/// What a lane promises beside losing nothing.
#[derive(Debug, Clone, Copy)]
pub struct Expect {
    /// Each event takes effect at most once.
    pub once: bool,
    /// Nothing is repeated on the wire either.
    pub quiet: bool,
    /// First effects of one sender's events come in the order in which they were acknowledged.
    pub ordered: bool,
    /// Events that a filter takes out.
    pub filtered: fn(Id) -> bool,
    /// Events that may become dead letters.
    pub refused: fn(Id) -> bool,
}

impl Default for Expect {
    fn default() -> Self {
        Self { once: true, quiet: false, ordered: true, filtered: |_| false, refused: |_| false }
    }
}

/// What became of the events of one lane.
#[derive(Debug, Default, Clone)]
pub struct Verdict {
    pub attempted: u64,
    pub acked: u64,
    pub refused: u64,
    pub unknown: u64,
    /// Events that took effect, each once.
    pub effective: u64,
    pub dead_lettered: u64,
    pub lost: u64,
    /// Effects beyond the first of an event.
    pub repeated: u64,
    /// Sightings beyond the first of an event.
    pub repeated_on_the_wire: u64,
    /// What is wrong, in words, with ids.
    pub violations: Vec<String>,
}

/// Judges a lane.
#[must_use]
pub fn judge(
    maker: &Maker,
    accounts: &HashMap<Id, Account>,
    sightings: &[Sighting],
    letters: &BTreeSet<Id>,
    expect: Expect,
) -> Verdict {
    let mut verdict = Verdict { dead_lettered: letters.len() as u64, ..Verdict::default() };
    for account in accounts.values() {
        verdict.attempted += 1;
        verdict.acked += u64::from(account.acked > 0);
        verdict.refused += u64::from(account.refused);
        verdict.unknown += u64::from(account.unknown);
    }
    let mut wrong = Wrong::default();
    let mut seen: HashMap<Id, (u64, HashSet<Option<&str>>)> = HashMap::new();
    let mut last: BTreeMap<u16, Id> = BTreeMap::new();
    for sighting in sightings {
        let id = match maker.recognise(&sighting.body) {
            Ok(id) if accounts.contains_key(&id) => id,
            Ok(id) => {
                wrong.add("forged", id);
                continue;
            }
            Err(Flaw::Forged(text)) => {
                wrong.add("forged", text);
                continue;
            }
            Err(Flaw::Corrupt(text)) => {
                wrong.add("corrupt", text);
                continue;
            }
        };
        if (expect.filtered)(id) {
            wrong.add("not filtered", id);
        }
        let (count, keys) = seen.entry(id).or_default();
        *count += 1;
        let effect = match &sighting.key {
            Some(key) => keys.insert(Some(key)),
            None => {
                keys.insert(None);
                true
            }
        };
        if *count > 1 {
            verdict.repeated_on_the_wire += 1;
            if effect {
                verdict.repeated += 1;
                if expect.once {
                    wrong.add("repeated in effect", id);
                }
            }
            continue;
        }
        // What was given up after silence may have come in at any time.
        if expect.ordered && accounts[&id].acked > 0 {
            let before = last.insert(id.producer, id);
            if let Some(before) = before.filter(|before| before.sequence > id.sequence) {
                wrong.add("out of order", format!("{id} after {before}"));
            }
        }
    }
    letters
        .iter()
        .filter(|id| !(expect.refused)(**id))
        .for_each(|id| wrong.add("dead-lettered without a cause", id));
    let mut lost: Vec<Id> =
        accounts.iter().filter(|(_, account)| account.acked > 0).map(|(id, _)| *id).collect();
    lost.retain(|id| !seen.contains_key(id) && !letters.contains(id) && !(expect.filtered)(*id));
    lost.sort_unstable();
    lost.iter().for_each(|id| wrong.add("lost", id));
    verdict.lost = lost.len() as u64;
    verdict.effective = seen.len() as u64;
    if expect.quiet && verdict.repeated_on_the_wire > 0 {
        let count = verdict.repeated_on_the_wire;
        wrong.add("repeated on the wire", format!("{count} times"));
    }
    verdict.violations = wrong.told();
    verdict
}

/// Violations by kind, so that ten thousand of one kind take one line.
#[derive(Default)]
struct Wrong(BTreeMap<&'static str, (u64, Vec<String>)>);

impl Wrong {
    fn add(&mut self, kind: &'static str, what: impl ToString) {
        let (count, examples) = self.0.entry(kind).or_default();
        *count += 1;
        if examples.len() < 5 {
            examples.push(what.to_string());
        }
    }

    fn told(self) -> Vec<String> {
        let line = |(kind, (count, examples)): (&str, (u64, Vec<String>))| {
            format!("{kind}: {count} ({})", examples.join(", "))
        };
        self.0.into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Seed, ids::Sizes};

    struct World {
        maker: Maker,
        accounts: HashMap<Id, Account>,
        sightings: Vec<Sighting>,
        letters: BTreeSet<Id>,
    }

    /// Ten events of two senders, all acknowledged and seen once.
    fn good() -> World {
        let maker = Maker::new(Seed(1), Sizes::Small);
        let events: Vec<_> = (0..10).map(|n| maker.event(n % 2, u32::from(n / 2))).collect();
        let account = Account { attempts: 1, acked: 1, ..Account::default() };
        World {
            accounts: events.iter().map(|event| (event.id, account)).collect(),
            sightings: events
                .iter()
                .map(|event| Sighting { body: event.body.clone().into(), key: Some(event.id.to_string()) })
                .collect(),
            letters: BTreeSet::new(),
            maker,
        }
    }

    fn verdict(world: &World, expect: Expect) -> Verdict {
        judge(&world.maker, &world.accounts, &world.sightings, &world.letters, expect)
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Break = fn(&mut World);
        let cases: [(&str, Break); 8] = [
            ("", |_| ()),
            ("lost: 1", |world| drop(world.sightings.remove(3))),
            ("out of order: 1", |world| world.sightings.swap(2, 4)),
            ("corrupt: 1", |world| world.sightings[0].body.truncate(20)),
            ("forged: 1", |world| world.sightings[0].body = b"{}".to_vec()),
            ("forged: 1", |world| {
                let body = world.maker.event(9, 9).body.into();
                world.sightings.push(Sighting { body, key: None });
            }),
            ("repeated in effect: 1", |world| {
                let again = Sighting { key: Some("another".into()), ..world.sightings[0].clone() };
                world.sightings.push(again);
            }),
            ("", |world| {
                let again = world.sightings[0].clone();
                world.sightings.push(again);
            }),
        ];
        for (expected, damage) in cases {
            let mut world = good();
            damage(&mut world);
            let told = verdict(&world, Expect::default()).violations.join("; ");
            assert!(
                told.contains(expected) && (expected.is_empty() == told.is_empty()),
                "{expected}: {told}"
            );
        }
    }

    #[test]
    fn what_was_never_acknowledged_may_be_missing_and_what_is_a_dead_letter_is_not_lost() {
        let mut world = good();
        let id = world.maker.recognise(&world.sightings.remove(3).body).unwrap();
        world.accounts.get_mut(&id).unwrap().acked = 0;
        assert_eq!(verdict(&world, Expect::default()).violations, [""; 0]);
        world.accounts.get_mut(&id).unwrap().acked = 1;
        world.letters.insert(id);
        assert_eq!(verdict(&world, Expect { refused: |_| true, ..Expect::default() }).violations, [""; 0]);
        let told = verdict(&world, Expect::default()).violations;
        assert!(told[0].starts_with("dead-lettered without a cause: 1"), "{told:?}");
    }

    #[test]
    fn files_have_no_key_and_each_line_is_an_effect() {
        let mut world = good();
        let again = Sighting { key: None, ..world.sightings[0].clone() };
        world.sightings[0].key = None;
        world.sightings.push(again);
        let verdict = verdict(&world, Expect { quiet: true, ..Expect::default() });
        assert_eq!((verdict.repeated, verdict.violations.len()), (1, 2), "{:?}", verdict.violations);
    }
}
