//! Files change, and what runs follows them.

use std::sync::Arc;

use karez_api::RunState;

use super::Pass;
use crate::daemon::Until;
use crate::testing::{Inside, names};

const COUNTED: &str = "source: {generate: {count: 3}}\nsink: {blackhole: {}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_pipeline_is_swapped_and_the_others_are_not_touched() {
    let mut inside = Inside::new().await;
    inside.write_hook("a.yaml", "/a");
    inside.write_hook("b.yaml", "/b");
    let report = inside.pass(Pass::Changes).await;
    assert_eq!(names(&report.started), ["a", "b"]);
    let (a, b) = (inside.running("a"), inside.running("b"));

    inside.write_hook("a.yaml", "/c");
    let report = inside.pass(Pass::Changes).await;
    assert_eq!((names(&report.reloaded), report.unchanged), (vec!["a"], 1));
    assert!(Arc::ptr_eq(&inside.running("a").pipeline, &a.pipeline), "it went on under its handle");
    assert_eq!(b.pipeline.status().counters.reloads, 0);
    assert!(inside.ingress.serves("/webhooks/c"));
    inside.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_leaves_the_last_good_version_running() {
    let mut inside = Inside::new().await;
    inside.write_hook("a.yaml", "/a");
    inside.pass(Pass::Changes).await;
    for wrong in
        ["source: [", "sources: {x: {nope: {}}}\n", "source: {webhook: {path: /a}}\nsink: {stdout: {}}"]
    {
        inside.write("a.yaml", wrong);
        let report = inside.pass(Pass::Changes).await;
        assert!(report.problems > 0 && report.stopped.is_empty(), "{wrong}");
        assert!(inside.running("a").pipeline.is_running(), "{wrong}");
        assert!(inside.ingress.serves("/webhooks/a"), "{wrong}");
    }
    let (good, failed) = inside.fleet.reloads();
    assert_eq!((good, failed), (1, 3));
    inside.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_emptied_is_about_to_be_written() {
    let mut inside = Inside::new().await;
    inside.write_hook("a.yaml", "/a");
    inside.pass(Pass::Changes).await;
    inside.write("a.yaml", "");
    let report = inside.pass(Pass::Changes).await;
    assert_eq!((report.unchanged, report.problems), (1, 0));
    inside.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pipeline_of_a_deleted_file_ends() {
    let mut inside = Inside::new().await;
    inside.write_hook("a.yaml", "/a");
    inside.pass(Pass::Changes).await;
    let old = inside.running("a");
    inside.remove("a.yaml");
    let report = inside.pass(Pass::Changes).await;
    assert_eq!(names(&report.stopped), ["a"]);
    old.pipeline.finished().await;

    // One that comes back under its name is a new one.
    inside.write_hook("a.yaml", "/a");
    let report = inside.pass(Pass::Changes).await;
    assert_eq!(names(&report.started), ["a"]);
    assert!(!Arc::ptr_eq(&inside.running("a").pipeline, &old.pipeline));
    inside.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_file_takes_over_its_path() {
    let mut inside = Inside::new().await;
    inside.write_hook("a.yaml", "/a");
    inside.pass(Pass::Changes).await;
    inside.remove("a.yaml");
    inside.write_hook("b.yaml", "/a");
    let report = inside.pass(Pass::Changes).await;
    assert_eq!((names(&report.started), names(&report.stopped)), (vec!["b"], vec!["a"]));
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    inside.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_can_pass_paths_on_and_change_places() {
    let mut inside = Inside::new().await;
    for (file, path) in [("a.yaml", "/a"), ("b.yaml", "/b"), ("c.yaml", "/c")] {
        inside.write_hook(file, path);
    }
    inside.pass(Pass::Changes).await;
    // a takes what b gives up, b what c gives up.
    for (file, path) in [("a.yaml", "/b"), ("b.yaml", "/c"), ("c.yaml", "/d")] {
        inside.write_hook(file, path);
    }
    let report = inside.pass(Pass::Changes).await;
    assert_eq!(names(&report.reloaded), ["a", "b", "c"]);
    // A ring: one of them has to be stopped and started.
    for (file, path) in [("a.yaml", "/c"), ("b.yaml", "/b")] {
        inside.write_hook(file, path);
    }
    let report = inside.pass(Pass::Changes).await;
    assert_eq!(report.reloaded.len() + report.started.len(), 2);
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    for path in ["/webhooks/b", "/webhooks/c", "/webhooks/d"] {
        assert!(inside.ingress.serves(path), "{path}");
    }
    inside.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_last_good_version_holds_is_not_taken_from_it() {
    let mut inside = Inside::new().await;
    inside.write_hook("a.yaml", "/a");
    inside.pass(Pass::Changes).await;
    inside.write("a.yaml", "source: [");
    inside.write_hook("b.yaml", "/a");
    let report = inside.pass(Pass::Changes).await;
    let reason = &report.failed["b"];
    assert_eq!(reason, "the path /webhooks/a is held by a, which still runs as it was");
    inside.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_by_itself_is_started_again_only_when_somebody_asks_or_its_file_changes() {
    let mut inside = Inside::new().await;
    inside.write("a.yaml", COUNTED);
    inside.pass(Pass::Changes).await;
    inside.running("a").pipeline.finished().await;
    assert_eq!(inside.pass(Pass::Changes).await.unchanged, 1);
    assert_eq!(names(&inside.pass(Pass::Everything).await.started), ["a"]);
    inside.running("a").pipeline.finished().await;
    inside.write("a.yaml", &COUNTED.replace('3', "5"));
    assert_eq!(names(&inside.pass(Pass::Changes).await.started), ["a"]);
    inside.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_folder_changes_nothing_and_is_told() {
    let mut inside = Inside::new().await;
    inside.write_hook("a.yaml", "/a");
    inside.pass(Pass::Changes).await;
    let folder = inside.folder.path().join("pipelines");
    std::fs::rename(&folder, inside.folder.path().join("elsewhere")).unwrap();
    assert!(inside.manager.pass(Pass::Changes).await.is_err());
    assert!(inside.running("a").pipeline.is_running());
    assert!(inside.fleet.unreadable().unwrap().contains("there is no file or folder"));
    std::fs::rename(inside.folder.path().join("elsewhere"), &folder).unwrap();
    inside.pass(Pass::Changes).await;
    assert_eq!(inside.fleet.unreadable(), None);
    inside.close().await;
}

/// What asks once an hour.
const HOURLY: &str = "source: {book: {streams: {a: 2}}, schedule: {every: 1h}}\nsink: {blackhole: {}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_polls_asks_once_where_the_process_ends_with_its_sources() {
    let mut inside = Inside::until(Until::SourcesEnd).await;
    inside.write("a.yaml", HOURLY);
    inside.pass(Pass::Changes).await;
    let finish = inside.running("a").pipeline.finished().await;
    assert!(matches!(finish, karez_runtime::Finish::Ended), "{finish:?}");
    let account = crate::runs::account(&inside.running("a").pipeline.status()).unwrap();
    assert_eq!((&*account.text, account.adds_up), ("read 6 = outside 2 + (delivered 4)", true));
    inside.close().await;

    let mut inside = Inside::until(Until::Told).await;
    inside.write("a.yaml", HOURLY);
    inside.pass(Pass::Changes).await;
    let pipeline = inside.running("a").pipeline;
    while pipeline.status().nodes[0].runs.first().is_none_or(|run| run.report.state == RunState::Running) {
        tokio::task::yield_now().await;
    }
    assert!(pipeline.is_running(), "it waits for the next hour");
    inside.close().await;
}
