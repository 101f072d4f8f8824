//! Random histories of keyed state beside the log, with restarts and crashes, held against a model in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use karez_api::Stored;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Act {
    /// Written whatever is there.
    Put(u8, u16),
    Remove(u8),
    /// Both or none: the second expects what the model knows, or something else.
    Pair {
        keys: (u8, u8),
        value: u16,
        expect: Expected,
    },
    /// A position moves in the same breath as entries settle.
    Append,
    Reopen,
    /// The process dies; what was acknowledged was synced.
    Crash,
    /// The process dies and its keyed state comes back as it was some checkpoints ago.
    Older,
}

#[derive(Debug, Clone, Copy)]
enum Expected {
    Right,
    Absent,
    Older,
}

fn act() -> impl Strategy<Value = Act> {
    let key = || 0..5_u8;
    let expect = prop_oneof![Just(Expected::Right), Just(Expected::Absent), Just(Expected::Older)];
    prop_oneof![
        6 => (key(), any::<u16>()).prop_map(|(key, value)| Act::Put(key, value)),
        2 => key().prop_map(Act::Remove),
        6 => ((key(), key()), any::<u16>(), expect)
            .prop_map(|(keys, value, expect)| Act::Pair { keys, value, expect }),
        2 => Just(Act::Append),
        1 => Just(Act::Reopen),
        2 => Just(Act::Crash),
        1 => Just(Act::Older),
    ]
}

type Values = BTreeMap<u8, (u64, Vec<u8>)>;

/// Some values are too long to lie in sled's own pages.
fn bytes_of(value: u16) -> Vec<u8> {
    let length = if value.is_multiple_of(16) { 40_000 } else { usize::from(value % 64) };
    value.to_le_bytes().into_iter().cycle().take(length).collect()
}

fn name(key: u8) -> String {
    format!("position/{key}")
}

fn put(values: &mut Values, key: u8, value: u16) {
    let generation = values.get(&key).map_or(0, |(generation, _)| *generation);
    values.insert(key, (generation + 1, bytes_of(value)));
}

/// Names, lengths and times of all files in a folder; nothing where one went away meanwhile.
fn listing(folder: &Path) -> Option<Vec<(PathBuf, u64, SystemTime)>> {
    let mut found = Vec::new();
    for item in fs::read_dir(folder).ok()? {
        let item = item.ok()?;
        let about = item.metadata().ok()?;
        match about.is_dir() {
            true => found.extend(listing(&item.path())?),
            false => found.push((item.path(), about.len(), about.modified().ok()?)),
        }
    }
    found.sort();
    Some(found)
}

/// A copy as the folder was at one moment: sled has threads that write when they like.
fn copy_of_a_moment(from: &Path, to: &Path) {
    loop {
        let before = listing(from);
        let copied = try_copy(from, to);
        if copied.is_ok() && before.is_some() && before == listing(from) {
            return;
        }
        fs::remove_dir_all(to).unwrap();
    }
}

struct Game {
    root: tempfile::TempDir,
    folder: PathBuf,
    store: Store,
    values: Values,
    appended: u64,
    /// A copy of keyed state, and what was in it.
    older: Option<(PathBuf, Values)>,
}

impl Game {
    fn begin() -> Self {
        let root = quick_folder();
        let folder = root.path().join("0");
        let store = open(&folder);
        Self { root, folder, store, values: Values::new(), appended: 0, older: None }
    }

    async fn act(mut self, step: usize, act: Act) -> Self {
        match act {
            Act::Put(key, value) => {
                self.store.progress().write(vec![Write::put(name(key), bytes_of(value))]).await.unwrap();
                put(&mut self.values, key, value);
            }
            Act::Remove(key) => {
                self.store.progress().write(vec![Write::remove(name(key))]).await.unwrap();
                self.values.remove(&key);
            }
            Act::Pair { keys, value, expect } => self.pair(keys, value, expect).await,
            Act::Append => {
                let text = format!("{}", self.appended);
                self.store.events().append(&stream(), vec![entry(&text, None)]).await.unwrap();
                self.appended += 1;
            }
            Act::Reopen => {
                self.store.close().await.unwrap();
                self.store = open(&self.folder);
                self.check().await;
            }
            Act::Crash => self.crash(step, None).await,
            Act::Older => match self.older.take() {
                None => {
                    let kept = self.root.path().join(format!("older-{step}"));
                    copy_of_a_moment(&self.folder.join("progress"), &kept);
                    self.older = Some((kept, self.values.clone()));
                }
                older => self.crash(step, older).await,
            },
        }
        self
    }

    async fn pair(&mut self, (first, second): (u8, u8), value: u16, expect: Expected) {
        let known = self.values.get(&second).map(|(generation, _)| *generation);
        let (expect, met) = match (expect, known) {
            (Expected::Right, Some(generation)) => (Expect::Generation(generation), true),
            (Expected::Right, None) => (Expect::Absent, true),
            (Expected::Absent, known) => (Expect::Absent, known.is_none()),
            (Expected::Older, known) => (Expect::Generation(known.unwrap_or(1).saturating_sub(1)), false),
        };
        let writes = vec![
            Write::put(name(first), bytes_of(value)),
            Write { expect, ..Write::put(name(second), bytes_of(value ^ 1)) },
        ];
        let written = self.store.progress().write(writes).await;
        match written {
            Ok(()) => {
                assert!(met, "written although something else was expected");
                // Each key once: of two writes of one batch to one key the last counts.
                let before = self.values.clone();
                put(&mut self.values, first, value);
                self.values.remove(&second);
                let generation = before.get(&second).map_or(0, |(generation, _)| *generation);
                self.values.insert(second, (generation + 1, bytes_of(value ^ 1)));
            }
            Err(error) => assert!(!met && matches!(error, StoreError::Conflict { .. }), "{error}"),
        }
    }

    async fn crash(&mut self, step: usize, older: Option<(PathBuf, Values)>) {
        let next = self.root.path().join((step + 1).to_string());
        copy_of_a_moment(&self.folder, &next);
        self.store.close().await.unwrap();
        if let Some((kept, values)) = older {
            fs::remove_dir_all(next.join("progress")).unwrap();
            copy(&kept, &next.join("progress"));
            self.values = values;
        }
        self.folder = next;
        self.store = open(&self.folder);
        self.check().await;
    }

    async fn check(&self) {
        let progress = self.store.progress();
        let listed = progress.list("position/", None, 100).await.unwrap();
        let known = self.values.iter().map(|(key, (generation, value))| {
            (name(*key), Stored { generation: *generation, value: value.clone().into() })
        });
        assert_eq!(listed, known.collect::<Vec<_>>());
        for key in 0..5 {
            let found = progress.get(&name(key)).await.unwrap().map(|stored| stored.generation);
            assert_eq!(found, self.values.get(&key).map(|(generation, _)| *generation));
        }
        let stats = self.store.events().stats(&stream());
        assert_eq!((stats.unsettled, self.store.usage().damage), (self.appended, 0));
    }
}

async fn play(acts: Vec<Act>) {
    let mut game = Game::begin();
    for (step, act) in acts.into_iter().enumerate() {
        game = game.act(step, act).await;
    }
    game.check().await;
    game.store.close().await.unwrap();
}

proptest! {
    #![proptest_config(seeds(500))]
    #[test]
    fn no_history_changes_what_was_checkpointed(acts in proptest::collection::vec(act(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(acts));
    }
}
