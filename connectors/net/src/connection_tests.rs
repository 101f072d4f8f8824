use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use http::{Method, header};
use karez_api::{Class, Json};
use serde_json::json;
use tokio::task::JoinSet;

use super::*;
use crate::auth::{Credentials, Stamp};
use crate::testing::{Asked, Server, TestClock, answer, get};
use crate::{CircuitState, Effect, check};

#[path = "streamed_tests.rs"]
mod streamed;
#[path = "tally_tests.rs"]
mod tally;

fn opened(settings: &Json, clock: &TestClock) -> Connection {
    let checked = check("crm", settings).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let options = Options { allow_private: vec!["127.0.0.0/8".parse().unwrap()], ..Options::default() };
    Connection::open(&checked, &clock, None, &options, Arc::new(crate::tasks::Owned::default())).unwrap()
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address)
}

fn header<'a>(asked: &'a Asked, name: &str) -> Option<&'a str> {
    asked.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn requests_get_what_the_file_says_of_every_request() {
    let server = Server::start(|_| answer(200, &[], "")).await;
    let connection = opened(
        &json!({
            "url": format!("{}/{{version}}", url(&server)),
            "params": {"version": "v2", "tenant": "acme"},
            "headers": {"X-Tenant": "{tenant}", "X-Kind": "ours"},
            "query": {"api": "{version}", "page_size": "50"},
        }),
        &TestClock::still(),
    );
    let mut request = get(connection.url("users/1?page_size=7").unwrap());
    request.headers.insert("x-kind", HeaderValue::from_static("theirs"));
    connection.call(request).await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!(asked.uri().to_string(), "/v2/users/1?page_size=7&api=v2");
    assert_eq!((header(asked, "x-tenant"), header(asked, "x-kind")), (Some("acme"), Some("theirs")));
}

