//! Random histories of the log with restarts and power cuts, held against a model in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::LogAlone;

/// For how long a key counts, in milliseconds.
const TTL: u64 = 60_000;

fn open_log(folder: &Path) -> LogAlone {
    LogAlone::open(folder, small()).unwrap()
}

/// Waits until the writer has taken everything.
fn written(log: &LogAlone) {
    while !log.shared.queue.is_empty() {
        std::thread::yield_now();
    }
    drop(log.shared.still.lock());
}

#[derive(Debug, Clone)]
enum Act {
    Append {
        to: usize,
        entries: u8,
        key: Option<u8>,
    },
    Settle {
        of: usize,
        back: u8,
    },
    /// So many of the newest, each written by itself and not synced.
    SettleApart {
        of: usize,
        count: u8,
    },
    Remember {
        of: usize,
        name: u8,
    },
    /// A sink confirmed one record; its mark moves in the same write.
    Delivered {
        by: usize,
        id: u8,
        marked: bool,
    },
    Forget {
        by: usize,
        id: u8,
    },
    Flush,
    Pass(u32),
    /// Everything is settled, and enough is written behind it for the log to lose its old end.
    Truncate,
    /// So much time passes that no key counts any more.
    Expire,
    Remove(usize),
    Reopen,
    /// A power cut, perhaps another one while the first is recovered from.
    Crash {
        loss: Loss,
        twice: bool,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let which = || 0..PIPELINES.len();
    prop_oneof![
        12 => (which(), 1..4_u8, proptest::option::of(0..6_u8))
            .prop_map(|(to, entries, key)| Act::Append { to, entries, key }),
        8 => (which(), 0..40_u8).prop_map(|(of, back)| Act::Settle { of, back }),
        4 => (which(), 1..6_u8).prop_map(|(of, count)| Act::SettleApart { of, count }),
        4 => (which(), 0..6_u8).prop_map(|(of, name)| Act::Remember { of, name }),
        4 => (which(), 0..6_u8, any::<bool>()).prop_map(|(by, id, marked)| Act::Delivered { by, id, marked }),
        2 => (which(), 0..6_u8).prop_map(|(by, id)| Act::Forget { by, id }),
        2 => Just(Act::Flush),
        2 => (0..40_000_u32).prop_map(Act::Pass),
        1 => Just(Act::Truncate),
        1 => Just(Act::Expire),
        1 => which().prop_map(Act::Remove),
        2 => Just(Act::Reopen),
        4 => (loss(), any::<bool>()).prop_map(|(loss, twice)| Act::Crash { loss, twice }),
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

/// What must be there of one pipeline, and what may be: settling is only durable after a flush.
#[derive(Default)]
struct Pipeline {
    unsettled: BTreeMap<u64, String>,
    maybe_settled: BTreeMap<u64, String>,
    keys: BTreeMap<u8, u64>,
    ledger: BTreeSet<u128>,
    maybe_forgotten: BTreeSet<u128>,
    mark: Option<Mark>,
    next: u64,
}

/// What must be there of all.
#[derive(Default)]
struct Model {
    pipelines: [Pipeline; PIPELINES.len()],
    now: u64,
}

const PIPELINES: [&str; 2] = ["p", "q"];

fn stream_of(which: usize) -> StreamName {
    StreamName { pipeline: PIPELINES[which].into(), ..stream() }
}

fn sink_of(which: usize) -> SinkName {
    SinkName { pipeline: PIPELINES[which].into(), ..sink() }
}

fn key_of(which: usize, name: u8, at: u64) -> DedupKey {
    DedupKey { scope: stream_of(which).to_string().into(), ..key(&name.to_string(), at) }
}

impl Pipeline {
    fn knows(&self, name: u8, now: u64) -> bool {
        self.keys.get(&name).is_some_and(|at| at + TTL > now)
    }

    fn settle(&mut self, sequence: u64) {
        if let Some(text) = self.unsettled.remove(&sequence) {
            self.maybe_settled.insert(sequence, text);
        }
    }

    fn durable(&mut self) {
        self.maybe_settled.clear();
        self.maybe_forgotten.clear();
    }

    async fn check(&mut self, events: &Arc<dyn Events>, which: usize, now: u64) {
        let all: Vec<u64> = (1..=self.next).collect();
        let found = events.fetch(&stream_of(which), &all).await.unwrap();
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
        let stats = events.stats(&stream_of(which));
        assert_eq!(stats.unsettled, found.len() as u64);
        assert!(self.next == 0 || stats.next > self.next, "a sequence number would be given twice");
        for name in 0..6 {
            assert_eq!(events.knows(&key_of(which, name, now)), self.knows(name, now), "key {name}");
        }
        let (ledger, mark) = events.ledger(&sink_of(which));
        assert_eq!(mark, self.mark, "another mark");
        let ledger: BTreeSet<u128> = ledger.into_iter().collect();
        assert!(ledger.is_superset(&self.ledger), "lost a confirmation");
        let known = |id: &u128| self.ledger.contains(id) || self.maybe_forgotten.contains(id);
        assert!(ledger.iter().all(known), "invented a confirmation");
        self.unsettled = found;
        self.ledger = ledger;
        self.durable();
    }
}

impl Model {
    fn durable(&mut self) {
        self.pipelines.iter_mut().for_each(Pipeline::durable);
    }

    async fn check(&mut self, log: &LogAlone) {
        for (which, pipeline) in self.pipelines.iter_mut().enumerate() {
            pipeline.check(&log.events(), which, self.now).await;
        }
        assert_eq!(log.usage().damage, 0, "neither a restart nor a power cut is damage");
    }
}

/// What a power cut leaves: everything synced, and not all of what was not. Returns the segment it was in.
fn power_cut(log: &LogAlone, from: &Path, to: &Path, loss: &Loss) -> Option<PathBuf> {
    written(log);
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

/// A log, the folders it moves through, and what it must hold.
struct Game {
    root: tempfile::TempDir,
    folder: PathBuf,
    log: LogAlone,
    model: Model,
}

impl Game {
    fn begin() -> Self {
        let root = quick_folder();
        let folder = root.path().join("0");
        let log = open_log(&folder);
        Self { root, folder, log, model: Model { now: 1000, ..Model::default() } }
    }

    async fn act(self, step: usize, act: Act) -> Self {
        match act {
            Act::Reopen => self.reopen().await,
            Act::Crash { loss, twice } => self.crash(step, &loss, twice).await,
            Act::Truncate => self.truncated().await,
            Act::Expire => self.expired().await,
            act => {
                let mut game = self;
                game.go_on(act).await;
                game
            }
        }
    }

    /// Whatever needs no new opening.
    async fn go_on(&mut self, act: Act) {
        let (events, now) = (self.log.events(), self.model.now);
        let pipelines = &mut self.model.pipelines;
        match act {
            Act::Append { to, entries, key } => {
                append(&mut pipelines[to], &events, to, now, entries, key).await
            }
            Act::Settle { of, back } => {
                let sequence = pipelines[of].next.saturating_sub(u64::from(back));
                pipelines[of].settle(sequence);
                events.settle(&stream_of(of), vec![sequence]);
            }
            Act::SettleApart { of, count } => {
                for _ in 0..count {
                    let Some((&sequence, _)) = pipelines[of].unsettled.last_key_value() else { break };
                    pipelines[of].settle(sequence);
                    events.settle(&stream_of(of), vec![sequence]);
                    written(&self.log);
                }
            }
            Act::Remember { of, name } => {
                events.remember(vec![key_of(of, name, now)]).await.unwrap();
                pipelines[of].keys.insert(name, now);
            }
            Act::Delivered { by, id, marked } => {
                let mark = marked.then(|| Mark(Bytes::from(format!("{now} {id}"))));
                events.delivered(&sink_of(by), vec![id.into()], mark.clone()).await.unwrap();
                pipelines[by].ledger.insert(id.into());
                pipelines[by].mark = mark.or(pipelines[by].mark.take());
            }
            Act::Forget { by, id } => {
                events.forget(&sink_of(by), vec![id.into()]);
                if pipelines[by].ledger.remove(&id.into()) {
                    pipelines[by].maybe_forgotten.insert(id.into());
                }
            }
            Act::Flush => {
                events.flush().await.unwrap();
                self.model.durable();
            }
            Act::Pass(millis) => self.model.now += u64::from(millis),
            Act::Remove(which) => {
                events.remove(PIPELINES[which]).await.unwrap();
                pipelines[which] = Pipeline::default();
            }
            Act::Truncate | Act::Expire | Act::Reopen | Act::Crash { .. } => {}
        }
    }

    /// Writes and settles more than a few segments hold.
    async fn roll(&mut self) {
        for _ in 0..8 {
            self.go_on(Act::Append { to: 0, entries: 12, key: None }).await;
            for back in 0..12 {
                self.go_on(Act::Settle { of: 0, back }).await;
            }
        }
        self.go_on(Act::Flush).await;
    }

    async fn truncated(mut self) -> Self {
        for of in 0..PIPELINES.len() {
            while let Some((&sequence, _)) = self.model.pipelines[of].unsettled.first_key_value() {
                self.model.pipelines[of].settle(sequence);
                self.log.events().settle(&stream_of(of), vec![sequence]);
            }
        }
        self.roll().await;
        written(&self.log);
        let usage = self.log.usage();
        assert!(usage.segments <= 4, "what is settled is still there: {usage:?}");
        self.model.check(&self.log).await;
        self
    }

    async fn expired(mut self) -> Self {
        self.model.now += 2 * TTL;
        self.go_on(Act::Remember { of: 0, name: 0 }).await;
        self.roll().await;
        written(&self.log);
        let usage = self.log.usage();
        assert!(usage.dedup_keys <= 1, "what is over is still there: {usage:?}");
        self.model.check(&self.log).await;
        self
    }

    async fn reopen(self) -> Self {
        let Self { root, folder, log, mut model } = self;
        log.close().await.unwrap();
        model.durable();
        let log = open_log(&folder);
        model.check(&log).await;
        Self { root, folder, log, model }
    }

    async fn crash(self, step: usize, loss: &Loss, twice: bool) -> Self {
        let Self { root, folder, log, mut model } = self;
        let mut next = root.path().join((step + 1).to_string());
        let segment = power_cut(&log, &folder, &next, loss);
        let torn = segment.map(|segment| (fs::read(&segment).unwrap(), segment));
        log.close().await.unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let mut log = open_log(&next);
        if let Some((torn, segment)) = torn.filter(|_| twice) {
            let again = root.path().join(format!("{}-again", step + 1));
            copy(&next, &again);
            before_the_cut(&again, &segment, &torn);
            log.close().await.unwrap();
            next = again;
            log = open_log(&next);
        }
        model.check(&log).await;
        Self { root, folder: next, log, model }
    }
}

async fn append(
    pipeline: &mut Pipeline,
    events: &Arc<dyn Events>,
    to: usize,
    now: u64,
    entries: u8,
    name: Option<u8>,
) {
    let texts: Vec<String> =
        (0..entries).map(|n| format!("{to}-{}-{n}-{}", pipeline.next, "x".repeat(90))).collect();
    let dedup = |n: usize| name.filter(|_| n == 0).map(|name| key_of(to, name, now));
    let new = texts.iter().enumerate().map(|(n, text)| entry(text, dedup(n))).collect();
    let answers = events.append(&stream_of(to), new).await.unwrap();
    for (n, (answer, text)) in answers.into_iter().zip(texts).enumerate() {
        let name = name.filter(|_| n == 0);
        let known = name.is_some_and(|name| pipeline.knows(name, now));
        match answer {
            Appended::Duplicate => assert!(known, "{text} was new"),
            Appended::Stored(sequence) => {
                assert!(!known, "{text} was known");
                assert!(sequence > pipeline.next);
                pipeline.next = sequence;
                pipeline.unsettled.insert(sequence, text);
                pipeline.keys.extend(name.map(|name| (name, now)));
            }
        }
    }
}

async fn play(acts: Vec<Act>) {
    let mut game = Game::begin();
    for (step, act) in acts.into_iter().enumerate() {
        game = game.act(step, act).await;
    }
    game.log.close().await.unwrap();
}

proptest! {
    #![proptest_config(seeds(700))]
    #[test]
    fn no_history_loses_or_invents_anything(acts in proptest::collection::vec(act(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(acts));
    }
}
