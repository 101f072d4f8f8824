//! A disk that fills up. The test runs in a mount namespace of its own, on a small file system in memory.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use karez_api::{Appended, Events, Expect, StoreError, Write};
use karez_store::{Options, Store, verify};

use crate::support::{entry, held, key, sink, stream};

const FOLDER: &str = "KAREZ_STORE_SMALL_DISK";
const UNSHARE: [&str; 3] = ["--user", "--map-root-user", "--mount"];

fn options() -> Options {
    Options { disk_floor: 0, segment_bytes: 1 << 20, ..Options::default() }
}

/// Appends until there is no space, then takes what is left with a file of our own.
async fn fill(events: &dyn Events, folder: &Path) -> u64 {
    let mut stored = 0;
    loop {
        let text = format!("{}", events.stats(&stream()).next);
        match events.append(&stream(), vec![entry(&text, 100_000)]).await {
            Ok(answers) => assert!(matches!(answers[..], [Appended::Stored(_)])),
            Err(StoreError::Full(why)) => {
                assert!(why.contains("free some space"), "{why}");
                break;
            }
            Err(error) => panic!("{error}"),
        }
        stored += 1;
    }
    let mut other = fs::File::create(folder.join("other")).unwrap();
    while other.write(&[0; 1000]).is_ok() {}
    stored
}

#[tokio::test]
#[ignore = "the other test starts it, on a small disk"]
async fn on_a_small_disk() {
    let folder = std::env::var_os(FOLDER).unwrap();
    let folder = Path::new(&folder);
    let store = Store::open(folder, options()).unwrap();
    let (events, progress) = (store.events(), store.progress());
    progress.write(vec![Write::put("position", "0")]).await.unwrap();
    assert!(folder.join("reserve").exists());

    // The appends reach the reserve, the rest of the work is done from it.
    let stored = fill(&*events, folder).await;
    assert!(stored > 100 && !folder.join("reserve").exists());
    fs::remove_file(folder.join("other")).unwrap();
    assert!(matches!(events.append(&stream(), vec![entry("big", 30 << 20)]).await, Err(StoreError::Full(_))));
    events.remember(vec![key("delivered")]).await.unwrap();
    events.delivered(&sink(), vec![7], None).await.unwrap();
    progress
        .write(vec![Write { expect: Expect::Generation(1), ..Write::put("position", "1") }])
        .await
        .unwrap();

    // A disk without a byte left fails nothing for good.
    let stored = stored + fill(&*events, folder).await;
    let settled: Vec<u64> = (1..=stored).collect();
    events.settle(&stream(), settled);
    for _ in 0..3 {
        assert!(!matches!(events.flush().await, Err(StoreError::Failed(_))));
        let position = progress.write(vec![Write::put("position", "2")]).await;
        assert!(!matches!(position, Err(StoreError::Failed(_))), "{position:?}");
    }
    fs::remove_file(folder.join("other")).unwrap();

    // With space everything goes on, and the settled gives its space back.
    events.flush().await.unwrap();
    let reserve = folder.join("reserve");
    for n in 0.. {
        events.append(&stream(), vec![entry(&format!("again {n}"), 100_000)]).await.unwrap();
        events.settle(&stream(), vec![events.stats(&stream()).next - 1]);
        assert!(n < 10_000, "the reserve is not set aside again");
        if n > 200 && reserve.exists() {
            break;
        }
    }
    let last = events.append(&stream(), vec![entry("last", 0)]).await.unwrap();
    progress.write(vec![Write::put("position", "3")]).await.unwrap();
    store.close().await.unwrap();

    let store = Store::open(folder, options()).unwrap();
    let [Appended::Stored(last)] = last[..] else { panic!("{last:?}") };
    assert_eq!(held(&*store.events()).await, [(last, "last".to_owned())]);
    assert!(store.events().knows(&key("delivered")) && !store.events().knows(&key("big")));
    assert_eq!(store.progress().get("position").await.unwrap().unwrap().value, "3");
    assert_eq!(store.usage().damage, 0);
    store.close().await.unwrap();
    assert!(verify(folder).unwrap().is_sound());
}

#[test]
fn a_full_disk_refuses_entries_and_takes_them_again_once_there_is_space() {
    let may = Command::new("unshare").args(UNSHARE).arg("true").output();
    if !may.is_ok_and(|done| done.status.success()) {
        eprintln!("skipped: this machine gives no mount namespace; the failpoints test covers most of it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let test = std::env::current_exe().unwrap();
    let script =
        r#"mount -t tmpfs -o size=64m none "$1" && exec "$2" --exact full_disk::on_a_small_disk --ignored"#;
    let done = Command::new("unshare")
        .args(UNSHARE)
        .args(["sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(&test)
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
