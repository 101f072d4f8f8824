use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use http::HeaderValue;
use karez_api::{Fault, Secret};
use serde_json::json;

use super::*;
use crate::testing::{TestClock, get};

/// A far end that counts how often it is asked, and a cache before it.
struct Rig {
    cache: Cache,
    clock: TestClock,
    metrics: CacheMetrics,
    asked: AtomicUsize,
    headers: Vec<(&'static str, &'static str)>,
}

impl Rig {
    fn new(spec: serde_json::Value, headers: &[(&'static str, &'static str)]) -> Self {
        Self::owned_by("crm", Some(spec), headers)
    }

    fn owned_by(
        owner: &str,
        spec: Option<serde_json::Value>,
        headers: &[(&'static str, &'static str)],
    ) -> Self {
        let clock = TestClock::still();
        let spec: Option<CacheSpec> = spec.map(|spec| serde_json::from_value(spec).unwrap());
        Self {
            cache: Cache::new(spec.as_ref(), owner, Arc::new(clock.clone())).unwrap(),
            clock,
            metrics: CacheMetrics::default(),
            asked: AtomicUsize::default(),
            headers: headers.to_vec(),
        }
    }

    async fn ask(&self, request: Request) -> Response {
        self.cache.call(&request, &self.deadline(), &self.metrics, self).await.unwrap()
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(Duration::from_secs(30), self.clock.instant())
    }

    /// The body says how often it was asked. What was asked for by its tag has not changed.
    fn answer(&self, request: &Request) -> Result<Response, Failure> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        if request.url.path() == "/broken" {
            return Err(Failure::not_sent(Fault::service("broken")));
        }
        let unchanged = request.headers.contains_key(header::IF_NONE_MATCH);
        let headers = self.headers.iter();
        let headers = headers
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let (status, body) = match unchanged {
            true => (StatusCode::NOT_MODIFIED, Bytes::new()),
            false => (StatusCode::OK, Bytes::from(format!("{number}"))),
        };
        Ok(Response { status, headers, body, cached: false })
    }

    /// The bodies of so many answers.
    async fn bodies(&self, requests: Vec<Request>) -> String {
        let mut bodies = Vec::new();
        for request in requests {
            bodies.push(String::from_utf8(self.ask(request).await.body.to_vec()).unwrap());
        }
        bodies.join(" ")
    }
}

impl Ask for &Rig {
    async fn ask(self, request: Cow<'_, Request>) -> Result<Response, Failure> {
        // Others have their turn meanwhile.
        tokio::task::yield_now().await;
        self.answer(&request)
    }
}

fn at(path: &str) -> Request {
    get(format!("https://crm.example.com{path}").parse().unwrap())
}

fn with(header: &'static str, value: &'static str) -> Request {
    let mut request = at("/a");
    request.headers.insert(header, HeaderValue::from_static(value));
    request
}

fn timed(key: &str, seconds: u64) -> Request {
    Request { reuse: Reuse::For { key: key.into(), ttl: Duration::from_secs(seconds) }, ..at("/a") }
}

fn posted() -> Request {
    Request { method: Method::POST, ..at("/a") }
}

#[tokio::test]
async fn answers_are_used_again_as_their_headers_say() {
    for (headers, expected) in [
        (vec![("cache-control", "max-age=60")], "1 1 2"),
        (vec![("cache-control", "private, max-age=60")], "1 1 2"),
        (vec![("cache-control", "no-store, max-age=60")], "1 2 3"),
        (vec![], "1 2 3"),
        (vec![("last-modified", "Tue, 24 Nov 2020 10:00:00 GMT")], "1 2 3"),
        (
            vec![("expires", "Tue, 24 Nov 2026 10:16:00 GMT"), ("date", "Tue, 24 Nov 2026 10:15:00 GMT")],
            "1 1 2",
        ),
    ] {
        let rig = Rig::new(json!({}), &headers);
        let first = rig.bodies(vec![at("/a"), at("/a")]).await;
        rig.clock.pass(Duration::from_secs(61));
        assert_eq!(format!("{first} {}", rig.bodies(vec![at("/a")]).await), expected, "{headers:?}");
    }
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let rig = Rig::new(json!({}), &[("etag", "\"v1\"")]);
    let first = rig.ask(at("/a")).await;
    let second = rig.ask(at("/a")).await;
    assert_eq!((first.cached, second.cached), (false, true));
    assert_eq!((second.status, &second.body[..]), (StatusCode::OK, &b"1"[..]));
    assert_eq!(rig.asked.load(Ordering::SeqCst), 2);
    assert_eq!(rig.metrics.unchanged.load(Ordering::SeqCst), 1);
    let own = rig.ask(with("if-none-match", "\"v1\"")).await;
    assert_eq!(own.status, StatusCode::NOT_MODIFIED, "who asks for changes hears that there are none");
}

