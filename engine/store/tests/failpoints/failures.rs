//! What happens when the disk refuses to write, to sync, or to give space.

use std::path::Path;
use std::sync::Arc;

use crate::support::{entry, held, is_failed, key, sink, stream};
use fail::FailScenario;
use karez_api::{Appended, Events, StoreError, Write};
use karez_store::{Options, Store, verify};

fn open(folder: &Path) -> Store {
    Store::open(folder, Options { disk_floor: 0, segment_bytes: 4096, ..Options::default() }).unwrap()
}

/// Every kind of call is answered `Failed`.
async fn assert_all_fail(store: &Store) {
    let events = store.events();
    assert!(is_failed(events.append(&stream(), vec![entry("later", 0)]).await));
    assert!(is_failed(events.remember(vec![key("later")]).await));
    assert!(is_failed(events.delivered(&sink(), vec![1], None).await));
    assert!(is_failed(events.flush().await));
    assert!(is_failed(store.progress().write(vec![Write::put("later", "x")]).await));
    assert!(matches!(events.unavailable(), Some(StoreError::Failed(_))));
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_and_the_file_is_not_synced_again() {
    let _scenario = FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let events = store.events();
    assert_eq!(events.append(&stream(), vec![entry("before", 0)]).await.unwrap(), [Appended::Stored(1)]);
    // Once only: a second sync would succeed, and lie.
    fail::cfg("store::sync", "1*return(io)").unwrap();
    let syncs = store.usage().syncs;
    assert!(is_failed(events.append(&stream(), vec![entry("lost", 0)]).await));
    assert_all_fail(&store).await;
    assert!(!events.knows(&key("lost")), "nobody may know of what is not on disk");
    assert_eq!(events.stats(&stream()).unsettled, 1);
    assert!(is_failed(store.close().await));
    assert_eq!(store.usage().syncs, syncs + 1);
    fail::list().into_iter().for_each(|(point, _)| fail::remove(point));
    let store = open(folder.path());
    assert_eq!(held(&*store.events()).await[0], (1, "before".to_owned()));
    assert_eq!(store.usage().damage, 0);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_wait_for_a_sync_learn_that_it_failed() {
    let _scenario = FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    fail::cfg("store::sync", "return(io)").unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..50 {
        let events = store.events();
        tasks.spawn(async move { events.append(&stream(), vec![entry(&n.to_string(), 0)]).await });
    }
    assert!(tasks.join_all().await.into_iter().all(is_failed));
    fail::list().into_iter().for_each(|(point, _)| fail::remove(point));
    drop(store);
}

#[tokio::test]
async fn a_failed_write_ends_the_store_and_harms_nothing_before_it() {
    for point in ["store::before_write", "store::roll", "store::before_unlink", "progress::before_flush"] {
        let _scenario = FailScenario::setup();
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let events = store.events();
        fail::cfg(point, "return(io)").unwrap();
        let mut acknowledged = Vec::new();
        for n in 0..200 {
            let text = n.to_string();
            let answer = events.append(&stream(), vec![entry(&text, 0)]).await;
            match answer.as_deref() {
                Ok([Appended::Stored(sequence)]) => acknowledged.push((*sequence, text)),
                _ => break,
            }
            if n % 3 == 0 && store.progress().write(vec![Write::put("n", n.to_string())]).await.is_err() {
                break;
            }
            events.settle(&stream(), vec![n]);
            acknowledged.retain(|(sequence, _)| *sequence != n);
        }
        assert_all_fail(&store).await;
        assert!(is_failed(store.close().await), "{point}");
        fail::list().into_iter().for_each(|(point, _)| fail::remove(point));
        let store = open(folder.path());
        let found = held(&*store.events()).await;
        assert!(
            acknowledged.iter().all(|entry| found.contains(entry)),
            "{point}: {acknowledged:?} {found:?}"
        );
        assert_eq!(store.usage().damage, 0, "{point}");
        store.close().await.unwrap();
        assert!(verify(folder.path()).unwrap().is_sound(), "{point}");
    }
}

#[tokio::test]
async fn a_writer_that_dies_leaves_nobody_waiting() {
    let _scenario = FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let events = store.events();
    fail::cfg("store::after_write_before_sync", "panic").unwrap();
    assert!(is_failed(events.append(&stream(), vec![entry("a", 0)]).await));
    assert_all_fail(&store).await;
    assert!(is_failed(events.read(&stream(), 0, 1, 1).await), "a reader waits for ever");
    fail::list().into_iter().for_each(|(point, _)| fail::remove(point));
    assert!(is_failed(store.close().await));
    open(folder.path()).close().await.unwrap();
}

#[tokio::test]
async fn without_space_entries_are_refused_and_the_rest_is_written() {
    let _scenario = FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let events = store.events();
    events.append(&stream(), vec![entry("a", 0)]).await.unwrap();
    fail::cfg("store::before_write", "1*return(full)").unwrap();
    let refused = events.append(&stream(), vec![entry("b", 0)]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full(_)), "{refused}");
    assert_eq!(events.append(&stream(), vec![entry("c", 0)]).await.unwrap(), [Appended::Stored(2)]);
    fail::cfg("store::before_write", "1*return(full)").unwrap();
    events.settle(&stream(), vec![1]);
    events.flush().await.unwrap();
    fail::cfg("store::before_write", "2*return(full)").unwrap();
    assert!(matches!(events.flush().await, Err(StoreError::Full(_))));
    // What could not be written is not forgotten.
    events.settle(&stream(), vec![2]);
    store.close().await.unwrap();
    fail::list().into_iter().for_each(|(point, _)| fail::remove(point));
    let store = open(folder.path());
    assert_eq!(held(&*store.events()).await, []);
    let events: Arc<dyn Events> = store.events();
    assert!(!events.knows(&key("b")) && events.knows(&key("c")));
    store.close().await.unwrap();
}
