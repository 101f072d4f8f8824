//! Random histories with restarts and power cuts, held against a model in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::path::Path;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Act {
    Append {
        entries: u8,
        key: Option<u8>,
    },
    Settle(u8),
    Remember(u8),
    Delivered(u8),
    Forget(u8),
    Flush,
    Pass(u32),
    Reopen,
    /// A power cut: of what was not synced, this part of 256 survives.
    Crash(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..4_u8, proptest::option::of(0..6_u8)).prop_map(|(entries, key)| Act::Append { entries, key }),
        4 => (0..40_u8).prop_map(Act::Settle),
        2 => (0..6_u8).prop_map(Act::Remember),
        2 => (0..6_u8).prop_map(Act::Delivered),
        1 => (0..6_u8).prop_map(Act::Forget),
        1 => Just(Act::Flush),
        1 => (0..40_000_u32).prop_map(Act::Pass),
        1 => Just(Act::Reopen),
        1 => any::<u8>().prop_map(Act::Crash),
    ]
}

/// What must be there, and what may be: settling is only durable after a flush.
#[derive(Default)]
struct Model {
    unsettled: BTreeMap<u64, String>,
    maybe_settled: BTreeMap<u64, String>,
    keys: BTreeMap<u8, u64>,
    ledger: BTreeSet<u128>,
    maybe_forgotten: BTreeSet<u128>,
    next: u64,
    now: u64,
}

impl Model {
    fn knows(&self, name: u8) -> bool {
        self.keys.get(&name).is_some_and(|at| at + 60_000 > self.now)
    }

    fn durable(&mut self) {
        self.maybe_settled.clear();
        self.maybe_forgotten.clear();
    }

    async fn check(&mut self, events: &Arc<dyn Events>) {
        let all: Vec<u64> = (1..=self.next).collect();
        let found = events.fetch(&stream(), &all).await.unwrap();
        let found: BTreeMap<u64, String> = found
            .iter()
            .map(|e| (e.sequence, String::from_utf8(e.record.body().bytes().to_vec()).unwrap()))
            .collect();
        for (sequence, text) in &self.unsettled {
            assert_eq!(found.get(sequence), Some(text), "lost {sequence}");
        }
        for (sequence, text) in &found {
            let known = self.unsettled.get(sequence).or_else(|| self.maybe_settled.get(sequence));
            assert_eq!(known, Some(text), "invented {sequence}");
        }
        assert!(events.stats(&stream()).next > self.next, "a sequence number would be given twice");
        for name in 0..6 {
            assert_eq!(events.knows(&key(&name.to_string(), self.now)), self.knows(name), "key {name}");
        }
        let ledger: BTreeSet<u128> = events.ledger(&sink()).0.into_iter().collect();
        assert!(ledger.is_superset(&self.ledger));
        assert!(ledger.iter().all(|id| self.ledger.contains(id) || self.maybe_forgotten.contains(id)));
        self.unsettled = found;
        self.ledger = ledger;
        self.durable();
    }
}

/// What a power cut leaves: everything synced, and a part of what was not.
fn power_cut(store: &Store, from: &Path, to: &Path, part: u8) {
    let _still = store.shared().still.lock();
    let (number, synced) = *store.shared().synced.lock().unwrap();
    copy(from, to);
    if number == 0 {
        // The writer has not begun yet; everything was synced at opening.
        return;
    }
    let path = crate::segment::path(&to.join("log"), number);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let kept = synced + (length - synced.min(length)) * u64::from(part) / 256;
    file.set_len(kept.min(length)).unwrap();
}

async fn play(acts: Vec<Act>) {
    let root = tempfile::tempdir().unwrap();
    let mut folder = root.path().join("0");
    let mut store = open(&folder);
    let mut model = Model { now: 1000, ..Model::default() };
    for (step, act) in acts.into_iter().enumerate() {
        let events = store.events();
        match act {
            Act::Append { entries, key: name } => append(&mut model, &events, entries, name).await,
            Act::Settle(back) => {
                let sequence = model.next.saturating_sub(u64::from(back));
                if let Some(text) = model.unsettled.remove(&sequence) {
                    model.maybe_settled.insert(sequence, text);
                }
                events.settle(&stream(), vec![sequence]);
            }
            Act::Remember(name) => {
                events.remember(vec![key(&name.to_string(), model.now)]).await.unwrap();
                model.keys.insert(name, model.now);
            }
            Act::Delivered(id) => {
                events.delivered(&sink(), vec![id.into()], None).await.unwrap();
                model.ledger.insert(id.into());
            }
            Act::Forget(id) => {
                events.forget(&sink(), vec![id.into()]);
                if model.ledger.remove(&id.into()) {
                    model.maybe_forgotten.insert(id.into());
                }
            }
            Act::Flush => {
                events.flush().await.unwrap();
                model.durable();
            }
            Act::Pass(millis) => model.now += u64::from(millis),
            Act::Reopen => {
                store.close().await.unwrap();
                model.durable();
                store = open(&folder);
                model.check(&store.events()).await;
                assert_eq!(store.usage().damage, 0);
            }
            Act::Crash(part) => {
                let next = root.path().join((step + 1).to_string());
                power_cut(&store, &folder, &next, part);
                store.close().await.unwrap();
                fs::remove_dir_all(&folder).unwrap();
                folder = next;
                store = open(&folder);
                model.check(&store.events()).await;
                assert_eq!(store.usage().damage, 0, "a power cut is not damage");
            }
        }
    }
    store.close().await.unwrap();
}

async fn append(model: &mut Model, events: &Arc<dyn Events>, entries: u8, name: Option<u8>) {
    let texts: Vec<String> = (0..entries).map(|n| format!("{}-{n}-{}", model.next, "x".repeat(90))).collect();
    let dedup = |n: usize| name.filter(|_| n == 0).map(|name| key(&name.to_string(), model.now));
    let new = texts.iter().enumerate().map(|(n, text)| entry(text, dedup(n))).collect();
    let answers = events.append(&stream(), new).await.unwrap();
    for (n, (answer, text)) in answers.into_iter().zip(texts).enumerate() {
        let known = name.filter(|_| n == 0).is_some_and(|name| model.knows(name));
        match answer {
            Appended::Duplicate => assert!(known, "{text} was new"),
            Appended::Stored(sequence) => {
                assert!(!known, "{text} was known");
                assert!(sequence > model.next);
                model.next = sequence;
                model.unsettled.insert(sequence, text);
                if let Some(name) = name.filter(|_| n == 0) {
                    model.keys.insert(name, model.now);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_history_loses_or_invents_anything(acts in proptest::collection::vec(act(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(acts));
    }
}
