//! What passes is noted without what says who we are, and comes back as it was.

use bytes::Bytes;
use http::{Method, StatusCode};
use karez_api::{Clock, Millis, Secret};
use serde_json::{Value as Json, json};

use super::*;
use crate::testing::{Server, TestClock, answer, get};
use crate::{Connection, Connections, Options, Request};

fn open(settings: Json, wire: Wire) -> Arc<Connection> {
    let checked = crate::check("shop", &settings).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(TestClock::hasty(std::time::Duration::from_secs(5)));
    let options = Options { allow_private: vec!["127.0.0.0/8".parse().unwrap()], wire };
    Connections::new(clock, None, options).open(&checked).unwrap()
}

fn exchange(target: &str, answer: Json) -> Exchange {
    Exchange {
        method: "GET".into(),
        target: target.into(),
        request: None,
        status: 200,
        headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
        answer: Some(Payload::Json(answer)),
    }
}

fn fixture(cut: bool, exchanges: Vec<Exchange>) -> Arc<Fixture> {
    let connections = [("shop".to_owned(), "https://shop.example.com/".to_owned())].into();
    Arc::new(Fixture { now: Millis(0), cut, connections, exchanges })
}

fn playing(player: &Arc<Player>) -> Arc<Connection> {
    open(json!({"url": "https://elsewhere.example.com"}), Wire::Played(Arc::clone(player)))
}

async fn asked(connection: &Connection, path: &str) -> Result<Json, String> {
    let mut request = get(connection.url(path).unwrap());
    request.accepts = Some(&["application/json"]);
    let answer = connection.call(request).await.map_err(|failure| failure.fault.to_string())?;
    karez_api::parse_json(&answer.body).map_err(|error| error.to_string())
}