#[test]
fn a_probe_is_made_as_the_file_says() {
    let probe = |probe: Json| {
        let settings = json!({"url": "https://crm.example/v1", "probe": probe});
        opened(&settings, &TestClock::still()).probe().unwrap().unwrap()
    };
    let plain = probe(json!({"path": "/me?a=b"}));
    assert_eq!((plain.method, plain.url.as_str()), (Method::GET, "https://crm.example/v1/me?a=b"));
    assert!(plain.body.is_empty() && plain.headers.is_empty());
    let asked = probe(json!({"method": "POST", "path": "/graphql", "body": {"query": "{ me { id } }"}}));
    assert_eq!((asked.method, &asked.body[..]), (Method::POST, &br#"{"query":"{ me { id } }"}"#[..]));
    assert_eq!(asked.headers[header::CONTENT_TYPE], "application/json");
}

#[test]
fn a_path_becomes_an_address_behind_the_connections() {
    let address = |base: &str, path: &str| {
        opened(&json!({"url": base}), &TestClock::still())
            .url(path)
            .map(String::from)
            .map_err(|fault| fault.code().to_owned())
    };
    for (base, path, expected) in [
        ("https://a.example.com", "", Ok("https://a.example.com/")),
        ("https://a.example.com", "users", Ok("https://a.example.com/users")),
        ("https://a.example.com/", "/users", Ok("https://a.example.com/users")),
        ("https://a.example.com/v2", "users?x=1", Ok("https://a.example.com/v2/users?x=1")),
        ("https://a.example.com/v2/", "/users", Ok("https://a.example.com/v2/users")),
        ("https://a.example.com/v2", "?x=1", Ok("https://a.example.com/v2?x=1")),
        (
            "https://a.example.com/v2",
            "https://a.example.com/next?page=2",
            Ok("https://a.example.com/next?page=2"),
        ),
        ("https://a.example.com/v2", "https://evil.example.net/", Err("foreign_origin")),
        (
            "https://a.example.com/v2",
            "//evil.example.net/x",
            Ok("https://a.example.com/v2//evil.example.net/x"),
        ),
    ] {
        assert_eq!(address(base, path), expected.map(str::to_owned).map_err(str::to_owned), "{base} {path}");
    }
}

#[tokio::test]
async fn nothing_goes_to_another_host() {
    let (ours, theirs) =
        (Server::start(|_| answer(200, &[], "")).await, Server::start(|_| answer(200, &[], "")).await);
    let connection = opened(&json!({"url": url(&ours), "headers": {"X-Key": "secret"}}), &TestClock::still());
    let failure = connection.call(get(theirs.url("/"))).await.unwrap_err();
    assert_eq!((failure.fault.code(), failure.effect), ("foreign_origin", Effect::None));
    assert!(
        failure.fault.message().starts_with("ValidationError: 127.0.0.1 is not the host"),
        "{}",
        failure.fault
    );
    assert!(theirs.asked().is_empty());
}

#[tokio::test]
async fn what_is_tried_again_is_tried_until_it_works() {
    let tries = AtomicUsize::default();
    let server = Server::start(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => answer(503, &[("retry-after", "2")], "down"),
        _ => answer(200, &[], "up"),
    })
    .await;
    let clock = TestClock::hasty(Duration::from_secs(5));
    let connection = opened(&json!({"url": url(&server)}), &clock);
    let request = Request { retries: true, ..get(server.url("/")) };
    assert_eq!(connection.call(request).await.unwrap().body, "up");
    assert_eq!(server.asked().len(), 3);
    assert_eq!(clock.passed(), Duration::from_secs(4), "as long as the far end asked for");
    let counted = connection.status().calls;
    assert_eq!((counted.api_calls, counted.failed_by["ServiceError"], counted.retries), (3, 2, 2));
}

#[tokio::test]
async fn a_far_end_that_fails_is_left_alone_until_one_call_tries() {
    let server =
        Server::start(|asked| answer(if asked.uri().path() == "/up" { 200 } else { 500 }, &[], "")).await;
    let clock = TestClock::still();
    let connection = opened(&json!({"url": url(&server), "limits": {"circuit": {"window": 4}}}), &clock);
    for _ in 0..2 {
        assert_eq!(connection.call(get(server.url("/"))).await.unwrap_err().fault.class(), Class::Service);
    }
    assert_eq!(connection.status().circuit, CircuitState::Open);
    let failure = connection.call(get(server.url("/up"))).await.unwrap_err();
    assert_eq!((failure.fault.code(), failure.effect), ("circuit_open", Effect::None));
    assert_eq!(failure.fault.retry_after(), Some(Duration::from_millis(500)));
    assert_eq!(server.asked().len(), 2);
    clock.pass(Duration::from_millis(500));
    connection.call(get(server.url("/up"))).await.unwrap();
    assert_eq!(connection.status().circuit, CircuitState::Closed);
}

#[tokio::test]
async fn who_comes_while_another_call_tries_waits_for_what_comes_of_it() {
    let (back, told) = (Arc::new(tokio::sync::Notify::new()), Arc::new(AtomicUsize::default()));
    let (gate, count) = (Arc::clone(&back), Arc::clone(&told));
    let server = Server::start_async(move |_| {
        let (gate, number) = (Arc::clone(&gate), count.fetch_add(1, Ordering::SeqCst));
        Box::pin(async move {
            match number {
                0 | 1 => answer(500, &[], ""),
                // It is given up before it is answered.
                2 => std::future::pending().await,
                3 => {
                    gate.notified().await;
                    answer(200, &[], "")
                }
                _ => answer(200, &[], ""),
            }
        })
    })
    .await;
    let clock = TestClock::still();
    let settings = json!({"url": url(&server), "limits": {"circuit": {"window": 4}}});
    let connection = opened(&settings, &clock);
    let call = || connection.call(get(server.url("/")));
    for _ in 0..2 {
        call().await.unwrap_err();
    }
    assert_eq!(call().await.unwrap_err().fault.code(), "circuit_open");
    clock.pass(Duration::from_millis(500));
    let given_up = {
        let (mut first, mut second) = (std::pin::pin!(call()), std::pin::pin!(call()));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        while told.load(Ordering::SeqCst) < 3 {
            assert!(futures_util::poll!(first.as_mut()).is_pending());
            assert!(futures_util::poll!(second.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
        server.asked().len()
    };
    assert_eq!(given_up, 3, "one of them tried");
    let mut calls: JoinSet<_> = JoinSet::new();
    let connection = Arc::new(connection);
    for _ in 0..3 {
        let (connection, request) = (Arc::clone(&connection), get(server.url("/")));
        calls.spawn(async move { connection.call(request).await });
    }
    while told.load(Ordering::SeqCst) < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.asked().len(), 4, "again one of them tries");
    back.notify_one();
    while let Some(call) = calls.join_next().await {
        call.unwrap().unwrap();
    }
    assert_eq!(connection.status().circuit, CircuitState::Closed);
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_over_and_says_what_it_may_have_done() {
    let server = Server::start_async(|_| Box::pin(std::future::pending())).await;
    let clock = TestClock::still();
    let connection = Arc::new(opened(
        &json!({"url": url(&server), "timeout": "7s", "limits": {"circuit": {"window": 2}}}),
        &clock,
    ));
    let mut calls = JoinSet::new();
    let (called, request) = (Arc::clone(&connection), get(server.url("/slow?key=secret")));
    calls.spawn(async move { called.call(request).await });
    while server.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    clock.pass(Duration::from_secs(7));
    let failure = calls.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!((failure.fault.code(), failure.effect), ("timeout", Effect::Unknown));
    assert_eq!(connection.status().circuit, CircuitState::Open, "no answer is a failure too");
    assert_eq!(
        failure.fault.message(),
        format!("ConnectionError: GET {}/slow was not answered within 7s", url(&server))
    );
}

#[tokio::test]
async fn too_many_requests_are_waited_for_where_that_is_bearable_and_told_where_it_is_not() {
    let tries = AtomicUsize::default();
    let server = Server::start(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => answer(429, &[("retry-after", "3")], ""),
        1 => answer(429, &[("retry-after", "60")], ""),
        _ => answer(200, &[], ""),
    })
    .await;
    let clock = TestClock::hasty(Duration::from_secs(10));
    let connection = opened(&json!({"url": url(&server)}), &clock);
    let failure = connection.call(get(server.url("/"))).await.unwrap_err();
    assert_eq!(
        (failure.fault.class(), failure.fault.retry_after()),
        (Class::RateLimit, Some(Duration::from_secs(3)))
    );
    connection.call(get(server.url("/"))).await.unwrap_err();
    assert_eq!(clock.passed(), Duration::from_secs(3), "the second one waited for its turn");
    let failure = connection.call(get(server.url("/"))).await.unwrap_err();
    assert_eq!((failure.fault.code(), failure.effect), ("quota", Effect::None));
    assert_eq!(failure.fault.retry_after(), Some(Duration::from_secs(60)));
    assert_eq!(server.asked().len(), 2, "the third one was not sent");
    assert_eq!(connection.status().calls.throttled_seconds.round() as u64, 3);
}

/// Each refusal makes a new token.
#[derive(Default)]
struct Renewed(AtomicU64);

#[async_trait]
impl Credentials for Renewed {
    async fn apply(&self, request: &mut Request) -> Result<Stamp, Fault> {
        let stamp = self.0.load(Ordering::SeqCst);
        request
            .headers
            .insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer t{stamp}")).unwrap());
        Ok(Stamp(stamp))
    }
    async fn refused(&self, stamp: Stamp, _: &Response) -> Result<bool, Fault> {
        Ok(self.0.compare_exchange(stamp.0, stamp.0 + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok())
    }
    fn kept(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("account".to_owned(), "a1".to_owned())])
    }
}

fn authorized(settings: &Json) -> Connection {
    let mut connection = opened(settings, &TestClock::still());
    connection.layers.credentials = Some(Arc::new(Renewed::default()));
    connection
}

#[tokio::test]
async fn a_refused_request_is_sent_once_more_with_new_credentials() {
    let server = Server::start(|asked| match header(asked, "authorization") {
        Some("Bearer t0") if asked.uri().path() == "/by-rule" => answer(200, &[], r#"{"error":"expired"}"#),
        Some("Bearer t1") if asked.uri().path() != "/never" => answer(200, &[], "{}"),
        _ => answer(401, &[], ""),
    })
    .await;
    let rules = json!([{"body": "$.error", "is": ["expired"], "means": "auth"}]);
    for path in ["/by-status", "/by-rule"] {
        let connection = authorized(&json!({"url": url(&server), "errors": rules}));
        assert_eq!(connection.call(get(server.url(path))).await.unwrap().body, "{}");
        assert_eq!(connection.status().calls.replays, 1);
    }
    let connection = authorized(&json!({"url": url(&server)}));
    let before = server.asked().len();
    let failure = connection.call(get(server.url("/never"))).await.unwrap_err();
    assert_eq!(failure.fault.class(), Class::Auth);
    assert!(failure.fault.message().starts_with("AuthError: GET http://"), "{}", failure.fault);
    assert_eq!(server.asked().len() - before, 2);
}

#[tokio::test]
async fn values_of_the_log_in_stand_in_addresses_headers_and_queries() {
    let server = Server::start(|_| answer(200, &[], "")).await;
    let settings = json!({
        "url": format!("{}/{{account}}/v1", url(&server)),
        "headers": {"X-Account": "{account}"},
        "query": {"of": "{account}"},
        "auth": {"session": {"url": "https://login.example.com", "token": "$.t", "keep": {"account": "$.id"}}},
    });
    let connection = authorized(&settings);
    connection.call(get(connection.url("users").unwrap())).await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!(asked.uri().to_string(), "/a1/v1/users?of=a1");
    assert_eq!(header(asked, "x-account"), Some("a1"));
    let nobody = opened(&settings, &TestClock::still());
    let fault = nobody.url("users").unwrap_err();
    assert_eq!(fault.class(), Class::Auth);
    assert!(fault.message().contains("{account} is not known before a log-in"), "{fault}");
}

#[tokio::test]
async fn a_call_waits_for_values_of_a_log_in_no_longer_than_it_may() {
    let login = Server::start_async(|_| Box::pin(std::future::pending())).await;
    let clock = TestClock::still();
    let settings = json!({
        "url": "https://{account}.example.com", "timeout": "7s",
        "auth": {"session": {"url": login.url("/login"), "token": "$.t", "keep": {"account": "$.id"}}},
    });
    let connection = Arc::new(opened(&settings, &clock));
    let (called, request) = (Arc::clone(&connection), get("https://a1.example.com/".parse().unwrap()));
    let mut calls = JoinSet::new();
    calls.spawn(async move { called.call(request).await });
    while login.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    clock.pass(Duration::from_secs(7));
    let failure = calls.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!((failure.fault.code(), failure.effect), ("timeout", Effect::None));
    assert!(failure.fault.message().contains("could not be sent within 7s"), "{}", failure.fault);
}

#[tokio::test]
async fn redirects_are_followed_only_where_asked_and_tell_nobody_else_who_we_are() {
    let other = Server::start(|_| answer(200, &[], "elsewhere")).await;
    let elsewhere = other.url("/file").to_string();
    let server = Server::start(move |asked| match asked.uri().path() {
        "/near" => answer(307, &[("location", "/there")], ""),
        "/far" => answer(302, &[("location", &elsewhere)], ""),
        "/loop" => answer(302, &[("location", "/loop")], ""),
        _ => answer(200, &[], "here"),
    })
    .await;
    let settings = json!({"url": url(&server), "headers": {"X-Key": "secret"}, "follow_redirects": true});
    let connection = authorized(&settings);
    assert_eq!(connection.call(get(server.url("/near"))).await.unwrap().body, "here");
    assert_eq!(header(&server.asked()[1], "authorization"), Some("Bearer t0"));
    assert_eq!(connection.call(get(server.url("/far"))).await.unwrap().body, "elsewhere");
    let asked = &other.asked()[0];
    assert_eq!((header(asked, "authorization"), header(asked, "x-key")), (None, None));
    let before = server.asked().len();
    let failure = connection.call(get(server.url("/loop"))).await.unwrap_err();
    assert_eq!(failure.fault.code(), "redirects");
    assert_eq!(server.asked().len() - before, 6);
    let post = Request { method: Method::POST, ..get(server.url("/near")) };
    assert_eq!(connection.call(post).await.unwrap_err().fault.code(), "http_307");

    let plain = opened(&json!({"url": url(&server)}), &TestClock::still());
    let failure = plain.call(get(server.url("/far"))).await.unwrap_err();
    assert!(
        failure.fault.message().contains("points to 127.0.0.1; redirects are not followed"),
        "{}",
        failure.fault
    );
}

#[tokio::test]
async fn a_redirect_into_a_private_network_is_not_followed() {
    let server =
        Server::start(|_| answer(302, &[("location", "http://169.254.169.254/latest/meta-data")], "")).await;
    let connection = opened(&json!({"url": url(&server), "follow_redirects": true}), &TestClock::still());
    let failure = connection.call(get(server.url("/"))).await.unwrap_err();
    assert_eq!(failure.fault.code(), "private_address");
}

#[tokio::test]
async fn status_says_how_a_connection_is_doing_and_no_secret() {
    let server =
        Server::start(|_| answer(200, &[("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "60")], ""))
            .await;
    let connection = opened(
        &json!({
            "url": url(&server),
            "headers": {"X-Key": "s3cret"},
            "limits": {"quotas": [{"rate": "10/s", "burst": 5}], "concurrency": 3},
        }),
        &TestClock::still(),
    );
    connection.call(get(server.url("/"))).await.unwrap();
    let status = serde_json::to_value(connection.status()).unwrap();
    assert_eq!(status["calls"]["api_calls"], 1);
    assert_eq!(status["circuit"], "closed");
    assert_eq!(status["concurrency"], 3);
    assert_eq!(
        status["quotas"],
        json!([
            {"name": "quotas[0]", "remaining": 4.0, "limit": 5.0},
            {"name": "x-ratelimit-remaining", "remaining": 7.0, "limit": null},
        ])
    );
    assert!(!status.to_string().contains("s3cret"));
}
