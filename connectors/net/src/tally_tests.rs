//! What a caller's tally says of its calls.

use super::*;
use crate::spec::ErrorRule;
use crate::{Rules, Tally};

/// `requests, retries, throttled_ms, not_modified, bytes`.
fn counted(tally: &Tally) -> [u64; 5] {
    [&tally.requests, &tally.retries, &tally.throttled_ms, &tally.not_modified, &tally.bytes]
        .map(|counter| counter.load(Ordering::SeqCst))
}

fn tallied(url: Url) -> (Request, Arc<Tally>) {
    let tally = Arc::<Tally>::default();
    (Request { tally: Some(Arc::clone(&tally)), ..get(url) }, tally)
}

#[tokio::test]
async fn a_tally_has_what_was_sent_again_and_how_long_the_far_end_asked_to_wait() {
    let tries = AtomicUsize::default();
    let server = Server::start(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => answer(503, &[("retry-after", "1")], "down"),
        1 => answer(200, &[], "up"),
        _ => answer(503, &[("retry-after", "2")], "down"),
    })
    .await;
    let connection = opened(&json!({"url": url(&server)}), &TestClock::hasty(Duration::from_secs(5)));
    let (request, tally) = tallied(server.url("/"));
    let request = Request { retries: true, ..request };
    connection.call(request.clone()).await.unwrap();
    assert_eq!(counted(&tally), [2, 1, 1000, 0, 6]);
    connection.call(get(server.url("/"))).await.unwrap_err();
    assert_eq!(counted(&tally), [2, 1, 1000, 0, 6], "another's call is not counted");
    let longer = connection.call(request).await.unwrap_err().fault;
    assert_eq!(
        longer.retry_after(),
        Some(Duration::from_secs(2)),
        "who keeps a tally waits for longer itself"
    );
    assert_eq!(counted(&tally)[1], 1);
}

#[tokio::test]
async fn a_redirect_is_a_request_and_a_replay_with_other_credentials_a_retry() {
    let server = Server::start(|asked| match (asked.uri().path(), header(asked, "authorization")) {
        ("/moved", _) => answer(302, &[("location", "/here")], ""),
        (_, Some("Bearer t1")) => answer(200, &[], "{}"),
        _ => answer(401, &[], ""),
    })
    .await;
    let connection = authorized(&json!({"url": url(&server), "follow_redirects": true}));
    let (request, tally) = tallied(server.url("/moved"));
    connection.call(request).await.unwrap();
    assert_eq!(counted(&tally), [3, 1, 0, 0, 2]);
}

#[tokio::test]
async fn waiting_for_a_turn_is_counted_also_where_it_was_in_vain() {
    let server = Server::start(|_| answer(429, &[("retry-after", "3")], "")).await;
    let connection = opened(&json!({"url": url(&server)}), &TestClock::hasty(Duration::from_secs(10)));
    let (request, tally) = tallied(server.url("/"));
    connection.call(request.clone()).await.unwrap_err();
    assert_eq!(counted(&tally), [1, 0, 0, 0, 0]);
    connection.call(request).await.unwrap_err();
    assert_eq!(counted(&tally), [2, 0, 3000, 0, 0], "it is a call of its own, not a repetition");
}

#[tokio::test]
async fn what_a_cache_answers_is_no_request_and_what_has_not_changed_has_no_bytes() {
    let server = Server::start(|asked| match header(asked, "if-none-match") {
        Some(_) => answer(304, &[("etag", "\"a\""), ("cache-control", "max-age=10")], ""),
        None => answer(200, &[("etag", "\"a\""), ("cache-control", "max-age=10")], "[1,2]"),
    })
    .await;
    let clock = TestClock::still();
    let connection = opened(&json!({"url": url(&server), "cache": {}}), &clock);
    let (request, tally) = tallied(server.url("/"));
    connection.call(request.clone()).await.unwrap();
    assert!(connection.call(request.clone()).await.unwrap().cached);
    assert_eq!(counted(&tally), [1, 0, 0, 0, 5]);
    clock.pass(Duration::from_secs(60));
    assert_eq!(connection.call(request).await.unwrap().body, "[1,2]");
    assert_eq!(counted(&tally), [2, 0, 0, 1, 5]);
}

#[tokio::test]
async fn an_answer_that_was_kept_for_another_is_judged_by_the_rules_of_who_asks() {
    let server =
        Server::start(|_| answer(404, &[("cache-control", "max-age=60")], r#"{"error":"gone"}"#)).await;
    let connection = opened(&json!({"url": url(&server), "cache": {}}), &TestClock::still());
    let rules: Vec<ErrorRule> =
        serde_json::from_value(json!([{"status": [404], "means": "success"}])).unwrap();
    let lenient = Request { rules: Some(Arc::new(Rules::new(&rules).unwrap())), ..get(server.url("/")) };
    assert_eq!(connection.call(lenient.clone()).await.unwrap().status, 404);
    let failure = connection.call(get(server.url("/"))).await.unwrap_err();
    assert_eq!(failure.fault.code(), "http_404");
    assert!(connection.call(lenient).await.unwrap().cached);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn who_asks_the_same_at_the_same_time_has_rules_and_a_tally_of_its_own() {
    let (asked, back) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (came, gate) = (Arc::clone(&asked), Arc::clone(&back));
    let server = Server::start_async(move |_| {
        let (came, gate) = (Arc::clone(&came), Arc::clone(&gate));
        Box::pin(async move {
            came.notify_one();
            gate.notified().await;
            answer(404, &[], r#"{"error":"gone"}"#)
        })
    })
    .await;
    let connection = opened(&json!({"url": url(&server)}), &TestClock::still());
    let reuse = crate::Reuse::For { key: "a".into(), ttl: Duration::from_secs(60) };
    let rules: Vec<ErrorRule> =
        serde_json::from_value(json!([{"status": [404], "means": "success"}])).unwrap();
    let rules = Some(Arc::new(Rules::new(&rules).unwrap()));
    let (strict, strict_tally) = tallied(server.url("/"));
    let (lenient, lenient_tally) = tallied(server.url("/"));
    let strict = Request { reuse: reuse.clone(), ..strict };
    let lenient = Request { reuse, rules, ..lenient };
    for (first, other) in [(&strict, &lenient), (&lenient, &strict)] {
        let mut calls = [first, other].map(|request| Box::pin(connection.call(request.clone())));
        for call in &mut calls {
            assert!(futures_util::poll!(call).is_pending());
        }
        let [one, two] = calls;
        let answered = async {
            asked.notified().await;
            back.notify_one();
        };
        let (one, two, ()) = tokio::join!(one, two, answered);
        let told = |outcome: Result<crate::Response, Failure>| {
            outcome.map(|answer| answer.status.as_u16()).map_err(|failure| failure.fault.code().to_owned())
        };
        let (refused, taken) = if first.rules.is_none() { (one, two) } else { (two, one) };
        assert_eq!(told(refused), Err("http_404".to_owned()));
        assert_eq!(told(taken), Ok(404));
    }
    assert_eq!(server.asked().len(), 2, "they were answered together");
    assert_eq!(
        [counted(&strict_tally)[0], counted(&lenient_tally)[0]],
        [1, 1],
        "who asked has it in its tally"
    );
}