#[tokio::test]
async fn answers_that_vary_are_used_for_the_same_question_only() {
    let rig = Rig::new(json!({}), &[("cache-control", "max-age=60"), ("vary", "accept-language")]);
    let bodies = rig.bodies(vec![
        with("accept-language", "de"),
        with("accept-language", "de"),
        with("accept-language", "fr"),
    ]);
    assert_eq!(bodies.await, "1 1 2");
}

#[tokio::test]
async fn a_request_that_changes_something_is_sent_and_makes_forget() {
    let rig = Rig::new(json!({}), &[("cache-control", "max-age=60")]);
    assert_eq!(
        rig.bodies(vec![at("/a"), at("/a"), posted(), posted(), at("/a"), at("/a")]).await,
        "1 1 2 3 4 4"
    );
    // Under a key of its own it is a question, as many searches are.
    let search = Request { reuse: timed("k", 60).reuse, ..posted() };
    assert_eq!(rig.bodies(vec![search.clone(), search, at("/a")]).await, "5 5 4");
}

#[tokio::test]
async fn a_request_can_say_under_which_key_and_how_long() {
    let rig = Rig::owned_by("crm", None, &[("cache-control", "no-store")]);
    assert_eq!(rig.bodies(vec![timed("a", 60), timed("a", 60), timed("b", 60), at("/a")]).await, "1 1 2 3");
    rig.clock.pass(Duration::from_secs(60));
    assert_eq!(rig.bodies(vec![timed("a", 60)]).await, "4");
}

#[tokio::test]
async fn who_asks_the_same_at_the_same_time_is_answered_together() {
    let rig = Rig::owned_by("crm", None, &[]);
    let all = || (0..20).map(|number| rig.ask(timed(if number % 2 == 0 { "a" } else { "b" }, 60)));
    let answers = futures_util::future::join_all(all()).await;
    assert_eq!(rig.asked.load(Ordering::SeqCst), 2);
    assert!(answers.iter().step_by(2).all(|answer| answer.body == answers[0].body));
    assert_eq!(answers.iter().filter(|answer| !answer.cached).count(), 2);
    // Nobody waits for what nobody asks any more.
    let mut given_up = Box::pin(rig.ask(timed("c", 60)));
    assert!(futures_util::poll!(&mut given_up).is_pending());
    let mut waiting = Box::pin(rig.ask(timed("c", 60)));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(given_up);
    assert_eq!(waiting.await.body, "3");
}

#[tokio::test]
async fn a_failure_of_the_way_there_is_nobody_elses_and_a_wait_ends_in_time() {
    let rig = Rig::owned_by("crm", None, &[]);
    let broken = Request { reuse: timed("a", 60).reuse, ..at("/broken") };
    let deadline = rig.deadline();
    let ask = || rig.cache.call(&broken, &deadline, &rig.metrics, &rig);
    let (one, other) = tokio::join!(ask(), ask());
    assert!(one.is_err() && other.is_err());
    assert_eq!(rig.asked.load(Ordering::SeqCst), 2);
    let mut slow = Box::pin(ask());
    assert!(futures_util::poll!(&mut slow).is_pending());
    let mut late = Box::pin(ask());
    assert!(futures_util::poll!(&mut late).is_pending());
    rig.clock.pass(Duration::from_secs(30));
    let told = late.await.unwrap_err();
    assert_eq!((told.fault.code(), told.effect), ("timeout", crate::Effect::None));
}

#[tokio::test]
async fn a_time_of_the_connection_goes_before_the_headers() {
    let rig = Rig::new(json!({"ttl": "10s"}), &[("cache-control", "no-store")]);
    let never = Request { reuse: Reuse::Never, ..at("/a") };
    assert_eq!(rig.bodies(vec![at("/a"), at("/a"), never, with("range", "bytes=0-1")]).await, "1 1 2 3");
    rig.clock.pass(Duration::from_secs(10));
    assert_eq!(rig.bodies(vec![at("/a")]).await, "4");
}

