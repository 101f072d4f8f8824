use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use karez_api::Class;
use serde_json::{Value as Json, json};

use super::*;
use crate::testing::TestClock;

const FAR: Duration = Duration::from_secs(3600);

struct Rig {
    quotas: Quotas,
    gate: Gate,
    clock: TestClock,
}

impl Rig {
    fn new(limits: Json) -> Self {
        let limits: Limits = serde_json::from_value(limits).unwrap();
        let clock = TestClock::hasty(FAR);
        Self {
            quotas: Quotas::new(&limits, clock.instant()),
            gate: Gate::new(limits.concurrency.as_ref()),
            clock,
        }
    }

    async fn turn(&self, method: Method, path: &str) -> Result<Turn<'_>, Fault> {
        let url = format!("https://crm.example.com{path}").parse().unwrap();
        let now = self.clock.instant();
        self.quotas.turn((&method, &url), &self.gate, &self.clock, (now, now + FAR)).await
    }

    /// Waits as a call would, without one.
    async fn wait(&self) {
        let charge = Charge { rules: 0, scope: 0 };
        self.clock.sleep(self.quotas.pause(charge, self.clock.instant())).await;
    }

    async fn get(&self, path: &str) -> Turn<'_> {
        self.turn(Method::GET, path).await.unwrap()
    }

    /// How long so many calls take, each of which is answered at once.
    async fn time_of(&self, calls: u32) -> Duration {
        let begun = self.clock.passed();
        for _ in 0..calls {
            drop(self.get("/").await);
        }
        self.clock.passed() - begun
    }
}

fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Response {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    Response { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::new(), cached: false }
}

fn near(time: Duration, seconds: f64) {
    assert!((time.as_secs_f64() - seconds).abs() < 0.02, "{time:?}, not {seconds} s");
}

#[tokio::test]
async fn a_bucket_lets_a_burst_go_and_then_its_rate() {
    let rig = Rig::new(json!({"quotas": [{"rate": "10/s", "burst": 5}]}));
    near(rig.time_of(5).await, 0.0);
    near(rig.time_of(10).await, 1.0);
    rig.clock.pass(Duration::from_secs(60));
    near(rig.time_of(5).await, 0.0);
}

#[tokio::test]
async fn a_window_lets_no_more_go_in_any_stretch_of_its_length() {
    let rig = Rig::new(json!({"quotas": [{"window": "1s", "requests": 3}]}));
    near(rig.time_of(3).await, 0.0);
    rig.clock.pass(Duration::from_millis(400));
    near(rig.time_of(1).await, 0.6);
    near(rig.time_of(2).await, 0.0);
    near(rig.time_of(1).await, 1.0);
}

#[tokio::test]
async fn what_is_on_its_way_counts_until_it_was_answered() {
    let rig = Rig::new(json!({"max_wait": "500ms", "quotas": [{"window": "1s", "requests": 1}]}));
    let slow = rig.get("/").await;
    rig.clock.pass(Duration::from_secs(5));
    let fault = rig.turn(Method::GET, "/").await.err().unwrap();
    assert_eq!(fault.class(), Class::RateLimit);
    drop(slow);
    rig.clock.pass(Duration::from_millis(600));
    near(rig.time_of(1).await, 0.4);
}

#[tokio::test]
async fn each_quota_that_fits_must_allow_it() {
    let rig = Rig::new(json!({"quotas": [
        {"rate": "100/s"},
        {"rate": "1/s", "path": "/search"},
        {"rate": "1/m", "methods": ["post"]},
    ]}));
    near(rig.time_of(101).await, 1.0);
    drop(rig.get("/search").await);
    let begun = rig.clock.passed();
    drop(rig.get("/search/more").await);
    near(rig.clock.passed() - begun, 1.0);
    drop(rig.turn(Method::POST, "/").await.unwrap());
    assert!(rig.turn(Method::POST, "/").await.is_err(), "the next one is a minute away");
}

#[tokio::test]
async fn a_cost_and_a_reserve_make_it_less_often() {
    let rig = Rig::new(json!({"reserve": 50, "quotas": [{"rate": "10/s", "burst": 10, "cost": 5}]}));
    drop((rig.get("/").await, rig.get("/").await));
    near(rig.time_of(2).await, 2.0);
}

#[tokio::test]
async fn the_far_ends_own_count_is_obeyed() {
    let rig = Rig::new(json!({}));
    let turn = rig.get("/").await;
    turn.answered(&answer(
        200,
        &[("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "2"), ("x-ratelimit-reset", "20")],
    ));
    drop(turn);
    near(rig.time_of(2).await, 0.0);
    near(rig.time_of(1).await, 20.0);
    near(rig.time_of(50).await, 0.0);
}

#[tokio::test]
async fn a_part_of_the_far_ends_quota_is_left_for_others() {
    let rig = Rig::new(json!({"reserve": 10}));
    let turn = rig.get("/").await;
    turn.answered(&answer(
        200,
        &[("ratelimit-policy", r#""a";q=100;w=60"#), ("ratelimit", r#""a";r=11;t=9"#)],
    ));
    drop(turn);
    near(rig.time_of(1).await, 0.0);
    near(rig.time_of(1).await, 9.0);
}

#[tokio::test]
async fn retry_after_goes_before_all_else_and_concerns_what_was_asked() {
    let rig = Rig::new(json!({"quotas": [{"rate": "1000/s", "path": "/search"}]}));
    let turn = rig.get("/search").await;
    turn.answered(&answer(
        429,
        &[("retry-after", "15"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "3")],
    ));
    drop(turn);
    near(rig.time_of(5).await, 0.0);
    let begun = rig.clock.passed();
    drop(rig.get("/search").await);
    near(rig.clock.passed() - begun, 15.0);
}

#[tokio::test]
async fn refusals_that_say_nothing_make_the_pauses_longer() {
    let rig = Rig::new(json!({}));
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let turn = rig.get("/").await;
        turn.answered(&answer(429, &[]));
        drop(turn);
        let begun = rig.clock.passed();
        rig.wait().await;
        pauses.push((rig.clock.passed() - begun).as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8]);
    let fine = Rig::new(json!({"headers": false}));
    let turn = fine.get("/").await;
    turn.answered(&answer(429, &[("retry-after", "15")]));
    drop(turn);
    near(fine.time_of(1).await, 0.0);
}

#[tokio::test]
async fn who_comes_first_goes_first() {
    let limits = json!({"concurrency": 1, "quotas": [{"rate": "1000/s", "burst": 1000}]});
    let rig = Rig { clock: TestClock::still(), ..Rig::new(limits) };
    let held = rig.get("/").await;
    let (first, second) = (rig.turn(Method::GET, "/"), rig.turn(Method::GET, "/"));
    tokio::pin!(first, second);
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    drop(held);
    assert!(futures_util::poll!(second.as_mut()).is_pending(), "it is not its turn");
    let turn = first.await.unwrap();
    assert!(futures_util::poll!(second.as_mut()).is_pending(), "only one runs at once");
    drop(turn);
    assert!(second.await.is_ok());
}

#[tokio::test]
async fn of_answers_that_overtake_each_other_the_least_counts() {
    let rig = Rig::new(json!({}));
    let (first, second) = (rig.get("/").await, rig.get("/").await);
    first.answered(&answer(200, &[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "20")]));
    drop(first);
    second.answered(&answer(200, &[("x-ratelimit-remaining", "2"), ("x-ratelimit-reset", "20")]));
    drop(second);
    near(rig.time_of(1).await, 20.0);
}
