//! What the admin side shows of sources that poll, and does with them.

use karez_api::{Clock, Json};
use karez_runtime::SystemClock;
use serde_json::json;

use super::Request;
use super::tests::Desk;
use crate::reload::Pass;

/// Two streams that are read once an hour.
const HOURLY: &str =
    "source: {book: {streams: {a: 2, b: 1}}, schedule: {every: 1h}}\nsink: {blackhole: {}}\n";

/// The source of pipeline `a`, as soon as it is as it should be.
async fn source(desk: &Desk, as_it_should_be: impl Fn(&Json) -> bool) -> Json {
    loop {
        let (_, pipeline) = desk.ask("GET", "/api/v1/pipelines/a", "").await;
        if as_it_should_be(&pipeline["nodes"][0]) {
            return pipeline["nodes"][0].clone();
        }
        tokio::task::yield_now().await;
    }
}

/// Until this many positions are saved: that is done now and then.
async fn saved(desk: &Desk, n: usize) -> Json {
    loop {
        let (_, found) = desk.ask("GET", "/api/v1/pipelines/a/positions", "").await;
        if found["positions"].as_array().unwrap().len() == n {
            return found["positions"].clone();
        }
        tokio::task::yield_now().await;
    }
}

fn all_done(source: &Json) -> bool {
    let runs = source["runs"].as_array().map_or(&[][..], Vec::as_slice);
    !runs.is_empty() && runs.iter().all(|run| run["state"] == "done")
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_in_the_status_and_in_the_metrics() {
    let mut desk = Desk::new().await;
    desk.inside.write("a.yaml", HOURLY);
    desk.inside.pass(Pass::Changes).await;
    let source = source(&desk, all_done).await;
    let (a, b) = (&source["runs"][0], &source["runs"][1]);
    assert_eq!(
        (a["stream"].as_str(), a["pages"].as_u64(), a["read"].as_u64()),
        (Some("a"), Some(2), Some(6))
    );
    assert_eq!((b["stream"].as_str(), b["totals"]["runs"].as_u64()), (Some("b"), Some(1)));
    assert!(a["next_at"].as_u64().is_some());

    let (_, metrics) = desk.ask("GET", "/metrics", "").await;
    let metrics = metrics.as_str().unwrap();
    for line in [
        "karez_source_runs_total{pipeline=\"a\",source=\"source\",stream=\"a\"} 1",
        "karez_source_pages_total{pipeline=\"a\",source=\"source\",stream=\"a\"} 2",
        "karez_source_records_read_total{pipeline=\"a\",source=\"source\",stream=\"b\"} 3",
        "karez_source_throttled_seconds_total{pipeline=\"a\",source=\"source\",stream=\"b\"} 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_asked_to_wait_says_until_when() {
    let mut desk = Desk::new().await;
    desk.inside.write("a.yaml", "source: {book: {streams: {a: 2}, busy: true}}\nsink: {blackhole: {}}\n");
    desk.inside.pass(Pass::Changes).await;
    let source = source(&desk, |source| source["resumes_at"].is_u64()).await;
    assert_eq!(source["down"], "429: too many requests");
    let now = SystemClock.now().0;
    let wait = source["resumes_at"].as_u64().unwrap() - now;
    assert!((50_000..=60_000).contains(&wait), "a minute was asked for, not {wait} ms");
    let progress = crate::runs::progress(&desk.inside.running("a").pipeline.status(), now);
    assert!(progress.starts_with("source resumes ") && progress.contains("429"), "{progress}");
    desk.close().await;
}

/// Has the next request carried out as the daemon would.
async fn ask_manager(desk: &mut Desk, path: &str, body: &str) -> (u16, Json) {
    let (_, none) = tokio::sync::mpsc::channel(1);
    let mut requests = std::mem::replace(&mut desk.requests, none);
    let (address, request) = (desk.address, desk.request("POST", path, body));
    let manager = &mut desk.inside.manager;
    let manage = async {
        let Some(Request::Rewind(request)) = requests.recv().await else { panic!("no rewind") };
        request.tell.send(manager.rewind(&request.pipeline, &request.rewind).await).unwrap();
    };
    let ((status, body), ()) = tokio::join!(super::tests::raw(address, &request), manage);
    desk.requests = requests;
    (status, serde_json::from_str(&body).unwrap())
}

fn came_in(source: &Json) -> u64 {
    source["in"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_read_again_after_a_rewind() {
    let mut desk = Desk::new().await;
    desk.inside.write("a.yaml", HOURLY);
    desk.inside.pass(Pass::Changes).await;
    source(&desk, |source| came_in(source) == 6 && all_done(source)).await;
    let path = "/api/v1/pipelines/a/rewind";

    saved(&desk, 2).await;
    // Without a word it is only told; what cannot be done is refused.
    let (status, told) = desk.ask("POST", path, "{}").await;
    assert_eq!((status, &told["streams"], &told["positions"]), (200, &json!(["a", "b"]), &json!(2)));
    assert_eq!(desk.ask("POST", path, "{\"stream\": \"c\"}").await.0, 409);
    assert_eq!(desk.ask("POST", path, "{\"to\": \"yesterday\"}").await.0, 400);
    assert_eq!(desk.ask("POST", "/api/v1/pipelines/z/rewind", "{}").await.0, 404);
    assert_eq!(came_in(&source(&desk, all_done).await), 6);

    let (status, _) = ask_manager(&mut desk, path, "{\"yes\": true}").await;
    assert_eq!(status, 200);
    source(&desk, |source| came_in(source) == 12 && all_done(source)).await;
    // One stream of two pages.
    let (status, _) = ask_manager(&mut desk, path, "{\"stream\": \"a\", \"yes\": true}").await;
    assert_eq!(status, 200);
    source(&desk, |source| came_in(source) == 16 && all_done(source)).await;
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_is_handed_to_the_source_in_a_lane_that_it_takes_away() {
    let mut desk = Desk::new().await;
    desk.inside.write("a.yaml", HOURLY);
    desk.inside.pass(Pass::Changes).await;
    source(&desk, |source| came_in(source) == 6 && all_done(source)).await;
    let asked = "{\"stream\": \"a\", \"to\": \"2026-01-01\", \"yes\": true}";
    let (status, told) = ask_manager(&mut desk, "/api/v1/pipelines/a/rewind", asked).await;
    assert_eq!((status, &told["to"]), (200, &json!("2026-01-01T00:00:00Z")));
    // All but the first page of `a`.
    source(&desk, |source| came_in(source) == 8 && all_done(source)).await;
    let positions = saved(&desk, 2).await;
    let position = json!({"page": "[redacted]", "run": 1, "at": {"token": "[redacted]"}});
    let lane = |lane: &str| json!({"source": "source", "lane": lane, "position": position});
    assert_eq!(positions, json!([lane("a"), lane("b")]));
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_came_to_its_end_is_started_again_by_a_rewind() {
    let mut desk = Desk::new().await;
    desk.inside.write("a.yaml", "source: {book: {streams: {a: 2}}}\nsink: {blackhole: {}}\n");
    desk.inside.pass(Pass::Changes).await;
    let before = desk.inside.running("a").pipeline;
    before.finished().await;
    assert_eq!(ask_manager(&mut desk, "/api/v1/pipelines/a/rewind", "{\"yes\": true}").await.0, 200);
    let now = desk.inside.running("a").pipeline;
    now.finished().await;
    assert!(!std::sync::Arc::ptr_eq(&before, &now));
    assert_eq!(now.status().counters.delivered, 4);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewind_amid_work_loses_nothing_and_leaves_other_sources_alone() {
    let mut desk = Desk::new().await;
    let text = "sources:\n  api: {book: {streams: {a: 300}}, schedule: {every: 1h}}\n  ticks: {generate: {rate: 200/s}}\n\
                sink: {blackhole: {}}\nmax_in_flight: 16\n";
    desk.inside.write("a.yaml", text);
    desk.inside.pass(Pass::Changes).await;
    source(&desk, |source| came_in(source) > 20).await;
    let (status, _) = ask_manager(&mut desk, "/api/v1/pipelines/a/rewind", "{\"yes\": true}").await;
    assert_eq!(status, 200);
    source(&desk, |source| came_in(source) > 600 && all_done(source)).await;
    let pipeline = desk.inside.running("a").pipeline;
    let before = pipeline.status();
    assert!(before.nodes[0].down.is_none(), "{:?}", before.nodes[0].down);
    while pipeline.status().nodes[1].entered == before.nodes[1].entered {
        tokio::task::yield_now().await;
    }
    pipeline.stop(karez_runtime::Drain::Window(std::time::Duration::from_secs(5))).await;
    let counters = pipeline.status().counters;
    let ends = counters.delivered + counters.returned;
    assert_eq!((counters.received, counters.in_flight), (ends, 0));
    desk.close().await;
}
