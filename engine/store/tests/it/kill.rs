//! A process that is killed while it appends loses nothing that it was told is durable.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{entry, held, is_failed, key, stream};
use karez_api::Appended;
use karez_store::{Options, Store, verify};

const FOLDER: &str = "KAREZ_STORE_KILL_FOLDER";
const ROUNDS: usize = 10;

fn open(folder: &Path) -> Store {
    Store::open(folder, Options { disk_floor: 0, segment_bytes: 64 << 10, ..Options::default() }).unwrap()
}

/// The process that is killed: says what was acknowledged, and settles every other entry.
#[test]
#[ignore = "the other test starts it"]
fn child() {
    let folder = std::env::var_os(FOLDER).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&folder));
        let first = store.events().stats(&stream()).next;
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..8 {
            let events = store.events();
            tasks.spawn(async move {
                for n in 0.. {
                    let text = format!("{first}-{task}-{n}");
                    let answers = events.append(&stream(), vec![entry(&text, 300)]).await.unwrap();
                    let [Appended::Stored(sequence)] = answers[..] else { panic!("{text} is new") };
                    if sequence % 2 == 0 {
                        events.settle(&stream(), vec![sequence]);
                    }
                    // One write, so that a kill cuts off no line that is believed.
                    let line = format!("\nacknowledged {sequence} {text} .\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    });
}

/// Starts the child and kills it after so many acknowledgements. Returns all that it gave.
fn acknowledged_until_killed(folder: &Path, after: usize) -> BTreeMap<u64, String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = BTreeMap::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let ["acknowledged", sequence, text, "."] = line.split(' ').collect::<Vec<_>>()[..] {
            let before = acknowledged.insert(sequence.parse().unwrap(), text.to_owned());
            assert_eq!(before, None, "a number was given twice");
        }
        if acknowledged.len() == after {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    acknowledged
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = BTreeMap::new();
    for round in 0..ROUNDS {
        let acknowledged = acknowledged_until_killed(folder.path(), 100 + 97 * round);
        assert!(acknowledged.len() >= 100, "the child died by itself");
        for (sequence, text) in acknowledged {
            assert_eq!(all.insert(sequence, text), None, "{sequence} was given twice");
        }
        assert!(verify(folder.path()).unwrap().is_sound());
        let store = open(folder.path());
        let events = store.events();
        let found: BTreeMap<u64, String> = held(&*events).await.into_iter().collect();
        for (sequence, text) in &all {
            assert!(events.knows(&key(text)), "the key of {text} is lost");
            let there = found.get(sequence);
            assert!(there == Some(text) || (sequence % 2 == 0 && there.is_none()), "{text}: {there:?}");
        }
        assert_eq!(store.usage().damage, 0);
        // Dropped, not closed: the next child gets the lock all the same.
        drop(store);
        while verify(folder.path()).is_err() {
            tokio::task::yield_now().await;
        }
        assert!(is_failed(events.append(&stream(), vec![entry("late", 0)]).await));
    }
}
