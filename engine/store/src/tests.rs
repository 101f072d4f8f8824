//! The store as its callers see it, over restarts, crashes and damage.

mod adopt;
mod checkpoints;
mod damage;
mod model;
mod opening;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use karez_api::{
    Appended, Body, DedupKey, Events, Expect, Form, Mark, Meta, Millis, NewEntry, Record, RecordId, SinkName,
    StoreError, StreamName, Write,
};

use proptest::prelude::ProptestConfig;

use crate::{Options, Store, verify};

fn small() -> Options {
    Options { disk_floor: 0, segment_bytes: 2048, cache_bytes: 2048, ..Options::default() }
}

fn open(folder: &Path) -> Store {
    Store::open(folder, small()).unwrap()
}

fn stream() -> StreamName {
    StreamName { pipeline: "p".into(), source: "s".into() }
}

fn sink() -> SinkName {
    SinkName { pipeline: "p".into(), sink: "k".into() }
}

fn entry(text: &str, key: Option<DedupKey>) -> NewEntry {
    let meta = Meta::new(RecordId::text(text), "s".into(), Millis(1));
    let body = Body::from_bytes(Form::Opaque, Bytes::copy_from_slice(text.as_bytes()));
    NewEntry { record: Record::new(body, meta), dedup: key }
}

fn key(key: &str, at: u64) -> DedupKey {
    DedupKey { scope: "p/s".into(), key: key.into(), ttl: Duration::from_secs(60), at: Millis(at) }
}

async fn texts(events: &Arc<dyn Events>) -> Vec<String> {
    if events.stats(&stream()).unsettled == 0 {
        return Vec::new();
    }
    let read = events.read(&stream(), 0, 10_000, usize::MAX).await.unwrap();
    read.iter().map(|entry| String::from_utf8(entry.record.body().bytes().to_vec()).unwrap()).collect()
}

/// So many histories of a model: `usual`, or what `KAREZ_TEST_SEEDS` says.
fn seeds(usual: u32) -> ProptestConfig {
    let told = std::env::var("KAREZ_TEST_SEEDS").ok().and_then(|told| told.parse().ok());
    ProptestConfig { cases: told.unwrap_or(usual), failure_persistence: None, ..ProptestConfig::default() }
}

/// In memory where there is such a folder: what is tested there does not hang on the disk.
fn quick_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    try_copy(from, to).unwrap();
}

