use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use karez_api::{Json, Positions, Source};
use serde_json::json;

use crate::source::Files;
use crate::testing::{World, plan_source};

fn append(path: &Path, text: &str) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

fn settings(root: &Path, more: Json) -> Json {
    let mut settings = json!({"paths": [root.join("*.log*").to_str().unwrap()], "format": "text"});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

async fn read(source: &mut dyn Source, world: &World, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < count {
        let Some(batch) = source.pull().await.unwrap() else {
            break;
        };
        world.keep_positions(&batch);
        found.extend(batch.records.iter().map(|r| String::from_utf8_lossy(r.body().bytes()).into_owned()));
    }
    found
}

#[tokio::test]
async fn reading_goes_on_after_every_record_where_it_was_left() {
    let root = tempfile::tempdir().unwrap();
    append(&root.path().join("a.log"), "one\n\ntwo\r\nthree");
    let plan = plan_source::<Files>(settings(root.path(), json!({})));
    let world = World::new();
    let batch = world.open_source(&*plan).await.pull().await.unwrap().unwrap();
    let Positions::Each(places) = &batch.positions else { panic!("no positions") };
    let whole = ["one", "two", "three"];
    for (index, place) in places.iter().enumerate() {
        let world = World::new();
        world.positions.lock().unwrap().insert(batch.lane.clone(), place.clone());
        let mut source = world.open_source(&*plan).await;
        assert_eq!(read(&mut *source, &world, 9).await, whole[index + 1..]);
    }
}

/// A crash may come before any record is settled.
#[tokio::test]
async fn records_of_a_short_file_keep_their_ids_when_it_is_read_again_and_has_grown() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.log");
    append(&path, "one\n");
    let plan = plan_source::<Files>(settings(root.path(), json!({"follow": true, "poll": "10ms"})));
    let world = World::new();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut source = world.open_source(&*plan).await;
        let mut batch = source.pull().await.unwrap().unwrap();
        while batch.records.is_empty() {
            world.keep_positions(&batch);
            batch = source.pull().await.unwrap().unwrap();
        }
        ids.push(batch.records[0].id().to_string());
        append(&path, "two\n");
    }
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn files_are_read_once_in_order_of_name_and_then_it_ends() {
    let root = tempfile::tempdir().unwrap();
    for n in (0..40).rev() {
        append(&root.path().join(format!("{n:02}.log")), &format!("{n}\n"));
    }
    let world = World::new();
    let plan = plan_source::<Files>(settings(root.path(), json!({})));
    let found = read(&mut *world.open_source(&*plan).await, &world, 99).await;
    assert_eq!(found.len(), 40);
    let again = read(&mut *world.open_source(&*plan).await, &world, 99).await;
    assert!(again.is_empty(), "{again:?}");
}

#[tokio::test]
async fn a_followed_file_is_read_through_rename_and_truncation() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.log");
    let world = World::new();
    let plan = plan_source::<Files>(settings(root.path(), json!({"follow": true, "poll": "10ms"})));
    let mut source = world.open_source(&*plan).await;
    append(&path, "1\n2\npar");
    assert_eq!(read(&mut *source, &world, 2).await, ["1", "2"]);
    append(&path, "tial\n");
    assert_eq!(read(&mut *source, &world, 1).await, ["partial"]);
    fs::rename(&path, root.path().join("a.log.1")).unwrap();
    append(&root.path().join("a.log.1"), "late\n");
    append(&path, "new\n");
    let mut both = read(&mut *source, &world, 2).await;
    both.sort();
    assert_eq!(both, ["late", "new"]);
    fs::write(&path, "").unwrap();
    append(&path, "x\n");
    assert_eq!(read(&mut *source, &world, 1).await, ["x"]);
    drop(source);
    append(&path, "after\n");
    let mut source = world.open_source(&*plan).await;
    assert_eq!(read(&mut *source, &world, 1).await, ["after"]);
}

#[tokio::test]
async fn a_line_beyond_the_limit_is_marked_and_reading_goes_on() {
    let root = tempfile::tempdir().unwrap();
    append(&root.path().join("a.log"), &format!("{}\nok\n", "x".repeat(600_000)));
    let plan = plan_source::<Files>(settings(root.path(), json!({"max_record": "1KiB"})));
    let batch = World::new().open_source(&*plan).await.pull().await.unwrap().unwrap();
    let error = batch.records[0].meta().error.as_ref().map(|error| error.code.to_string());
    assert_eq!(error.as_deref(), Some("too_long"));
    assert_eq!(batch.records[1].body().bytes(), "ok");
    assert_eq!(batch.records[1].meta().line, Some(2));
}

#[tokio::test]
async fn a_file_with_two_names_is_read_once() {
    let root = tempfile::tempdir().unwrap();
    append(&root.path().join("a.log"), "one\n");
    std::os::unix::fs::symlink("a.log", root.path().join("b.log")).unwrap();
    fs::hard_link(root.path().join("a.log"), root.path().join("c.log")).unwrap();
    let plan = plan_source::<Files>(settings(root.path(), json!({})));
    let world = World::new();
    assert_eq!(read(&mut *world.open_source(&*plan).await, &world, 9).await, ["one"]);
}

#[tokio::test]
async fn more_files_are_followed_than_are_open() {
    let root = tempfile::tempdir().unwrap();
    let count = super::MAX_FOLLOWED + 40;
    let path = |n: usize| root.path().join(format!("{n:03}.log"));
    (0..count).for_each(|n| append(&path(n), &format!("{n} first\n")));
    let plan = plan_source::<Files>(settings(root.path(), json!({"follow": true, "poll": "10ms"})));
    let world = World::new();
    let mut source = world.open_source(&*plan).await;
    let mut expected: Vec<String> = (0..count).map(|n| format!("{n} first")).collect();
    let mut found = read(&mut *source, &world, count).await;
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    (0..count).step_by(7).for_each(|n| append(&path(n), &format!("{n} second\n")));
    let mut expected: Vec<String> = (0..count).step_by(7).map(|n| format!("{n} second")).collect();
    let mut found = read(&mut *source, &world, expected.len()).await;
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_place_of_a_file_that_is_gone_for_a_day_is_forgotten() {
    let root = tempfile::tempdir().unwrap();
    append(&root.path().join("a.log"), "one\n");
    append(&root.path().join("b.log"), "two\n");
    let plan = plan_source::<Files>(settings(root.path(), json!({"follow": true, "poll": "10ms"})));
    let world = World::new();
    let mut source = world.open_source(&*plan).await;
    read(&mut *source, &world, 2).await;
    drop(source);
    assert_eq!(world.positions.lock().unwrap().len(), 2);
    fs::remove_file(root.path().join("a.log")).unwrap();
    let mut source = world.open_source(&*plan).await;
    for (hours, left) in [(23, 2), (2, 1)] {
        append(&root.path().join("b.log"), "more\n");
        read(&mut *source, &world, 1).await;
        world.clock.advance(std::time::Duration::from_secs(hours * 3_600));
        append(&root.path().join("b.log"), "more\n");
        read(&mut *source, &world, 1).await;
        assert_eq!(world.positions.lock().unwrap().len(), left, "after {hours} hours more");
    }
}