#[tokio::test]
async fn what_passes_is_noted_without_secrets_and_plays_back_as_it_was() {
    let server = Server::start(|asked| match asked.uri().path() {
        "/login" => answer(
            200,
            &[("content-type", "application/json")],
            r#"{"access_token": "t0ken-of-ours", "token_type": "Bearer"}"#,
        ),
        _ => answer(
            200,
            &[("content-type", "application/json"), ("set-cookie", "session=abc"), ("x-next-page", "2")],
            r#"{"items": [1], "you": "t0ken-of-ours", "key": "s3cret-key"}"#,
        ),
    })
    .await;
    let settings = json!({
        "url": server.url("").as_str().trim_end_matches('/'),
        "query": {"api_key": "s3cret-key"},
        "auth": {"oauth2": {"grant": "client_credentials", "token_url": server.url("/login").as_str(),
            "client_id": "karez", "client_secret": "s3cret-client"}},
    });
    let recorder = Arc::new(Recorder::new(None, vec![Secret::new("s3cret-elsewhere")]));
    let connection = open(settings, Wire::Recorded(Arc::clone(&recorder)));
    let mut request = Request::new(Method::POST, connection.url("/items?page=1").unwrap());
    request.body = Bytes::from_static(br#"{"since": 1, "of": "s3cret-elsewhere"}"#);
    connection.call(request.clone()).await.unwrap();
    let fixture = recorder.fixture(Millis(7)).trimmed();
    let written = serde_json::to_string(&fixture).unwrap();
    for secret in ["t0ken", "s3cret", "session=", "login"] {
        assert!(!written.contains(secret), "{secret}: {written}");
    }
    let [one] = fixture.exchanges.as_slice() else { panic!("{written}") };
    assert_eq!((one.name(), one.status), ("POST /items?page=1".to_owned(), 200));
    assert_eq!(one.request, Some(Payload::Json(json!({"since": 1, "of": "[redacted]"}))));
    assert_eq!(one.headers["x-next-page"], "2");

    let read: Fixture = serde_json::from_str(&written).unwrap();
    // Where it is played, something stands in for the secret.
    request.body = Bytes::from_static(br#"{"since": 1, "of": "stand-in"}"#);
    let player = Arc::new(Player::new(Arc::new(read), None, vec![Secret::new("stand-in")]));
    let connection = playing(&player);
    assert_eq!(
        connection.url("/items?page=1").unwrap(),
        server.url("/items?page=1"),
        "where it was recorded"
    );
    request.url = connection.url("/items?page=1").unwrap();
    let answer = connection.call(request).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(karez_api::parse_json(&answer.body).unwrap()["you"], "[redacted]");
}

#[tokio::test]
async fn a_recorder_holds_back_what_is_beyond_its_limit() {
    let server = Server::start(|_| answer(200, &[("content-type", "application/json")], "[]")).await;
    let recorder = Arc::new(Recorder::new(Some(1), Vec::new()));
    let connection = open(json!({"url": server.url("").as_str()}), Wire::Recorded(Arc::clone(&recorder)));
    asked(&connection, "/1").await.unwrap();
    let held = tokio::select! {
        held = asked(&connection, "/2") => panic!("{held:?}"),
        () = recorder.full() => recorder.fixture(Millis(0)),
    };
    assert!(held.cut && held.exchanges.len() == 1 && server.asked().len() == 1);
    recorder.allow_one();
    asked(&connection, "/2").await.unwrap();
    assert!(!recorder.fixture(Millis(0)).cut);
}

#[tokio::test]
async fn what_is_asked_again_is_answered_in_order_and_what_was_not_recorded_is_named() {
    let states = ["pending", "done"].map(|state| exchange("/report", json!({"state": state})));
    let player = Arc::new(Player::new(fixture(false, states.into()), None, Vec::new()));
    let connection = playing(&player);
    for state in ["pending", "done", "done"] {
        assert_eq!(asked(&connection, "/report").await.unwrap()["state"], state);
    }
    let why = asked(&connection, "/report?page=2").await.unwrap_err();
    assert!(why.contains("GET /report?page=2 is not in the fixture"), "{why}");
    assert_eq!(player.unknown(), ["GET /report?page=2"]);
}

#[tokio::test]
async fn each_fault_is_one_that_a_client_sees() {
    let exchanges = || vec![exchange("/a", json!({"items": [1, 2, 3]}))];
    for (trouble, said) in [
        (Trouble::Failing, "500"),
        (Trouble::TooMany, "429"),
        (Trouble::Html, "text/html"),
        (Trouble::Truncated, "EOF"),
    ] {
        let planned = Planned { at: 0, trouble };
        let player = Arc::new(Player::new(fixture(false, exchanges()), Some(planned), Vec::new()));
        let connection = playing(&player);
        let why = asked(&connection, "/a").await.unwrap_err();
        assert!(why.contains(said), "{trouble:?}: {why}");
        assert!(asked(&connection, "/a").await.is_ok(), "{trouble:?} comes once");
    }
    for trouble in [Trouble::Silent, Trouble::Crash] {
        let player =
            Arc::new(Player::new(fixture(false, exchanges()), Some(Planned { at: 0, trouble }), Vec::new()));
        let connection = playing(&player);
        let asking = asked(&connection, "/a");
        assert!(futures_util::FutureExt::now_or_never(asking).is_none());
        assert_eq!(player.crashed(), trouble == Trouble::Crash);
    }
}

#[test]
fn the_token_of_a_page_is_found_however_an_api_is_paged() {
    let link = |target: &str, next: &str| {
        let mut exchange = exchange(target, json!([{"id": 1}]));
        exchange.headers.insert("link".into(), next.into());
        exchange
    };
    for (before, current, changed) in [
        (
            exchange("/a", json!({"items": [], "meta": {"next": "t2"}})),
            exchange("/a?cursor=t2", json!({"items": [1], "meta": {"next": null}})),
            Some(json!({"items": [1], "meta": {"next": "t2"}})),
        ),
        (
            exchange("/a", json!({"next": "https://x.example.com/a?page=2"})),
            exchange("/a?page=2", json!({})),
            Some(json!({"next": "https://x.example.com/a?page=2"})),
        ),
        // A record's number is no token, nor is what was sent before.
        (exchange("/a?size=50", json!([{"id": 7}])), exchange("/a?size=50&after=7", json!([])), None),
        (exchange("/a?size=50", json!({"size": 50})), exchange("/a?size=50&from=50", json!({})), None),
    ] {
        let found = token::cycle(&before, &current).and_then(|found| found.answer);
        assert_eq!(found, changed.map(Payload::Json), "{}", current.target);
    }
    let found =
        token::cycle(&link("/a", "</a?page=2>; rel=next"), &link("/a?page=2", "</a?page=3>; rel=next"));
    assert_eq!(found.unwrap().headers["link"], "</a?page=2>; rel=next");
}

#[tokio::test]
async fn a_recording_that_was_cut_short_is_over_once_all_of_it_was_played() {
    let player = Arc::new(Player::new(fixture(true, vec![exchange("/a", json!([]))]), None, Vec::new()));
    let connection = playing(&player);
    let beyond = asked(&connection, "/b");
    assert!(futures_util::FutureExt::now_or_never(beyond).is_none(), "nobody knows what came then");
    assert!(!player.is_over());
    asked(&connection, "/a").await.unwrap();
    assert!(player.is_over());
}