fn try_copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for item in fs::read_dir(from)? {
        let item = item?;
        let target = to.join(item.file_name());
        if item.file_type()?.is_dir() {
            try_copy(&item.path(), &target)?;
        } else {
            fs::copy(item.path(), target)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_was_appended_and_not_settled_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let events = store.events();
    for n in 0..300 {
        let done = events.append(&stream(), vec![entry(&format!("{n}"), None)]).await.unwrap();
        assert_eq!(done, [Appended::Stored(n + 1)]);
    }
    events.settle(&stream(), (1..=300).filter(|n| n % 100 != 0).collect());
    events.flush().await.unwrap();
    assert_eq!(texts(&events).await, ["99", "199", "299"]);
    store.close().await.unwrap();

    let store = open(folder.path());
    let events = store.events();
    assert_eq!(texts(&events).await, ["99", "199", "299"]);
    events.settle(&stream(), vec![100, 200, 300]);
    store.close().await.unwrap();

    let store = open(folder.path());
    assert_eq!(store.events().stats(&stream()).unsettled, 0);
    assert_eq!(store.events().stats(&stream()).next, 301);
    assert!(store.events().streams().is_empty());
    assert!(store.usage().segments < 5, "{:?}", store.usage());
    store.close().await.unwrap();
    assert!(verify(folder.path()).unwrap().is_sound());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_equal_keys_at_once_exactly_one_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let events = store.events();
    let one = |n: usize| {
        let events = Arc::clone(&events);
        async move {
            events.append(&stream(), vec![entry(&format!("{n}"), Some(key("same", 1000)))]).await.unwrap()
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..50 {
        tasks.spawn(one(n));
    }
    let answers = tasks.join_all().await.concat();
    assert_eq!(answers.iter().filter(|a| matches!(a, Appended::Stored(_))).count(), 1);
    assert_eq!(events.stats(&stream()).unsettled, 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_key_counts_for_its_ttl_over_restarts_and_sealed_segments() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let events = store.events();
    for n in 0..200 {
        events.append(&stream(), vec![entry("x", Some(key(&format!("{n}"), 1000)))]).await.unwrap();
    }
    events.settle(&stream(), (1..=200).collect());
    events.flush().await.unwrap();
    store.close().await.unwrap();
    let store = open(folder.path());
    let events = store.events();
    for n in 0..200 {
        assert!(events.knows(&key(&format!("{n}"), 60_999)));
        assert!(!events.knows(&key(&format!("{n}"), 61_000)));
    }
    assert!(!events.knows(&key("200", 1000)));
    store.close().await.unwrap();
}

#[tokio::test]
async fn keys_beyond_the_memory_budget_are_found_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options { dedup_memory: 0, ..small() }).unwrap();
    let events = store.events();
    for n in 0..300_u64 {
        let keys = vec![key(&format!("{n}"), 1000 + n * 100), key(&format!("{n}b"), 1000 + n * 100)];
        events.remember(keys).await.unwrap();
    }
    let at = 1000 + 300 * 100;
    assert!((0..300).all(|n| events.knows(&key(&format!("{n}"), at))));
    assert!((300..600).all(|n| !events.knows(&key(&format!("{n}"), at))));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_ledger_keeps_what_was_not_forgotten_and_the_last_mark() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let events = store.events();
    for n in 0..500_u128 {
        let mark = Mark(Bytes::from(n.to_string()));
        events.delivered(&sink(), vec![n], Some(mark)).await.unwrap();
    }
    events.forget(&sink(), (0..500).filter(|n| *n != 7).collect());
    store.close().await.unwrap();
    for _ in 0..3 {
        let store = open(folder.path());
        let (ids, mark) = store.events().ledger(&sink());
        assert_eq!(ids.into_iter().collect::<Vec<_>>(), [7]);
        assert_eq!(mark, Some(Mark(Bytes::from_static(b"499"))));
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_empty_journal_takes_what_is_larger_than_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options { max_bytes: 300, ..small() }).unwrap();
    let events = store.events();
    let large = || vec![entry(&"x".repeat(1_000), None)];
    events.append(&stream(), large()).await.unwrap();
    assert!(matches!(events.append(&stream(), large()).await, Err(StoreError::Full(_))));
    events.settle(&stream(), vec![1]);
    events.append(&stream(), large()).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_full_journal_says_so_and_takes_more_once_entries_settle() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options { max_bytes: 300, ..small() }).unwrap();
    let events = store.events();
    let mut stored = 0;
    while events.append(&stream(), vec![entry("x", None)]).await.is_ok() {
        stored += 1;
    }
    let refused = events.append(&stream(), vec![entry("x", None)]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full(_)), "{refused}");
    let known = || entry("known", Some(key("known", 1000)));
    events.remember(vec![key("known", 1000)]).await.unwrap();
    let answer = events.append(&stream(), vec![known(), known()]).await.unwrap();
    assert_eq!(answer, [Appended::Duplicate; 2], "a duplicate needs no room");
    events.settle(&stream(), (1..=stored).collect());
    assert_eq!(
        events.append(&stream(), vec![entry("x", None)]).await.unwrap(),
        [Appended::Stored(stored + 1)]
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn below_the_disk_floor_entries_are_refused_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options { disk_floor: u64::MAX, ..small() }).unwrap();
    let events = store.events();
    let refused = events.append(&stream(), vec![entry("x", None)]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full(_)));
    assert!(matches!(events.unavailable(), Some(StoreError::Full(_))));
    events.remember(vec![key("k", 1000)]).await.unwrap();
    events.delivered(&sink(), vec![1], None).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_second_opener_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let refused = Store::open(folder.path(), small()).err().unwrap();
    assert!(refused.to_string().contains("LOCK: the store is in use"), "{refused}");
    assert!(verify(folder.path()).is_err());
    store.close().await.unwrap();
    open(folder.path()).close().await.unwrap();
}

#[tokio::test]
async fn progress_compares_and_sets_lists_and_survives() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let progress = store.progress();
    progress.write(vec![Write::put("a/1", "x"), Write::put("a/2", "y"), Write::put("b", "z")]).await.unwrap();
    let lost = Write { expect: Expect::Absent, ..Write::put("a/1", "no") };
    let conflict = progress.write(vec![Write::remove("b"), lost]).await.unwrap_err();
    assert_eq!(conflict, StoreError::Conflict { key: "a/1".into() });
    let won = Write { expect: Expect::Generation(1), ..Write::put("a/1", "x2") };
    progress.write(vec![won]).await.unwrap();
    store.close().await.unwrap();
    let store = open(folder.path());
    let progress = store.progress();
    assert_eq!(progress.get("a/1").await.unwrap().map(|s| (s.generation, s.value)), Some((2, "x2".into())));
    let keys = |found: Vec<(String, _)>| found.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(progress.list("a/", None, 10).await.unwrap()), ["a/1", "a/2"]);
    assert_eq!(keys(progress.list("a/", Some("a/1"), 10).await.unwrap()), ["a/2"]);
    assert_eq!(keys(progress.list("", None, 1).await.unwrap()), ["a/1"]);
    store.close().await.unwrap();
    assert_eq!(verify(folder.path()).unwrap().progress_values, 3);
}
