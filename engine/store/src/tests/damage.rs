//! Folders that were changed behind the store's back: refused or told, by file and place, and never a panic.

use super::*;

/// A closed store with entries in several segments, half of them settled.
async fn used() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let events = store.events();
    for n in 0..60 {
        let key = key(&n.to_string(), 1000);
        events.append(&stream(), vec![entry(&format!("entry {n}"), Some(key))]).await.unwrap();
    }
    events.settle(&stream(), (1..=60).filter(|n| n % 2 == 0).collect());
    store.progress().write(vec![Write::put("a", "x")]).await.unwrap();
    store.close().await.unwrap();
    folder
}

fn files(folder: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|item| item.unwrap().path());
    let mut found: Vec<_> = all.filter(|path| path.extension().is_some_and(|end| end == ending)).collect();
    found.sort();
    found
}

#[tokio::test]
async fn verify_names_the_file_and_the_place_of_what_is_wrong() {
    let folder = used().await;
    let sound = verify(folder.path()).unwrap();
    assert!(sound.is_sound() && sound.unsettled == 30 && sound.dedup_keys > 0, "{sound:?}");
    let check = |change: &dyn Fn(&Path) -> std::path::PathBuf, place: std::ops::Range<u64>, said: &str| {
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        let file = change(copied.path());
        let before: Vec<_> = files(&copied.path().join("log"), "log");
        let report = verify(copied.path()).unwrap();
        let tells = report.damage.iter().any(|damage| {
            damage.file == file && place.contains(&damage.offset) && damage.what.contains(said)
        });
        assert!(tells && !report.is_sound(), "{said}: {report:?}");
        assert_eq!(files(&copied.path().join("log"), "log"), before, "it changes nothing");
    };
    let flip = |file: std::path::PathBuf, at: usize| {
        let mut bytes = fs::read(&file).unwrap();
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        file
    };
    let cut = |file: std::path::PathBuf, at: u64| {
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(at).unwrap();
        file
    };
    let log = |folder: &Path, number: usize| files(&folder.join("log"), "log").swap_remove(number);
    assert!(files(&folder.path().join("log"), "log").len() > 3);
    check(&|f| flip(log(f, 0), 1000), 800..1001, "no frame of the log can be read here");
    check(&|f| cut(log(f, 1), 1500), 1200..1501, "no frame of the log can be read here");
    check(&|f| flip(log(f, 0), 0), 0..1, "no frame of the log can be read here");
    let remove = |file: std::path::PathBuf| {
        fs::remove_file(&file).unwrap();
        file
    };
    check(&|f| remove(log(f, 1)), 0..1, "the file is missing");
    let keys = |folder: &Path| files(&folder.join("dedup"), "keys").swap_remove(0);
    check(&|f| flip(keys(f), 20), 0..21, "dedup keys cannot be read here");
    let progress = |folder: &Path| folder.join("progress");
    check(&|f| remove(progress(f).join("db")).parent().unwrap().into(), 0..1, "progress is missing");
    let database = fs::read(folder.path().join("progress/db")).unwrap();
    let value = database.windows(3).position(|bytes| bytes == b"\0\0x").map(|at| at + 2);
    if let Some(value) = value {
        check(&|f| flip(progress(f).join("db"), value).parent().unwrap().into(), 0..1, "behind");
    }
}

#[tokio::test]
async fn damage_in_a_sealed_segment_is_found_with_or_without_its_outline() {
    let folder = used().await;
    let first = files(&folder.path().join("log"), "log").swap_remove(0);
    let outline = first.with_extension("outline");
    assert!(outline.exists());
    let whole: Vec<String> = (0..60).step_by(2).map(|n| format!("entry {n}")).collect();
    let mut bytes = fs::read(&first).unwrap();
    let at = bytes.windows(8).position(|text| text == b"entry 4\0" || text.starts_with(b"entry 4")).unwrap();
    bytes[at] ^= 1;
    for without in [false, true] {
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        fs::write(copied.path().join("log").join(first.file_name().unwrap()), &bytes).unwrap();
        if without {
            fs::remove_file(copied.path().join("log").join(outline.file_name().unwrap())).unwrap();
        }
        let store = open(copied.path());
        let found = texts(&store.events()).await;
        assert_eq!(found.len(), 29);
        assert!(found.iter().all(|text| whole.contains(text)));
        assert_eq!(store.usage().damage, 1);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_incomplete_or_foreign_folder_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&one, &other] {
        let store = open(folder.path());
        store.events().append(&stream(), vec![entry("x", None)]).await.unwrap();
        store.close().await.unwrap();
    }
    let check = |change: &dyn Fn(&Path), said: &str| {
        let copied = tempfile::tempdir().unwrap();
        copy(one.path(), copied.path());
        change(copied.path());
        let refused = Store::open(copied.path(), small()).err().map(|error| error.to_string());
        assert!(refused.as_ref().is_some_and(|text| text.contains(said)), "{refused:?}");
    };
    check(&|f| fs::remove_file(f.join("STORE")).unwrap(), "STORE: missing");
    check(&|f| fs::write(f.join("STORE"), "{").unwrap(), "STORE: is damaged");
    check(&|f| fs::remove_dir_all(f.join("log")).unwrap(), "log: is missing");
    check(&|f| fs::remove_dir_all(f.join("progress")).unwrap(), "progress: is missing");
    check(&|f| fs::remove_file(f.join("progress/db")).unwrap(), "progress is missing");
    let foreign = |part: &'static str| {
        let other = other.path().to_owned();
        move |f: &Path| {
            fs::remove_dir_all(f.join(part)).unwrap();
            copy(&other.join(part), &f.join(part));
        }
    };
    check(&foreign("log"), "belongs to store");
    check(&foreign("progress"), "belongs to store");
}

#[tokio::test]
async fn any_flipped_byte_or_cut_invents_nothing_and_panics_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options { segment_bytes: 1 << 20, ..small() }).unwrap();
    let events = store.events();
    for n in 0..20 {
        events
            .append(&stream(), vec![entry(&format!("entry {n}"), Some(key(&format!("{n}"), 1000)))])
            .await
            .unwrap();
    }
    store.close().await.unwrap();
    let whole: Vec<String> = (0..20).map(|n| format!("entry {n}")).collect();
    let log = Path::new("log/0000000001.log");
    let bytes = fs::read(folder.path().join(log)).unwrap();
    for at in (0..bytes.len()).step_by(29) {
        for cut in [false, true] {
            let copied = tempfile::tempdir().unwrap();
            copy(folder.path(), copied.path());
            let mut damaged = bytes.clone();
            if cut {
                damaged.truncate(at)
            } else {
                damaged[at] ^= 0x10
            }
            fs::write(copied.path().join(log), &damaged).unwrap();
            let Ok(store) = Store::open(copied.path(), small()) else {
                continue;
            };
            let found = texts(&store.events()).await;
            assert!(found.iter().all(|text| whole.contains(text)), "{at}: {found:?}");
            assert!(cut || found.len() >= 19, "{at}: {found:?}");
            assert!(cut || found.len() == 20 || store.usage().damage > 0, "{at}: silent loss");
            store.close().await.unwrap();
        }
    }
}
