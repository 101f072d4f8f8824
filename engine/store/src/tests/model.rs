//! Random histories of the log with restarts and power cuts, held against a model in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use proptest::prelude::*;

use super::*;
use crate::events::Log;
use crate::folder::{self, Paths};
use crate::queue::Work;
use crate::shared::Shared;
use crate::{recovery, store};

/// The log without keyed state, whose opening takes longer than a whole history.
struct LogAlone {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl LogAlone {
    fn open(root: &Path) -> Self {
        let paths = Paths::new(root);
        fs::create_dir_all(root).unwrap();
        let lock = folder::lock(&paths).unwrap();
        let mut identity = folder::identify(&paths).unwrap();
        fs::create_dir_all(&paths.log).unwrap();
        fs::create_dir_all(&paths.dedup).unwrap();
        let recovered = recovery::recover(&paths, &identity, small().dedup_memory).unwrap();
        if !identity.ready {
            folder::mark_ready(&paths, &mut identity).unwrap();
        }
        let (shared, thread) = store::start_log(small(), paths, identity, recovered, lock).unwrap();
        Self { shared, thread }
    }

    fn events(&self) -> Arc<dyn Events> {
        Arc::new(Log(Arc::clone(&self.shared)))
    }

    /// Waits until the writer has taken everything.
    fn written(&self) {
        while !self.shared.queue.is_empty() {
            std::thread::yield_now();
        }
        drop(self.shared.still.lock());
    }

    async fn close(self) {
        self.shared.queue.ask(Work::Close, 0).await.unwrap();
        self.thread.join().unwrap();
    }
}

#[derive(Debug, Clone)]
enum Act {
    Append {
        entries: u8,
        key: Option<u8>,
    },
    Settle(u8),
    /// So many of the newest, each written by itself and not synced.
    SettleApart(u8),
    Remember(u8),
    Delivered(u8),
    Forget(u8),
    Flush,
    Pass(u32),
    Reopen,
    /// A power cut, perhaps another one while the first is recovered from.
    Crash {
        loss: Loss,
        twice: bool,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..4_u8, proptest::option::of(0..6_u8)).prop_map(|(entries, key)| Act::Append { entries, key }),
        4 => (0..40_u8).prop_map(Act::Settle),
        2 => (1..6_u8).prop_map(Act::SettleApart),
        2 => (0..6_u8).prop_map(Act::Remember),
        2 => (0..6_u8).prop_map(Act::Delivered),
        1 => (0..6_u8).prop_map(Act::Forget),
        1 => Just(Act::Flush),
        1 => (0..40_000_u32).prop_map(Act::Pass),
        1 => Just(Act::Reopen),
        2 => (loss(), any::<bool>()).prop_map(|(loss, twice)| Act::Crash { loss, twice }),
    ]
}

/// What a power cut does to what was not synced, in parts of 256.
#[derive(Debug, Clone)]
enum Loss {
    /// This part survives, the rest does not.
    Tail(u8),
    /// From here on, this part was not written although what follows was.
    Hole(u8, u8),
}

fn loss() -> impl Strategy<Value = Loss> {
    let hole = (any::<u8>(), any::<u8>()).prop_map(|(from, length)| Loss::Hole(from, length));
    prop_oneof![any::<u8>().prop_map(Loss::Tail), hole]
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

/// What a power cut leaves: everything synced, and not all of what was not. Returns the segment it was in.
fn power_cut(log: &LogAlone, from: &Path, to: &Path, loss: &Loss) -> Option<PathBuf> {
    log.written();
    let _still = log.shared.still.lock();
    let (number, synced) = *log.shared.synced.lock().unwrap();
    copy(from, to);
    if number == 0 {
        // The writer has not begun yet; everything was synced at opening.
        return None;
    }
    let path = crate::segment::path(&to.join("log"), number);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    let unsynced = length - synced.min(length);
    let part = |of: u8| unsynced * u64::from(of) / 256;
    match *loss {
        Loss::Tail(kept) => file.set_len(synced + part(kept)).unwrap(),
        Loss::Hole(from, size) => {
            let zeros = vec![0; usize::try_from(part(size).min(unsynced - part(from))).unwrap()];
            file.write_all_at(&zeros, synced + part(from)).unwrap();
        }
    }
    Some(path)
}

/// As it is when power fails between noting a tear and cutting it off.
fn before_the_cut(folder: &Path, segment: &Path, torn: &[u8]) {
    let again = folder.join("log").join(segment.file_name().unwrap());
    fs::write(&again, torn).unwrap();
    fs::remove_file(again.with_extension("outline")).unwrap();
}

async fn play(acts: Vec<Act>) {
    let root = quick_folder();
    let mut folder = root.path().join("0");
    let mut log = LogAlone::open(&folder);
    let mut model = Model { now: 1000, ..Model::default() };
    for (step, act) in acts.into_iter().enumerate() {
        let events = log.events();
        match act {
            Act::Append { entries, key: name } => append(&mut model, &events, entries, name).await,
            Act::Settle(back) => {
                let sequence = model.next.saturating_sub(u64::from(back));
                if let Some(text) = model.unsettled.remove(&sequence) {
                    model.maybe_settled.insert(sequence, text);
                }
                events.settle(&stream(), vec![sequence]);
            }
            Act::SettleApart(count) => {
                for _ in 0..count {
                    let Some((sequence, text)) = model.unsettled.pop_last() else { break };
                    model.maybe_settled.insert(sequence, text);
                    events.settle(&stream(), vec![sequence]);
                    log.written();
                }
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
                log.close().await;
                model.durable();
                log = LogAlone::open(&folder);
                model.check(&log.events()).await;
                assert_eq!(log.shared.damage(), 0);
            }
            Act::Crash { loss, twice } => {
                let next = root.path().join((step + 1).to_string());
                let segment = power_cut(&log, &folder, &next, &loss);
                let torn = segment.map(|segment| (fs::read(&segment).unwrap(), segment));
                log.close().await;
                fs::remove_dir_all(&folder).unwrap();
                folder = next;
                log = LogAlone::open(&folder);
                if let Some((torn, segment)) = torn.filter(|_| twice) {
                    let next = root.path().join(format!("{}-again", step + 1));
                    copy(&folder, &next);
                    before_the_cut(&next, &segment, &torn);
                    log.close().await;
                    folder = next;
                    log = LogAlone::open(&folder);
                }
                model.check(&log.events()).await;
                assert_eq!(log.shared.damage(), 0, "a power cut is not damage");
            }
        }
    }
    log.close().await;
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
    #![proptest_config(ProptestConfig { cases: 700, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_history_loses_or_invents_anything(acts in proptest::collection::vec(act(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(acts));
    }
}