#[tokio::test]
async fn an_answer_is_used_again_only_for_who_asks_with_the_same_headers() {
    let rig = Rig::new(json!({"ttl": "1h"}), &[]);
    let of = |tenant| with("x-tenant", tenant);
    assert_eq!(rig.bodies(vec![of("a"), of("a"), of("b"), of("b"), at("/a")]).await, "1 1 2 2 3");
    let together = futures_util::future::join_all(["c", "d", "c"].map(|tenant| rig.ask(of(tenant)))).await;
    assert_eq!(together.iter().map(|answer| &answer.body[..]).collect::<Vec<_>>(), [b"4", b"5", b"4"]);
}

#[tokio::test]
async fn failures_and_cookies_are_not_kept() {
    let rig = Rig::new(json!({"ttl": "1h"}), &[("set-cookie", "session=secret")]);
    for _ in 0..2 {
        assert!(rig.cache.call(&at("/broken"), &rig.deadline(), &rig.metrics, &rig).await.is_err());
    }
    assert_eq!(rig.asked.load(Ordering::SeqCst), 2);
    rig.ask(at("/a")).await;
    assert!(!rig.ask(at("/a")).await.headers.contains_key(header::SET_COOKIE));
    rig.cache.forget().await;
    assert!(!rig.ask(at("/a")).await.cached);
}

/// A server of its own in a folder of its own; it ends with the test.
struct Server {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).find(|line| line.contains("Ready to accept connections"));
        assert!(ready.is_some());
        Self { child, url: format!("redis://127.0.0.1:{port}/0"), _folder: folder }
    }

    fn spec(&self) -> serde_json::Value {
        json!({"redis": self.url})
    }

    async fn everything(&self) -> String {
        let client = address(&Secret::new(&self.url)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let keys: Vec<String> = ::redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
        let mut all = String::new();
        for key in keys {
            let value: Vec<u8> = ::redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
            all += &format!("{key} {}\n", String::from_utf8_lossy(&value));
        }
        all
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn processes_share_answers_in_redis_and_connections_do_not() {
    let server = Server::start();
    let headers = [("cache-control", "max-age=60"), ("etag", "\"v1\"")];
    let rig = || Rig::owned_by("crm\none", Some(server.spec()), &headers);
    let (one, two) = (rig(), rig());
    let other = Rig::owned_by("crm\nanother key", Some(server.spec()), &headers);
    let mut secret = at("/a?page=1");
    let mut key = HeaderValue::from_static("s3cret");
    key.set_sensitive(true);
    secret.headers.insert("x-key", key);
    assert!(!one.ask(secret).await.cached);
    assert!(two.ask(at("/a?page=1")).await.cached);
    assert!(!other.ask(at("/a?page=1")).await.cached, "it has other settings");
    assert_eq!(one.bodies(vec![timed("k", 60)]).await, "2");
    assert_eq!(two.bodies(vec![timed("k", 60)]).await, "2");
    let kept = server.everything().await;
    assert!(!kept.contains("s3cret") && !kept.contains("page=1 "), "{kept}");

    two.clock.pass(Duration::from_secs(61));
    let again = two.ask(at("/a?page=1")).await;
    assert!(
        again.cached && two.metrics.unchanged.load(Ordering::SeqCst) == 1,
        "it was asked whether it changed"
    );
    two.cache.forget().await;
    assert!(!one.ask(at("/a?page=1")).await.cached);
    assert!(other.ask(at("/a?page=1")).await.cached, "what others keep stays");
}

#[tokio::test]
async fn a_redis_that_is_away_or_holds_junk_is_no_reason_not_to_call() {
    let server = Server::start();
    let rig = Rig::new(server.spec(), &[("cache-control", "max-age=60")]);
    assert_eq!(rig.bodies(vec![at("/a"), at("/a")]).await, "1 1");
    let client = address(&Secret::new(&server.url)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    let () =
        ::redis::cmd("SET").arg(&keys[0]).arg("{\"junk\":1}\nx").query_async(&mut connection).await.unwrap();
    assert_eq!(rig.bodies(vec![at("/a"), at("/a")]).await, "2 2");
    drop(server);
    assert_eq!(rig.bodies(vec![at("/a"), at("/a")]).await, "3 4");
    assert!(rig.metrics.errors.load(Ordering::SeqCst) >= 2);
}

#[test]
fn only_a_redis_address_is_one() {
    for (text, fine) in [
        ("redis://cache:6379/0", true),
        ("redis://user:pass@cache", true),
        ("rediss://cache:6379", false),
        ("http://cache", false),
        ("redis://", false),
    ] {
        assert_eq!(address(&Secret::new(text)).is_ok(), fine, "{text}");
    }
}
