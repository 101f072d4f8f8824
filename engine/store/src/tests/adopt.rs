//! A pipeline that takes over what hangs on another's name.

use super::*;

fn new_stream() -> StreamName {
    StreamName { pipeline: "q".into(), source: "s".into() }
}

#[tokio::test]
async fn adopting_moves_entries_keys_and_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let events = store.events();
    events.append(&stream(), vec![entry("a", Some(key("k", 1000)))]).await.unwrap();
    events.delivered(&sink(), vec![9], None).await.unwrap();
    events.adopt("p", "q").await.unwrap();
    store.close().await.unwrap();
    let store = open(folder.path());
    let events = store.events();
    let new = StreamName { pipeline: "q".into(), source: "s".into() };
    assert_eq!(events.streams(), std::slice::from_ref(&new));
    assert!(events.knows(&DedupKey { scope: "q/s".into(), ..key("k", 1000) }));
    assert!(!events.knows(&key("k", 1000)));
    assert!(events.ledger(&SinkName { pipeline: "q".into(), sink: "k".into() }).0.contains(&9));
    store.close().await.unwrap();
}

/// A record, keys of the source and of the pipeline, and a sink's ledger and mark.
async fn fill(events: &Arc<dyn Events>) {
    events.append(&stream(), vec![entry("a", Some(key("k", 1000)))]).await.unwrap();
    events.settle(&stream(), vec![1]);
    events.remember(vec![DedupKey { scope: "p".into(), ..key("wide", 1000) }]).await.unwrap();
    events.delivered(&sink(), vec![9], Some(Mark("m".into()))).await.unwrap();
}

fn is_gone(events: &Arc<dyn Events>) -> bool {
    let wide = DedupKey { scope: "p".into(), ..key("wide", 1000) };
    !events.knows(&key("k", 1000)) && !events.knows(&wide) && events.ledger(&sink()) == (HashSet::new(), None)
}

#[tokio::test]
async fn of_a_removed_pipeline_nothing_is_left_and_its_name_can_be_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let events = store.events();
    let other = StreamName { pipeline: "pp".into(), source: "s".into() };
    events.append(&other, vec![entry("kept", None)]).await.unwrap();
    fill(&events).await;
    assert!(!is_gone(&events));
    // Nothing is unsettled any more, but its keys still count.
    assert_eq!(events.streams(), std::slice::from_ref(&other));
    events.remove("p").await.unwrap();
    assert!(is_gone(&events));
    store.close().await.unwrap();
    let store = open(folder.path());
    let events = store.events();
    assert!(is_gone(&events));
    assert_eq!(events.streams(), [other]);
    fill(&events).await;
    assert!(!is_gone(&events));
    store.close().await.unwrap();
}

#[tokio::test]
async fn adopting_again_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let events = store.events();
    events.append(&stream(), vec![entry("a", None)]).await.unwrap();
    for _ in 0..3 {
        events.adopt("p", "q").await.unwrap();
        assert_eq!(events.stats(&new_stream()).unsettled, 1);
    }
    events.append(&new_stream(), vec![entry("b", None)]).await.unwrap();
    events.adopt("p", "q").await.unwrap();
    assert_eq!(events.stats(&new_stream()).unsettled, 2);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_pipeline_with_entries_of_its_own_adopts_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let events = store.events();
    events.append(&stream(), vec![entry("a", None)]).await.unwrap();
    events.append(&new_stream(), vec![entry("b", None)]).await.unwrap();
    let refused = events.adopt("p", "q").await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)));
    assert!(refused.to_string().starts_with("pipeline q cannot adopt p: 1 entries wait"), "{refused}");
    assert_eq!(texts(&events).await, ["a"]);
    events.settle(&new_stream(), vec![1]);
    events.adopt("p", "q").await.unwrap();
    assert_eq!(events.stats(&new_stream()).unsettled, 1);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_come_while_a_name_moves_hang_on_either_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40 {
        let events = store.events();
        tasks.spawn(async move {
            if n == 20 {
                return events.adopt("p", "q").await.map(drop);
            }
            events.append(&stream(), vec![entry(&n.to_string(), None)]).await.map(drop)
        });
    }
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    let held =
        |events: &Arc<dyn Events>| events.stats(&stream()).unsettled + events.stats(&new_stream()).unsettled;
    assert_eq!(held(&store.events()), 39);
    store.close().await.unwrap();
    let store = open(folder.path());
    assert_eq!(held(&store.events()), 39);
    store.close().await.unwrap();
}
