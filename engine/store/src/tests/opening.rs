//! What a start reads, and how a store ends that nobody closed.

use super::*;

/// A store with a backlog over several sealed segments.
async fn backlog() -> (tempfile::TempDir, Vec<String>) {
    let folder = quick_folder();
    let store = open(folder.path());
    let events = store.events();
    for n in 0..100 {
        let key = key(&n.to_string(), 1000);
        events.append(&stream(), vec![entry(&format!("entry {n}"), Some(key))]).await.unwrap();
    }
    events.delivered(&sink(), vec![7], None).await.unwrap();
    events.settle(&stream(), (1..=100).filter(|n| n % 3 == 0).collect());
    store.close().await.unwrap();
    (folder, (0..100).filter(|n| n % 3 != 2).map(|n| format!("entry {n}")).collect())
}

async fn check(folder: &Path, whole: &[String]) {
    let store = open(folder);
    let events = store.events();
    assert_eq!(texts(&events).await, whole);
    assert_eq!(events.stats(&stream()).next, 101);
    assert!(events.ledger(&sink()).0.contains(&7));
    assert!((0..100).all(|n| events.knows(&key(&n.to_string(), 1000))));
    assert_eq!(store.usage().damage, 0);
    store.close().await.unwrap();
}

fn outlines(folder: &Path) -> Vec<std::path::PathBuf> {
    let all = fs::read_dir(folder.join("log")).unwrap().map(|item| item.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|end| end == "outline")).collect()
}

#[tokio::test]
async fn sealed_segments_are_read_by_their_outlines_and_without_them_too() {
    let (folder, whole) = backlog().await;
    let count = outlines(folder.path()).len();
    assert!(count > 3, "{count}");
    check(folder.path(), &whole).await;
    for damage in 0..3 {
        for file in outlines(folder.path()) {
            let mut bytes = fs::read(&file).unwrap();
            match damage {
                0 => fs::remove_file(&file).unwrap(),
                1 => fs::write(&file, &bytes[..bytes.len() / 2]).unwrap(),
                _ => {
                    let at = bytes.len() / 2;
                    bytes[at] ^= 4;
                    fs::write(&file, bytes).unwrap();
                }
            }
        }
        check(folder.path(), &whole).await;
        assert!(outlines(folder.path()).len() >= count, "they are made again");
    }
}

#[tokio::test]
async fn an_outline_goes_with_its_segment() {
    let (folder, whole) = backlog().await;
    let store = open(folder.path());
    let events = store.events();
    events.settle(&stream(), (1..=100).collect());
    events.flush().await.unwrap();
    store.close().await.unwrap();
    assert!(outlines(folder.path()).len() <= 2, "{:?} of {}", outlines(folder.path()), whole.len());
}

#[tokio::test]
async fn a_store_that_is_dropped_writes_what_waits_and_lets_go_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (events, progress) = (store.events(), store.progress());
    events.append(&stream(), vec![entry("a", None), entry("b", None)]).await.unwrap();
    events.settle(&stream(), vec![1]);
    let reader = {
        let events = Arc::clone(&events);
        let stream = StreamName { pipeline: "empty".into(), source: "s".into() };
        async move { events.read(&stream, 0, 1, 1).await }
    };
    let reader = tokio::task::JoinSet::from_iter([reader]);
    drop(store);
    let answers = reader.join_all().await;
    assert!(matches!(answers[..], [Err(StoreError::Failed(_))]), "a reader is told");
    assert!(events.append(&stream(), vec![entry("late", None)]).await.is_err());
    drop((events, progress));
    let store = loop {
        if let Ok(store) = Store::open(folder.path(), small()) {
            break store;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(texts(&store.events()).await, ["b"]);
    store.close().await.unwrap();
}
